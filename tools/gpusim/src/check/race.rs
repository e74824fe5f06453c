//! The last accesses of each 32-bit word, and conflicts between them.
//!
//! A word remembers its last writer and two readers. Two suffice: of three unordered readers in at
//! least two threads, a later unordered write conflicts with one of any two. When threads write different
//! bytes of a word, only the last is remembered.

use super::clock::BlockClock;
use multiversion::multiversion;
use std::ops::Range;

const THREAD: u64 = 0x7ff;
const ATOMIC: u64 = 1 << 11;
const BYTES_AT: u32 = 12;
const TIME_AT: u32 = 16;

/// Moment, bytes, and thread of an access.
#[derive(Clone, Copy, Default)]
pub struct Stamp(pub u64);

impl Stamp {
    pub fn new(time: u64, thread: u32, bytes: u32, atomic: bool) -> Self {
        let flag = if atomic { ATOMIC } else { 0 };
        Self(time << TIME_AT | u64::from(bytes) << BYTES_AT | flag | u64::from(thread))
    }

    pub fn time(self) -> u64 {
        self.0 >> TIME_AT
    }

    pub fn thread(self) -> u32 {
        (self.0 & THREAD) as u32
    }

    fn atomic(self) -> bool {
        self.0 & ATOMIC != 0
    }

    fn bytes(self) -> u64 {
        self.0 >> BYTES_AT & 15
    }
}

/// Stamps of a memory, by word.
pub struct Words<'m> {
    pub written: &'m mut [u64],
    pub read: &'m mut [u64],
    pub read_too: &'m mut [u64],
    /// All blocks of a launch share the memory: accesses of others count.
    pub of_launch: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    Write,
    Read,
}

/// An earlier access that is not ordered before the present one.
#[derive(Debug, Clone, Copy)]
pub struct Conflict {
    pub before: Before,
    pub thread: u32,
    pub time: u64,
    /// The earlier access belongs to another block of the launch.
    pub other_block: bool,
}

fn conflicts(old: u64, new: Stamp, start: u64, clock: &BlockClock) -> bool {
    let old = Stamp(old);
    let time = old.time();
    if time < start || old.bytes() & new.bytes() == 0 || (old.atomic() && new.atomic()) {
        return false;
    }
    if time < clock.block_start {
        return true;
    }
    let thread = new.thread() as usize;
    !clock.ordered(time, old.thread(), thread / 32, thread % 32)
}

fn conflict(before: Before, old: u64, clock: &BlockClock) -> Conflict {
    let stamp = Stamp(old);
    let other_block = stamp.time() < clock.block_start;
    Conflict { before, thread: stamp.thread(), time: stamp.time(), other_block }
}

