//! Who touched which bytes last, and whether the next one who does is ordered after it.
//!
//! An interval map over addresses (device and pinned host alike) holds the last write and, per
//! lane, the last read since. Two accesses to a byte of which one writes must be ordered by a
//! stream, an event, a graph edge or the host. What everything to come is ordered after is
//! forgotten.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::clock::{Clock, Moment};

/// One operation, as a finding names it.
#[derive(Clone, Debug)]
pub struct Access {
    pub moment: Moment,
    pub label: Arc<str>,
}

/// Two accesses without an order between them.
#[derive(Clone, Debug)]
pub struct Conflict {
    pub bytes: Range<u64>,
    pub earlier: Access,
    pub earlier_writes: bool,
    pub later_writes: bool,
}

#[derive(Clone, Debug, Default)]
struct Span {
    end: u64,
    write: Option<Access>,
    reads: Vec<Access>,
}

impl Span {
    /// True if nothing is left.
    fn forget(&mut self, known: &Clock) -> bool {
        if self.write.as_ref().is_some_and(|w| known.covers(w.moment)) {
            self.write = None;
        }
        self.reads.retain(|r| !known.covers(r.moment));
        self.write.is_none() && self.reads.is_empty()
    }
}

#[derive(Debug, Default)]
pub struct History {
    spans: BTreeMap<u64, Span>,
}

impl History {
    /// Note that `access` (which knows `clock`) reads or writes `bytes`; answer the first conflict.
    pub fn touch(
        &mut self,
        bytes: Range<u64>,
        writes: bool,
        access: &Access,
        clock: &Clock,
    ) -> Option<Conflict> {
        if bytes.is_empty() {
            return None;
        }
        self.split(bytes.start);
        self.split(bytes.end);
        let mut conflict = None;
        let mut gaps = Vec::new();
        let mut at = bytes.start;
        for (&start, span) in self.spans.range_mut(bytes.clone()) {
            if at < start {
                gaps.push(at..start);
            }
            at = span.end;
            let unordered = |earlier: &Access| !clock.covers(earlier.moment);
            let found = span.write.iter().map(|w| (w, true)).find(|(w, _)| unordered(w));
            let found = found.or_else(|| {
                let reads = if writes { span.reads.as_slice() } else { &[] };
                reads.iter().map(|r| (r, false)).find(|(r, _)| unordered(r))
            });
            if let (Some((earlier, earlier_writes)), None) = (found, &conflict) {
                let bytes = start..span.end;
                conflict = Some(Conflict {
                    bytes,
                    earlier: earlier.clone(),
                    earlier_writes,
                    later_writes: writes,
                });
            }
            if writes {
                span.write = Some(access.clone());
                span.reads.clear();
            } else {
                span.reads.retain(|r| r.moment.lane != access.moment.lane);
                span.reads.push(access.clone());
            }
        }
        if at < bytes.end {
            gaps.push(at..bytes.end);
        }
        for gap in gaps {
            let (write, reads) = match writes {
                true => (Some(access.clone()), Vec::new()),
                false => (None, vec![access.clone()]),
            };
            self.spans.insert(gap.start, Span { end: gap.end, write, reads });
        }
        conflict
    }

    /// An access to `bytes` that `clock` does not cover.
    pub fn unordered(&self, bytes: Range<u64>, clock: &Clock) -> Option<&Access> {
        let before =
            self.spans.range(..bytes.start).next_back().filter(|(_, s)| s.end > bytes.start);
        before.into_iter().chain(self.spans.range(bytes)).find_map(|(_, span)| {
            span.write.iter().chain(&span.reads).find(|access| !clock.covers(access.moment))
        })
    }

    /// Forget all of `bytes`: another buffer begins there.
    pub fn erase(&mut self, bytes: Range<u64>) {
        self.split(bytes.start);
        self.split(bytes.end);
        let gone: Vec<u64> = self.spans.range(bytes).map(|(start, _)| *start).collect();
        gone.iter().for_each(|start| drop(self.spans.remove(start)));
    }

    /// Drop what `known` covers.
    pub fn forget(&mut self, known: &Clock) {
        self.spans.retain(|_, span| !span.forget(known));
    }

    fn split(&mut self, at: u64) {
        let Some((_, span)) = self.spans.range_mut(..at).next_back().filter(|(_, s)| s.end > at)
        else {
            return;
        };
        let rest = span.clone();
        span.end = at;
        self.spans.insert(at, rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(lane: usize, number: u64) -> Access {
        Access { moment: Moment { lane, number }, label: format!("lane {lane}").into() }
    }

    fn knowing(moments: &[(usize, u64)]) -> Clock {
        let mut clock = Clock::default();
        moments.iter().for_each(|&(lane, number)| clock.set(Moment { lane, number }));
        clock
    }

    #[test]
    fn write_after_unordered_write_conflicts_only_where_bytes_meet() {
        let mut history = History::default();
        assert!(history.touch(0..100, true, &access(0, 1), &knowing(&[(0, 1)])).is_none());
        assert!(history.touch(100..120, true, &access(1, 1), &knowing(&[(1, 1)])).is_none());
        let conflict = history.touch(90..110, true, &access(1, 2), &knowing(&[(1, 2)])).unwrap();
        assert_eq!(conflict.bytes, 90..100);
        assert_eq!(conflict.earlier.moment.lane, 0);
    }

    #[test]
    fn reads_do_not_conflict_with_reads_but_with_a_later_write() {
        let mut history = History::default();
        assert!(history.touch(0..8, false, &access(0, 1), &knowing(&[(0, 1)])).is_none());
        assert!(history.touch(0..8, false, &access(1, 1), &knowing(&[(1, 1)])).is_none());
        let conflict = history.touch(4..6, true, &access(0, 2), &knowing(&[(0, 2)])).unwrap();
        assert!(!conflict.earlier_writes && conflict.later_writes);
        assert_eq!(conflict.earlier.moment, Moment { lane: 1, number: 1 });
    }

    #[test]
    fn ordered_accesses_are_clean_and_can_be_forgotten() {
        let mut history = History::default();
        history.touch(0..8, true, &access(0, 1), &knowing(&[(0, 1)]));
        assert!(history.touch(0..8, false, &access(1, 1), &knowing(&[(0, 1), (1, 1)])).is_none());
        assert!(history.unordered(2..3, &knowing(&[(0, 1)])).is_some());
        history.erase(4..6);
        assert!(history.unordered(4..6, &Clock::default()).is_none());
        assert!(history.unordered(6..8, &Clock::default()).is_some());
        history.forget(&knowing(&[(0, 1), (1, 1)]));
        assert!(history.unordered(0..8, &Clock::default()).is_none());
    }
}
