//! Counts in Prometheus' text format (version 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// How solving a task ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Ended {
    Done,
    Failed,
    Cancelled,
}

/// Upper ends of the buckets of requests and of solved tasks, seconds.
const REQUEST_BUCKETS_S: [f64; 10] = [0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0];
const SOLVE_BUCKETS_S: [f64; 10] = [0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 600.0];

#[derive(Default)]
pub struct Metrics {
    requests: Mutex<Requests>,
    solves: Mutex<Solved>,
    sessions: AtomicUsize,
    segments: AtomicU64,
    segment_us: AtomicU64,
}

#[derive(Default)]
struct Requests {
    /// Method, route and status.
    counts: BTreeMap<(String, String, u16), u64>,
    times: Times<10>,
}

#[derive(Default)]
struct Solved {
    counts: BTreeMap<Ended, u64>,
    times: Times<10>,
}

/// A histogram whose buckets have `N` upper ends; one more bucket has none.
struct Times<const N: usize> {
    /// Not yet summed up.
    buckets: [u64; N],
    beyond: u64,
    sum_s: f64,
}

impl Metrics {
    /// `route` is one of the table, or one word for all others: clients cannot make labels.
    pub fn request(&self, method: &str, route: &str, status: u16, took: Duration) {
        let mut all = self.requests.lock().unwrap_or_else(|e| e.into_inner());
        *all.counts.entry((method.to_owned(), route.to_owned(), status)).or_default() += 1;
        all.times.add(&REQUEST_BUCKETS_S, took);
    }

    pub fn solve(&self, ended: Ended, took: Duration) {
        let mut all = self.solves.lock().unwrap_or_else(|e| e.into_inner());
        *all.counts.entry(ended).or_default() += 1;
        all.times.add(&SOLVE_BUCKETS_S, took);
    }

    pub fn set_sessions(&self, count: usize) {
        self.sessions.store(count, Ordering::Relaxed);
    }

    pub fn segment(&self, took: Duration) {
        self.segments.fetch_add(1, Ordering::Relaxed);
        self.segment_us.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
    }

    /// `queued` requests wait for the model, `solves` tasks wait or are being solved,
    /// `resident_bytes` is the memory of this process.
    pub fn text(&self, queued: usize, solves: usize, resident_bytes: Option<usize>) -> String {
        let mut out = String::new();
        let all = self.requests.lock().unwrap_or_else(|e| e.into_inner());
        let name = "hrm_http_requests_total";
        head(&mut out, name, "counter", "Requests by method, route and status.");
        for ((method, route, status), count) in &all.counts {
            let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
            let _ = writeln!(out, "{name}{{{labels}}} {count}");
        }
        let name = "hrm_http_request_duration_seconds";
        let help = "From the headers of a request to its answer.";
        all.times.text(&mut out, name, help, &REQUEST_BUCKETS_S);
        drop(all);
        let all = self.solves.lock().unwrap_or_else(|e| e.into_inner());
        head(&mut out, "hrm_solves_total", "counter", "Tasks by how solving them ended.");
        for ended in [Ended::Done, Ended::Failed, Ended::Cancelled] {
            let (result, count) = (format!("{ended:?}").to_lowercase(), all.counts.get(&ended));
            let _ = writeln!(
                out,
                "hrm_solves_total{{result=\"{result}\"}} {}",
                count.copied().unwrap_or(0)
            );
        }
        let help = "From the beginning of solving a task to its end.";
        all.times.text(&mut out, "hrm_solve_duration_seconds", help, &SOLVE_BUCKETS_S);
        drop(all);
        let load = |x: &AtomicU64| x.load(Ordering::Relaxed);
        let segment_s = load(&self.segment_us) as f64 / 1e6;
        let sessions = self.sessions.load(Ordering::Relaxed);
        for (name, kind, help, value) in [
            ("hrm_queue_depth", "gauge", "Requests that wait for the model.", queued as f64),
            ("hrm_sessions", "gauge", "Refinements under way.", sessions as f64),
            ("hrm_solves", "gauge", "Tasks that wait or are being solved.", solves as f64),
            ("hrm_segments_total", "counter", "ACT segments run.", load(&self.segments) as f64),
            ("hrm_segment_seconds_total", "counter", "Time in ACT segments.", segment_s),
        ] {
            head(&mut out, name, kind, help);
            let _ = writeln!(out, "{name} {value}");
        }
        if let Some(bytes) = resident_bytes {
            let name = "process_resident_memory_bytes";
            head(&mut out, name, "gauge", "Memory of this process.");
            let _ = writeln!(out, "{name} {bytes}");
        }
        out
    }
}

impl<const N: usize> Default for Times<N> {
    fn default() -> Self {
        Self { buckets: [0; N], beyond: 0, sum_s: 0.0 }
    }
}

impl<const N: usize> Times<N> {
    fn add(&mut self, ends_s: &[f64; N], took: Duration) {
        let took_s = took.as_secs_f64();
        match ends_s.iter().position(|end| took_s <= *end) {
            Some(bucket) => self.buckets[bucket] += 1,
            None => self.beyond += 1,
        }
        self.sum_s += took_s;
    }

    fn text(&self, out: &mut String, name: &str, help: &str, ends_s: &[f64; N]) {
        head(out, name, "histogram", help);
        let mut count = 0;
        for (end, bucket) in ends_s.iter().zip(self.buckets) {
            count += bucket;
            let _ = writeln!(out, "{name}_bucket{{le=\"{end}\"}} {count}");
        }
        count += self.beyond;
        let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {count}");
        let _ = writeln!(out, "{name}_sum {}\n{name}_count {count}", self.sum_s);
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}