impl Words<'_> {
    /// The moment before which accesses do not concern us.
    fn start(&self, clock: &BlockClock) -> u64 {
        if self.of_launch { clock.launch_start } else { clock.block_start }
    }

    fn bounds(&self, clock: &BlockClock) -> Bounds {
        clock.bounds(self.of_launch)
    }

    /// Registers a read of one word.
    pub fn read(&mut self, word: usize, new: Stamp, clock: &BlockClock) -> Option<Conflict> {
        let (start, written) = (self.start(clock), self.written[word]);
        let found =
            conflicts(written, new, start, clock).then(|| conflict(Before::Write, written, clock));
        let (a, b) = pick(self.read[word], self.read_too[word], new.0, self.bounds(clock));
        (self.read[word], self.read_too[word]) = (a, b);
        found
    }

    /// Registers a write of one word.
    pub fn write(&mut self, word: usize, new: Stamp, clock: &BlockClock) -> Option<Conflict> {
        let start = self.start(clock);
        let (written, a, b) = (self.written[word], self.read[word], self.read_too[word]);
        let same = Stamp(written).thread() == new.thread() && Stamp(written).time() == new.time();
        // A thread that writes the halves of a word one by one wrote the whole.
        let keep = if same { written & (15 << BYTES_AT) } else { 0 };
        self.written[word] = new.0 | keep;
        if conflicts(written, new, start, clock) {
            return Some(conflict(Before::Write, written, clock));
        }
        let reader = [a, b].into_iter().find(|&r| conflicts(r, new, start, clock))?;
        Some(conflict(Before::Read, reader, clock))
    }

    /// Registers an access of a run of bytes, `bytes` of them for each thread from that of `new`. False,
    /// and nothing registered, if some word needs a closer look.
    pub fn run(
        &mut self,
        run: Range<usize>,
        bytes: usize,
        write: bool,
        new: Stamp,
        clock: &BlockClock,
    ) -> bool {
        let (first, count) = (run.start / 4, run.len() / 4);
        let shift = (bytes / 4).max(1).trailing_zeros();
        match (bytes, write) {
            (4.., false) => self.read_run(first, count, shift, new, clock),
            (4.., true) => self.write_run(first, count, shift, new, clock),
            (2, _) if run.start.is_multiple_of(4) => self.half_run(first, count, write, new, clock),
            _ => false,
        }
    }

    /// Two threads to each word.
    fn half_run(
        &mut self,
        first: usize,
        count: usize,
        write: bool,
        new: Stamp,
        clock: &BlockClock,
    ) -> bool {
        let words = first..first + count;
        let bounds = self.bounds(clock);
        let calm = |stamps: &[u64]| all_ordered(&stamps[words.clone()], bounds);
        if !(calm(self.written) && calm(self.read) && calm(self.read_too)) {
            return false;
        }
        let plain = new.0 & !(15 << BYTES_AT);
        let low = |k: usize| plain + 2 * k as u64 + (3 << BYTES_AT);
        let high = |k: usize| plain + 2 * k as u64 + 1 + (12 << BYTES_AT);
        for (k, word) in words.enumerate() {
            if write {
                self.written[word] = high(k);
            } else {
                (self.read[word], self.read_too[word]) = (low(k), high(k));
            }
        }
        true
    }

    /// Registers a read of `count` words from `first`, `1 << shift` words for each thread from that of
    /// `new`. False, and nothing registered, if some word needs a closer look.
    fn read_run(
        &mut self,
        first: usize,
        count: usize,
        shift: u32,
        new: Stamp,
        clock: &BlockClock,
    ) -> bool {
        let run = first..first + count;
        let bounds = self.bounds(clock);
        if !undisturbed(&self.written[run.clone()], shift, new.0, bounds) {
            return false;
        }
        note_read(&mut self.read[run.clone()], &mut self.read_too[run], shift, new.0, bounds);
        true
    }

    /// The same for a write.
    fn write_run(
        &mut self,
        first: usize,
        count: usize,
        shift: u32,
        new: Stamp,
        clock: &BlockClock,
    ) -> bool {
        let run = first..first + count;
        let bounds = self.bounds(clock);
        let calm = [&*self.written, &*self.read, &*self.read_too]
            .into_iter()
            .all(|stamps| undisturbed(&stamps[run.clone()], shift, new.0, bounds));
        if calm {
            for (k, w) in self.written[run].iter_mut().enumerate() {
                *w = new.0 + (k >> shift) as u64;
            }
        }
        calm
    }
}

/// Neighbouring words that one instruction touches: the first word, and the stamp of its thread.
#[derive(Clone, Copy, Default)]
pub struct Row {
    pub first: usize,
    pub stamp: Stamp,
}

impl Words<'_> {
    /// Registers rows of 1, 2 or 4 words. Each next word of a row belongs to the thread `step` further on.
    /// A bit is set for each row that needs a closer look, and for which nothing is registered.
    pub fn rows(&mut self, rows: &[Row], words: usize, step: u64, write: bool, at: Bounds) -> u32 {
        let stamps = (&mut *self.written, &mut *self.read, &mut *self.read_too);
        each_row(stamps, rows, words, step, write, at)
    }
}

type Stamps<'m> = (&'m mut [u64], &'m mut [u64], &'m mut [u64]);

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx2", "x86_64+avx2"))]
fn each_row(
    stamps: Stamps<'_>,
    rows: &[Row],
    words: usize,
    step: u64,
    write: bool,
    at: Bounds,
) -> u32 {
    match words {
        4 => rows_of::<4>(stamps, rows, step, write, at),
        2 => rows_of::<2>(stamps, rows, step, write, at),
        _ => rows_of::<1>(stamps, rows, step, write, at),
    }
}

