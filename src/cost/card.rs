//! The cards that times are predicted for: published figures, in `cards.json` with their sources.

use serde::Deserialize;

use crate::{Error, Result};

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Card {
    /// What `--card` calls it.
    pub name: String,
    pub title: String,
    /// Compute capability, 89 for 8.9.
    pub arch: u32,
    pub multiprocessors: usize,
    pub clock_hz: f64,
    /// bf16 products with f32 sums, dense.
    pub tensor_flops_per_s: f64,
    /// Share of that which `mma.sync`, the instruction of our kernels, can reach.
    pub mma_frac: f64,
    pub dram_bytes_per_s: f64,
    pub l2_bytes: usize,
    pub l2_bytes_per_s: f64,
    pub memory_bytes: usize,
    /// What one multiprocessor has.
    pub multiprocessor: Multiprocessor,
    pub source: String,
}

/// What blocks share, and the most of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Multiprocessor {
    pub threads: usize,
    pub registers: usize,
    pub shared_bytes: usize,
    pub blocks: usize,
}

/// Four schedulers, each with an instruction for 32 lanes in a clock.
const LANES: usize = 128;

impl Card {
    pub fn all() -> Vec<Card> {
        serde_json::from_str(include_str!("cards.json")).expect("cards.json is a list of cards")
    }

    pub fn named(name: &str) -> Result<Card> {
        let all = Card::all();
        let names: Vec<String> = all.iter().map(|c| c.name.clone()).collect();
        all.into_iter().find(|c| c.name == name).ok_or_else(|| {
            Error::invalid(format!("no card named {name}; known are {}", names.join(", ")))
        })
    }

    pub fn lane_ops_per_s(&self) -> f64 {
        (self.multiprocessors * LANES) as f64 * self.clock_hz
    }
}

/// What a block takes of a multiprocessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    pub threads: usize,
    /// Registers of a thread.
    pub registers: usize,
    /// Static and dynamic.
    pub shared_bytes: usize,
}

/// Registers are given to whole warps in units of 256, warps to schedulers in fours; shared memory
/// in units of 128 bytes, of which a block takes 1 KiB for the system (CUDA occupancy calculator,
/// 8.0+).
const REGISTER_UNIT: usize = 256;
const WARP_UNIT: usize = 4;
const SHARED_UNIT: usize = 128;
const SYSTEM_SHARED_BYTES: usize = 1024;

impl Multiprocessor {
    /// Blocks that are resident at once.
    pub fn blocks_of(&self, block: Block) -> usize {
        let warps = block.threads.div_ceil(32);
        let warp_registers = (block.registers * 32).next_multiple_of(REGISTER_UNIT).max(1);
        let register_warps = self.registers / warp_registers / WARP_UNIT * WARP_UNIT;
        let shared = (block.shared_bytes + SYSTEM_SHARED_BYTES).next_multiple_of(SHARED_UNIT);
        [
            self.blocks,
            self.threads / (warps * 32),
            register_warps / warps,
            self.shared_bytes / shared,
        ]
        .into_iter()
        .min()
        .unwrap_or(0)
    }

    /// Resident warps among those that a multiprocessor can hold.
    pub fn occupancy_frac(&self, block: Block) -> f64 {
        (self.blocks_of(block) * block.threads.div_ceil(32) * 32) as f64 / self.threads as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_agree_with_each_other() {
        for card in Card::all() {
            // Ada: 512 flop of an SM in a clock with f32 sums; Hopper: 4096.
            let per_clock = if card.arch == 89 { 512.0 } else { 4096.0 };
            let derived = card.multiprocessors as f64 * per_clock * card.clock_hz;
            let off = (derived / card.tensor_flops_per_s - 1.0).abs();
            assert!(off < 0.01, "{}: {derived:e}", card.name);
            assert!(card.mma_frac > 0.0 && card.mma_frac <= 1.0 && !card.source.is_empty());
        }
        assert!(Card::named("4080").unwrap_err().to_string().contains("4090-laptop"));
    }

    #[test]
    fn each_resource_limits_the_blocks_of_a_multiprocessor() {
        let sm = Card::named("4090").unwrap().multiprocessor;
        let of = |threads, registers, shared_bytes| {
            sm.blocks_of(Block { threads, registers, shared_bytes })
        };
        assert_eq!(of(32, 16, 0), 24); // blocks
        assert_eq!(of(256, 32, 0), 6); // threads
        assert_eq!(of(128, 168, 0), 3); // registers: 12 warps of 168 x 32
        assert_eq!(of(256, 128, 0), 2);
        assert_eq!(of(128, 32, 49152), 2); // shared memory, with 1 KiB each for the system
        assert_eq!(of(128, 32, 102400), 0); // does not fit
        let half = sm.occupancy_frac(Block { threads: 256, registers: 80, shared_bytes: 0 });
        assert_eq!(half, 0.5); // 3 blocks of 8 warps, of 48
    }
}
