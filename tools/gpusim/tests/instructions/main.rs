//! What each instruction computes, held to the PTX manual: its tables and formulas are written down here as
//! data, or computed another way, and never taken from the simulator.

#![allow(clippy::type_complexity)] // Tables of forms and formulas.

#[path = "../card/mod.rs"]
mod card;

mod approx;
mod atomics;
mod bits;
mod compare;
mod control;
mod convert;
mod exchange;
mod float;
mod half;
mod integer;
mod load_store;
mod matrix;
mod refusals;

/// Words that find edges: zeros, ones, signs, runs, and some of no pattern.
pub const WORDS: [u32; 16] = [
    0,
    1,
    2,
    31,
    0x7fff_ffff,
    0x8000_0000,
    0x8000_0001,
    u32::MAX,
    0xffff_fffe,
    0x0000_ffff,
    0xffff_0000,
    0x1234_5678,
    0xdead_beef,
    0x0f0f_0f0f,
    0x00ff_00ff,
    0x8765_4321,
];

/// All pairs of [`WORDS`], with a third word drawn from them.
pub fn triples() -> Vec<[u32; 3]> {
    let pairs = WORDS.iter().enumerate().flat_map(|(i, &a)| {
        WORDS.iter().enumerate().map(move |(j, &b)| [a, b, WORDS[(3 * i + 5 * j + 7) % 16]])
    });
    pairs.collect()
}

/// The same with 64 bits.
pub fn wide_triples() -> Vec<[u64; 3]> {
    let wide = |x: u32, y: u32| u64::from(x) << 32 | u64::from(y);
    triples().into_iter().map(|[a, b, c]| [wide(a, c), wide(b, a), wide(c, b)]).collect()
}
