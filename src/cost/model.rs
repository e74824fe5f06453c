//! Time of a list of launches on a card, kernel after kernel: no overlap is assumed, and each unit
//! is taken to reach its full rate. So it is a bound that a good kernel comes near to; what may be
//! expected stands beside it.

use super::card::{Block, Card};
use super::limit::Limit;
use super::reach::expected_frac;
use crate::backend::{Launched, Resources};

/// Printed beside each prediction.
pub const FORMULA: &str = "sum over kernels of max(tensor flop / tensor rate, lane instructions / \
    issue rate, bytes / DRAM rate) x whole waves / waves, plus 1.5 us for each node of the graph \
    (assumption); every unit at its full rate, no overlap, no use of L2";

/// Between the end of a kernel and the start of the next in a replayed graph. An assumption.
pub const GRAPH_LAUNCH_S: f64 = 1.5e-6;

/// All launches of one kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    pub kernel: &'static str,
    pub launches: usize,
    pub matmul_flops: f64,
    pub tensor_flops: f64,
    pub bytes: f64,
    /// Without [`GRAPH_LAUNCH_S`].
    pub busy_s: f64,
    /// `busy_s` at the rates that kernels of its kind reach.
    pub expected_busy_s: f64,
    /// What the launches wait for that take longest together.
    pub limit: Limit,
    /// The time without the idle part of last waves, over `busy_s`.
    pub wave_frac: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Longest first.
    pub classes: Vec<Class>,
    pub launches: usize,
    pub matmul_flops: f64,
    pub step_s: f64,
    /// What may be expected of `step_s`.
    pub expected_s: f64,
    /// `matmul_flops` over what tensor cores could do in `step_s`.
    pub tensor_frac: f64,
    /// Blocks of a multiprocessor follow from registers too; otherwise from the rest alone.
    pub knows_registers: bool,
}

impl Prediction {
    /// `resources`: what the compiler says of a kernel, where it was compiled.
    pub fn new(
        card: &Card,
        launched: &[Launched],
        resources: impl Fn(&str, u32) -> Option<Resources>,
    ) -> Self {
        let mut sums: Vec<(Class, [f64; 4], f64)> = vec![];
        let mut knows_registers = true;
        for launch in launched {
            let compiled = resources(launch.kernel, card.arch);
            let ours = launch.blocks() > 0;
            knows_registers &= compiled.is_some() || !ours;
            let (limit, ideal_s) = bound(card, launch);
            let busy_s = ideal_s * quantisation(card, launch, compiled);
            let at = sums.iter().position(|(class, ..)| class.kernel == launch.kernel);
            let at = at.unwrap_or_else(|| {
                sums.push((Class::new(launch.kernel), [0.0; 4], 0.0));
                sums.len() - 1
            });
            let (class, by_limit, ideal) = &mut sums[at];
            class.launches += 1;
            class.matmul_flops += launch.cost.matmul_flops;
            class.tensor_flops += launch.cost.tensor_flops;
            class.bytes += launch.cost.bytes;
            class.busy_s += busy_s;
            class.expected_busy_s += busy_s / expected_frac(launch.kernel, limit).0;
            let limit = if busy_s < GRAPH_LAUNCH_S { Limit::Launch } else { limit };
            by_limit[limit as usize] += busy_s.max(GRAPH_LAUNCH_S);
            *ideal += ideal_s;
        }
        let mut classes: Vec<Class> = sums.into_iter().map(Class::closed).collect();
        classes.sort_by(|a, b| b.busy_s.total_cmp(&a.busy_s));
        let matmul_flops: f64 = classes.iter().map(|c| c.matmul_flops).sum();
        let busy_s: f64 = classes.iter().map(|c| c.busy_s).sum();
        let expected_busy_s: f64 = classes.iter().map(|c| c.expected_busy_s).sum();
        let launch_s = launched.len() as f64 * GRAPH_LAUNCH_S;
        let step_s = busy_s + launch_s;
        Self {
            launches: launched.len(),
            tensor_frac: matmul_flops / (card.tensor_flops_per_s * step_s),
            classes,
            matmul_flops,
            step_s,
            expected_s: expected_busy_s + launch_s,
            knows_registers,
        }
    }

    /// Time between kernels.
    pub fn launch_s(&self) -> f64 {
        self.launches as f64 * GRAPH_LAUNCH_S
    }
}

impl Class {
    fn new(kernel: &'static str) -> Self {
        Self {
            kernel,
            launches: 0,
            matmul_flops: 0.0,
            tensor_flops: 0.0,
            bytes: 0.0,
            busy_s: 0.0,
            expected_busy_s: 0.0,
            limit: Limit::Launch,
            wave_frac: 1.0,
        }
    }

    fn closed((class, by_limit, ideal_s): (Class, [f64; 4], f64)) -> Self {
        let limits = [Limit::Tensor, Limit::Issue, Limit::Dram, Limit::Launch];
        let limit = limits
            .into_iter()
            .max_by(|a, b| by_limit[*a as usize].total_cmp(&by_limit[*b as usize]))
            .unwrap_or(Limit::Launch);
        let wave_frac = if class.busy_s > 0.0 { ideal_s / class.busy_s } else { 1.0 };
        Self { limit, wave_frac, ..class }
    }
}

