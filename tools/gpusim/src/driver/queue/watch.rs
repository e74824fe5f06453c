//! Pinned host memory that a pending copy reads must not change before the host has waited for that
//! copy.
//!
//! Writes of the host cannot be seen, so the bytes are kept at the call and compared once the host
//! knows that the copy is done: a difference means that the buffer was reused too early, whether or
//! not this run's order lost data.

use std::ops::Range;

use super::clock::Clock;
use super::history::Access;
use crate::driver::gpu::Gpu;
use crate::driver::host::bytes_of;

struct Watch {
    source: Range<u64>,
    content: Vec<u8>,
    reader: Access,
}

#[derive(Default)]
pub struct Watches {
    open: Vec<Watch>,
}

impl Watches {
    /// `source` is pinned memory that stays allocated while it is watched.
    pub fn add(&mut self, source: Range<u64>, reader: Access) {
        let content = bytes_of(&source).to_vec();
        self.open.push(Watch { source, content, reader });
    }

    /// Compare and close those that `clock` knows to be read.
    pub fn settle(&mut self, clock: &Clock, gpu: &mut Gpu) {
        self.close(gpu, |watch| clock.covers(watch.reader.moment));
    }

    /// Ordered work is about to write `target`: compare what was read before it.
    pub fn settle_before_write(&mut self, target: &Range<u64>, clock: &Clock, gpu: &mut Gpu) {
        self.close(gpu, |watch| meet(&watch.source, target) && clock.covers(watch.reader.moment));
        self.drop_range(target);
    }

    /// Forget what overlaps a range that is released or written by others than the host thread.
    pub fn drop_range(&mut self, range: &Range<u64>) {
        self.open.retain(|watch| !meet(&watch.source, range));
    }

    /// A host function may write any of them, in order.
    pub fn drop_all(&mut self) {
        self.open.clear();
    }

    fn close(&mut self, gpu: &mut Gpu, done: impl Fn(&Watch) -> bool) {
        self.open.retain(|watch| {
            if !done(watch) {
                return true;
            }
            let now = bytes_of(&watch.source);
            if let Some(at) = now.iter().zip(&watch.content).position(|(now, then)| now != then) {
                gpu.report_host_reuse(&watch.reader.label, watch.source.start + at as u64);
            }
            false
        });
    }
}

fn meet(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}
