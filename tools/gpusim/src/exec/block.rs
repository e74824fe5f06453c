//! A block: runs its warps, in an order drawn from the seed, from barrier to barrier.

use super::barrier;
use super::core::Core;
use super::step::{self, Stop};
use super::warp::{Parked, Place, Warp};
use crate::check::clock::BlockClock;

/// A small generator for orders; quality does not matter, repeatability does.
pub struct Order(u64);

impl Order {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// The numbers below `n`, shuffled.
    pub fn permutation(&mut self, n: u64) -> Vec<u64> {
        let mut out: Vec<u64> = (0..n).collect();
        for k in (1..out.len()).rev() {
            out.swap(k, self.below(k as u64 + 1) as usize);
        }
        out
    }
}

/// Runs one block to its end, or until the kernel stops.
pub fn run(core: &mut Core<'_>, warps: &mut [Warp], place: Place, order: &mut Order) {
    core.block = place.block_id;
    core.clock = BlockClock::new(core.clock.launch_start, core.memory.trace.now, warps.len());
    core.starts.push((core.memory.trace.now, place.block_id));
    core.handover.start_block(core.memory.trace.now);
    core.barriers = vec![barrier::Barrier::default(); barrier::BARRIERS];
    let dynamic_start = core.dynamic_start();
    core.shared.reset(core.program, dynamic_start, place.dynamic_shared_bytes);
    warps.iter_mut().for_each(|w| w.restart(core.program, place));
    let mut ready: Vec<usize> = (0..warps.len()).collect();
    while core.stopped.is_none() {
        if ready.is_empty() {
            if !barrier::complete(core, warps) {
                if warps.iter().any(|w| w.live != 0) {
                    barrier::deadlock(core, warps);
                }
                break;
            }
            let runs = |w: &Warp| w.groups.iter().any(|g| g.parked != Parked::Barrier);
            ready = (0..warps.len()).filter(|&w| runs(&warps[w])).collect();
            continue;
        }
        let chosen = order.below(ready.len() as u64) as usize;
        match step::run(core, &mut warps[ready[chosen]]) {
            Stop::Slice => {}
            Stop::Exited | Stop::Barrier => drop(ready.swap_remove(chosen)),
            Stop::Stopped => break,
        }
        // A named barrier may complete while other warps still run.
        if !ready.is_empty() && warps.len() > 1 && core.barriers.iter().any(|b| b.is_counted()) {
            barrier::complete(core, warps);
            let runs = |w: &Warp| w.groups.iter().any(|g| g.parked != Parked::Barrier);
            ready = (0..warps.len()).filter(|&w| runs(&warps[w])).collect();
        }
    }
    core.memory.trace.now = core.clock.end();
}