/// The slowest unit, with the whole card at work.
fn bound(card: &Card, launch: &Launched) -> (Limit, f64) {
    let cost = launch.cost;
    // A product on CUDA cores is a fused multiply-add for each lane: two of its operations.
    let lane_products = if cost.tensor_flops > 0.0 { 0.0 } else { cost.matmul_flops / 2.0 };
    [
        (Limit::Tensor, cost.tensor_flops / (card.tensor_flops_per_s * card.mma_frac)),
        (Limit::Issue, (cost.lane_ops + lane_products) / card.lane_ops_per_s()),
        (Limit::Dram, cost.bytes / card.dram_bytes_per_s),
    ]
    .into_iter()
    .max_by(|a, b| a.1.total_cmp(&b.1))
    .unwrap_or((Limit::Launch, 0.0))
}

/// Whole waves over waves: the last one takes as long as a full one. A wave is what the card holds
/// at once, or less where there are too few blocks to fill it.
fn quantisation(card: &Card, launch: &Launched, compiled: Option<Resources>) -> f64 {
    let blocks = launch.blocks();
    if blocks == 0 {
        return 1.0; // the driver's own copies
    }
    let (registers, static_bytes) = compiled.map_or((0, 0), |r| (r.registers, r.shared_bytes));
    let block = Block {
        threads: launch.block.iter().product(),
        registers,
        shared_bytes: static_bytes + launch.shared_bytes,
    };
    let resident = card.multiprocessor.blocks_of(block).max(1);
    let wave = card.multiprocessors * resident.min(blocks.div_ceil(card.multiprocessors));
    blocks.next_multiple_of(wave) as f64 / blocks as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{COPY, Cost};

    fn launch(kernel: &'static str, blocks: usize, cost: Cost) -> Launched {
        Launched { kernel, grid: [blocks, 1, 1], block: [256, 1, 1], shared_bytes: 0, cost }
    }

    fn compiled(_: &str, arch: u32) -> Option<Resources> {
        Some(Resources {
            arch,
            threads: 256,
            registers: 128, // two blocks
            spilled_bytes: 0,
            stack_bytes: 0,
            shared_bytes: 0,
        })
    }

    fn near(got: f64, want: f64) -> bool {
        (got - want).abs() <= 1e-9 * want.abs()
    }

    #[test]
    fn the_slowest_unit_decides_and_says_so() {
        let card = Card::named("4090").unwrap();
        let full = 128 * 2;
        let tensor = Cost { matmul_flops: 100e9, tensor_flops: 165.2e9, ..Cost::default() };
        let lanes = Cost { matmul_flops: 2.0 * card.lane_ops_per_s(), ..Cost::default() };
        let dram = Cost { bytes: 1008e6, ..Cost::default() };
        let all = [
            launch("t", full, tensor),
            launch("l", full, lanes),
            launch("d", full, dram),
            launch("n", 1, Cost::default()),
        ];
        let p = Prediction::new(&card, &all, compiled);
        let of = |name| p.classes.iter().find(|c| c.kernel == name).unwrap();
        assert!(near(of("t").busy_s, 1e-3) && of("t").limit == Limit::Tensor);
        assert!(near(of("l").busy_s, 1.0) && of("l").limit == Limit::Issue);
        assert!(near(of("d").busy_s, 1e-3) && of("d").limit == Limit::Dram);
        assert_eq!(of("n").limit, Limit::Launch);
        assert!(near(p.step_s, 1.002 + 4.0 * GRAPH_LAUNCH_S));
        let expected_s = 1.0 / 0.8 + 1e-3 / 0.8 + 1e-3 / 0.84;
        assert!(near(p.expected_s, expected_s + 4.0 * GRAPH_LAUNCH_S));
        assert!(near(of("d").expected_busy_s, 1e-3 / 0.84));
        assert_eq!((p.classes[0].kernel, p.launches, p.knows_registers), ("l", 4, true));
        let share = (100e9 + 2.0 * card.lane_ops_per_s()) / (165.2e12 * p.step_s);
        assert!(near(p.tensor_frac, share));
    }

    #[test]
    fn a_last_wave_costs_a_whole_one() {
        let card = Card::named("4090").unwrap();
        let cost = Cost { bytes: 1008e6, ..Cost::default() };
        let ms = |blocks| {
            Prediction::new(&card, &[launch("k", blocks, cost)], compiled).classes[0].busy_s * 1e3
        };
        assert!(near(ms(256), 1.0) && near(ms(512), 1.0));
        assert!(near(ms(257), 512.0 / 257.0));
        assert!(near(ms(128), 1.0), "half of a wave, evenly spread");
        assert!(near(ms(64), 2.0), "half of the multiprocessors");
        // Without registers six blocks fit.
        let p = Prediction::new(&card, &[launch("k", 257, cost)], |_, _| None);
        assert!(near(p.classes[0].busy_s, 384.0 / 257.0 * 1e-3) && !p.knows_registers);
        let copy = Launched { grid: [0; 3], block: [0; 3], ..launch(COPY, 1, cost) };
        let p = Prediction::new(&card, &[copy], compiled);
        assert!(near(p.classes[0].busy_s, 1e-3) && p.classes[0].wave_frac == 1.0);
    }

    #[test]
    fn hopper_is_limited_to_what_mma_sync_reaches() {
        let card = Card::named("h100").unwrap();
        let cost = Cost { matmul_flops: 989.4e9, tensor_flops: 989.4e9, ..Cost::default() };
        let p = Prediction::new(&card, &[launch("t", 132 * 2, cost)], compiled);
        assert!(near(p.classes[0].busy_s, 1e-3 / 0.629) && p.tensor_frac < 0.63);
    }
}