#[inline(always)]
fn rows_of<const N: usize>(
    (written, read, read_too): Stamps<'_>,
    rows: &[Row],
    step: u64,
    write: bool,
    at: Bounds,
) -> u32 {
    let mut closer = 0;
    for (k, row) in rows.iter().enumerate() {
        let run = row.first..row.first + N;
        let ([w], [a], [b]) = (
            written[run.clone()].as_chunks_mut::<N>().0,
            read[run.clone()].as_chunks_mut::<N>().0,
            read_too[run].as_chunks_mut::<N>().0,
        ) else {
            continue;
        };
        let mut bad = 0;
        for n in 0..N {
            let new = row.stamp.0 + n as u64 * step;
            bad |= disturbed(w[n], new, at);
            if write {
                bad |= disturbed(a[n], new, at) | disturbed(b[n], new, at);
            }
        }
        if bad != 0 {
            closer |= 1 << k;
            continue;
        }
        for n in 0..N {
            let new = row.stamp.0 + n as u64 * step;
            if write {
                w[n] = new;
            } else {
                (a[n], b[n]) = pick(a[n], b[n], new, at);
            }
        }
    }
    closer
}

/// Stamps at which something starts, as they compare with stamps.
#[derive(Clone, Copy)]
pub struct Bounds {
    launch: u64,
    block: u64,
    floor: u64,
}

impl BlockClock {
    /// For a memory that all blocks of the launch share, or only the threads of this one.
    pub fn bounds(&self, of_launch: bool) -> Bounds {
        let launch = if of_launch { self.launch_start } else { self.block_start };
        Bounds {
            launch: launch << TIME_AT,
            block: self.block_start << TIME_AT,
            floor: self.floor << TIME_AT,
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx2", "x86_64+avx2"))]
fn undisturbed(stamps: &[u64], shift: u32, new: u64, at: Bounds) -> bool {
    let mut bad = 0;
    for (k, &s) in stamps.iter().enumerate() {
        bad |= disturbed(s, new + (k as u64 >> shift), at);
    }
    bad == 0
}

/// Every stamp is of a launch before, or ordered before all threads of this block.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx2", "x86_64+avx2"))]
fn all_ordered(stamps: &[u64], at: Bounds) -> bool {
    let mut bad = 0;
    for &s in stamps {
        bad |= u64::from(!((s < at.launch) | ((s >= at.block) & (s < at.floor))));
    }
    bad == 0
}

/// 1 for a stamp of another thread without order, or of another block of the launch.
#[inline(always)]
fn disturbed(old: u64, new: u64, at: Bounds) -> u64 {
    let mine = (old ^ new) & THREAD == 0;
    let before = old < at.launch;
    let here = old >= at.block;
    let ordered = old < at.floor;
    u64::from(!(before | (here & (ordered | mine))))
}

/// The two readers to remember after `new`. One of another block, or of another warp, is worth most.
#[inline(always)]
fn pick(a: u64, b: u64, new: u64, at: Bounds) -> (u64, u64) {
    let same = |s: u64| (s ^ new) & THREAD == 0;
    let warp = |s: u64| s & THREAD & !31;
    let merged = if (a ^ new) >> TIME_AT == 0 { new | (a & (15 << BYTES_AT)) } else { new };
    let foreign = a >= at.launch && a < at.block;
    let replace = a < at.launch || a < at.floor && a >= at.block || (same(a) && a >= at.block);
    let b_foreign = b >= at.launch && b < at.block;
    let b_free = b < at.floor || same(b) || (warp(b) == warp(a) && warp(new) != warp(a));
    let take_b = !foreign && !replace && !b_foreign && b_free;
    let next_a = if foreign {
        new
    } else if replace {
        if same(a) { merged } else { new }
    } else {
        a
    };
    let next_b = if foreign {
        a
    } else if take_b {
        new
    } else {
        b
    };
    (next_a, next_b)
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx2", "x86_64+avx2"))]
fn note_read(read: &mut [u64], read_too: &mut [u64], shift: u32, new: u64, at: Bounds) {
    for (k, (a, b)) in read.iter_mut().zip(read_too).enumerate() {
        (*a, *b) = pick(*a, *b, new + (k as u64 >> shift), at);
    }
}
