//! Named sizes that benches, tests on a real card and records of speed share.

/// The letters of the crate's glossary; T includes the puzzle prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    pub name: &'static str,
    pub b: usize,
    pub t: usize,
    pub c: usize,
    pub nh: usize,
    pub f: usize,
    pub v: usize,
}

/// A card's share of an `arc1` training batch.
pub const ARC_TRAIN: Workload =
    Workload { name: "arc_train", b: 32, t: 901, c: 512, nh: 8, f: 1536, v: 12 };

/// `arc1`, evaluation.
pub const ARC_EVAL: Workload = Workload { name: "arc_eval", b: 128, ..ARC_TRAIN };

/// `arc-small`, training: what a CPU runs.
pub const ARC_SMALL: Workload =
    Workload { name: "arc_small", b: 32, t: 50, c: 128, nh: 4, f: 512, v: 12 };

/// `sudoku-extreme` at a batch that fits a CPU's patience.
pub const SUDOKU: Workload =
    Workload { name: "sudoku", b: 8, t: 82, c: 512, nh: 8, f: 1536, v: 11 };

pub const ALL: [Workload; 4] = [ARC_TRAIN, ARC_EVAL, ARC_SMALL, SUDOKU];
