//! Where the time of the CPU's ops goes, when somebody asks: a clock around each. It costs a look
//! at a flag otherwise.

use std::panic::Location;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::lock;

/// Calls of one op in one direction.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Name of its folder or file.
    pub op: &'static str,
    /// `forward`, or `backward`: what the tape runs, with what it computes again.
    pub pass: &'static str,
    pub calls: u64,
    pub time: Duration,
}

#[derive(Default)]
pub(super) struct Profile {
    is_on: AtomicBool,
    is_backward: AtomicBool,
    spans: Mutex<Vec<Span>>,
}

impl Profile {
    pub(super) fn start(&self) {
        lock(&self.spans).clear();
        self.is_on.store(true, Ordering::Relaxed);
    }

    pub(super) fn take(&self) -> Vec<Span> {
        self.is_on.store(false, Ordering::Relaxed);
        std::mem::take(&mut *lock(&self.spans))
    }

    /// What was set before.
    pub(super) fn set_backward(&self, is_backward: bool) -> bool {
        self.is_backward.swap(is_backward, Ordering::Relaxed)
    }

    /// Run `work`, which an op asked for at `place`.
    pub(super) fn timed<T>(&self, place: &'static Location, work: impl FnOnce() -> T) -> T {
        if !self.is_on.load(Ordering::Relaxed) {
            return work();
        }
        let start = Instant::now();
        let result = work();
        let time = start.elapsed();
        let is_backward = self.is_backward.load(Ordering::Relaxed);
        let (op, pass) = (op_of(place.file()), if is_backward { "backward" } else { "forward" });
        let mut spans = lock(&self.spans);
        match spans.iter_mut().find(|span| (span.op, span.pass) == (op, pass)) {
            Some(span) => {
                span.calls += 1;
                span.time += time;
            }
            None => spans.push(Span { op, pass, calls: 1, time }),
        }
        result
    }
}

/// `matmul` of `src/ops/matmul/gated.rs`, `reshape` of `src/ops/reshape.rs`.
fn op_of(file: &'static str) -> &'static str {
    let mut parts = file.split(['/', '\\']).skip_while(|part| *part != "ops").skip(1);
    parts.next().map_or(file, |part| part.strip_suffix(".rs").unwrap_or(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_summed_by_op_and_pass_while_somebody_asks() {
        let profile = Profile::default();
        let place = Location::caller();
        assert_eq!(profile.timed(place, || 7), 7);
        assert_eq!(profile.take(), []);
        profile.start();
        profile.timed(place, || std::thread::sleep(Duration::from_millis(2)));
        assert!(!profile.set_backward(true));
        (0..2).for_each(|_| profile.timed(place, || ()));
        let spans = profile.take();
        let calls: Vec<_> = spans.iter().map(|span| (span.pass, span.calls)).collect();
        assert_eq!(calls, [("forward", 1), ("backward", 2)]);
        assert!(spans[0].time >= Duration::from_millis(2) && spans[1].time < spans[0].time);
        profile.timed(place, || ());
        assert_eq!(profile.take(), []);
    }

    #[test]
    fn an_op_is_named_by_its_place() {
        for (file, op) in [
            ("src/ops/matmul/gated.rs", "matmul"),
            ("src/ops/reshape.rs", "reshape"),
            ("src\\ops\\add\\mod.rs", "add"),
            ("elsewhere.rs", "elsewhere.rs"),
        ] {
            assert_eq!(op_of(file), op);
        }
    }
}
