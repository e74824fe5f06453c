//! Runs a kernel: blocks one after another in an order drawn from the seed, warps from barrier to barrier.

mod access;
mod approx;
mod async_copy;
mod atomics;
mod barrier;
mod block;
mod class;
mod compare;
mod convert;
mod core;
mod exchange;
mod float;
mod host;
mod int;
pub(crate) mod lanes;
mod lanewise;
mod launch;
mod matrix;
mod round;
mod step;
mod warp;

pub use launch::{LaunchConfig, LaunchError, check_launch, run};

use crate::report::{CountersByKernel, Findings};
use std::ops::Range;

/// Global memory that the last launch touched: merged, sorted ranges, exact to the byte or a little less fine
/// where that would be endless. The driver holds them against what other streams touch.
#[derive(Debug, Default)]
pub struct Touched {
    pub reads: Vec<Range<u64>>,
    /// Plain stores and atomics.
    pub writes: Vec<Range<u64>>,
}

/// What outlives a launch: the seed, the findings, the counters.
pub struct Session {
    /// Varies the order of blocks and warps.
    pub seed: u64,
    /// Warp instructions a launch may execute before it counts as an endless loop.
    pub instruction_budget: u64,
    /// Follow readers and writers of memory words. Off doubles the speed and finds no races.
    pub races: bool,
    pub findings: Findings,
    pub counters: CountersByKernel,
    /// Launches so far; part of the seed of each launch's order.
    pub launches: u64,
    /// Replaced by each launch.
    pub touched: Touched,
}

impl Session {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            instruction_budget: 1_000_000_000,
            races: true,
            findings: Findings::default(),
            counters: CountersByKernel::new(),
            launches: 0,
            touched: Touched::default(),
        }
    }
}
