//! Registers accesses with the race check, and reports what it finds.

use super::Access;
use crate::check::race::{Row, Stamp, Words};
use crate::exec::core::{Core, SHARED_WINDOW};
use crate::exec::lanes::{LANES, lanes};
use crate::exec::warp::Warp;
use crate::memory::BASE;

/// The memory that an address belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Global,
    Shared,
}

impl Place {
    fn words<'c>(self, core: &'c mut Core<'_>) -> Words<'c> {
        match self {
            Self::Global => core.memory.trace.words(),
            Self::Shared => core.shared.words(),
        }
    }

    fn word(self, at: u64) -> usize {
        match self {
            Self::Global => ((at - BASE) / 4) as usize,
            Self::Shared => (at / 4) as usize,
        }
    }
}

/// Bits of a word that `bytes` bytes at an address touch.
fn word_bytes(at: u64, bytes: usize) -> u32 {
    if bytes >= 4 { 15 } else { ((1 << bytes) - 1) << (at & 3) }
}

/// Registers the accesses of some lanes, all of them accessible.
pub fn lanes_of(
    core: &mut Core<'_>,
    warp: &Warp,
    place: Place,
    at: &[u64; LANES],
    a: Access,
    write: bool,
) {
    if !core.session.races || a.mask == 0 {
        return;
    }
    let mut closer = a.mask;
    if a.bytes >= 4 {
        let time = core.clock.time(warp.index);
        let mut rows = [Row::default(); LANES];
        let mut count = 0;
        for l in lanes(a.mask) {
            let stamp = Stamp::new(time, warp.thread(l), 15, a.ordered);
            rows[count] = Row { first: place.word(at[l]), stamp };
            count += 1;
        }
        closer = rows_of(core, place, &rows[..count], a.bytes / 4, 0, write);
        // Bits of `closer` count rows; make them lanes.
        closer = lanes(a.mask).enumerate().fold(0, |m, (k, l)| m | (closer >> k & 1) << l);
    }
    for l in lanes(closer) {
        race(core, warp, place, l, at[l], a, write);
    }
}

/// Registers rows of 1, 2 or 4 words; a bit for each row that needs a closer look.
pub fn rows_of(
    core: &mut Core<'_>,
    place: Place,
    rows: &[Row],
    words: usize,
    step: u64,
    write: bool,
) -> u32 {
    // The clock is small; a copy of its bounds keeps the borrows apart.
    let bounds = core.clock.bounds(place == Place::Global);
    place.words(core).rows(rows, words, step, write, bounds)
}

/// Registers the words of one lane and reports conflicts.
pub fn race(
    core: &mut Core<'_>,
    warp: &Warp,
    place: Place,
    lane: usize,
    at: u64,
    a: Access,
    write: bool,
) {
    if !core.session.races {
        return;
    }
    let time = core.clock.time(warp.index);
    let thread = warp.thread(lane);
    for k in 0..a.bytes.div_ceil(4) {
        let at = at + 4 * k as u64;
        let stamp = Stamp::new(time, thread, word_bytes(at, a.bytes), a.ordered);
        let word = place.word(at);
        let mut words = match place {
            Place::Global => core.memory.trace.words(),
            Place::Shared => core.shared.words(),
        };
        let found = if write {
            words.write(word, stamp, &core.clock)
        } else {
            words.read(word, stamp, &core.clock)
        };
        if let Some(c) = found {
            let window = if place == Place::Shared { SHARED_WINDOW } else { 0 };
            core.report_race(place == Place::Global, write, a.pc, thread, window + at, c);
        }
    }
}
