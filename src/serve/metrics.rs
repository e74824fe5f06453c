//! Counts in Prometheus' text format (version 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Upper ends of the latency histogram, seconds.
const BUCKETS_S: [f64; 10] = [0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0];

#[derive(Default)]
pub struct Metrics {
    requests: Mutex<Requests>,
    sessions: AtomicUsize,
    segments: AtomicU64,
    segment_us: AtomicU64,
}

#[derive(Default)]
struct Requests {
    /// Method, route and status.
    counts: BTreeMap<(String, String, u16), u64>,
    /// Per bucket, not yet summed up; the last one has no upper end.
    buckets: [u64; BUCKETS_S.len() + 1],
    sum_s: f64,
}

impl Metrics {
    /// `route` is one of the table, or one word for all others: clients cannot make labels.
    pub fn request(&self, method: &str, route: &str, status: u16, took: Duration) {
        let took_s = took.as_secs_f64();
        let bucket = BUCKETS_S.iter().position(|end| took_s <= *end).unwrap_or(BUCKETS_S.len());
        let mut all = self.requests.lock().unwrap_or_else(|e| e.into_inner());
        *all.counts.entry((method.to_owned(), route.to_owned(), status)).or_default() += 1;
        all.buckets[bucket] += 1;
        all.sum_s += took_s;
    }

    pub fn set_sessions(&self, count: usize) {
        self.sessions.store(count, Ordering::Relaxed);
    }

    pub fn segment(&self, took: Duration) {
        self.segments.fetch_add(1, Ordering::Relaxed);
        self.segment_us.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
    }

    pub fn text(&self, queued: usize) -> String {
        let mut out = String::new();
        let all = self.requests.lock().unwrap_or_else(|e| e.into_inner());
        head(
            &mut out,
            "hrm_http_requests_total",
            "counter",
            "Requests by method, route and status.",
        );
        for ((method, route, status), count) in &all.counts {
            let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
            let _ = writeln!(out, "hrm_http_requests_total{{{labels}}} {count}");
        }
        let name = "hrm_http_request_duration_seconds";
        head(&mut out, name, "histogram", "From the headers of a request to its answer.");
        let mut count = 0;
        let ends = BUCKETS_S.iter().map(f64::to_string).chain(["+Inf".into()]);
        for (end, bucket) in ends.zip(all.buckets) {
            count += bucket;
            let _ = writeln!(out, "{name}_bucket{{le=\"{end}\"}} {count}");
        }
        let _ = writeln!(out, "{name}_sum {}\n{name}_count {count}", all.sum_s);
        let load = |x: &AtomicU64| x.load(Ordering::Relaxed);
        let segment_s = load(&self.segment_us) as f64 / 1e6;
        let sessions = self.sessions.load(Ordering::Relaxed);
        for (name, kind, help, value) in [
            ("hrm_queue_depth", "gauge", "Requests that wait for the model.", queued as f64),
            ("hrm_sessions", "gauge", "Refinements under way.", sessions as f64),
            ("hrm_segments_total", "counter", "ACT segments run.", load(&self.segments) as f64),
            ("hrm_segment_seconds_total", "counter", "Time in ACT segments.", segment_s),
        ] {
            head(&mut out, name, kind, help);
            let _ = writeln!(out, "{name} {value}");
        }
        out
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}
