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
    /// Rows end to end, as long as those of ARC-1 are; T is then that of the longest.
    pub packed: bool,
}

/// A card's share of an `arc1` training batch.
pub const ARC_TRAIN: Workload =
    Workload { name: "arc_train", b: 32, t: 901, c: 512, nh: 8, f: 1536, v: 12, packed: false };

/// `arc1`, evaluation.
pub const ARC_EVAL: Workload = Workload { name: "arc_eval", b: 128, ..ARC_TRAIN };

/// `arc-small`, training: what a CPU runs.
pub const ARC_SMALL: Workload =
    Workload { name: "arc_small", b: 32, t: 50, c: 128, nh: 4, f: 512, ..ARC_TRAIN };

/// `sudoku-extreme` at a batch that fits a CPU's patience.
pub const SUDOKU: Workload = Workload { name: "sudoku", b: 8, t: 82, v: 11, ..ARC_TRAIN };

/// `arc1` at the batch of one large card.
pub const ARC_100: Workload = Workload { name: "arc_100", b: 100, ..ARC_TRAIN };

/// `sudoku-extreme` as published.
pub const SUDOKU_768: Workload = Workload { name: "sudoku_768", b: 768, ..SUDOKU };

/// TRM, whose puzzle prefix is 16 positions.
pub const TRM_32: Workload = Workload { name: "trm_32", t: 916, ..ARC_TRAIN };

/// `arc-full`: another width, heads of 32, no prefix.
pub const SEED_24: Workload =
    Workload { name: "seed_24", b: 24, t: 900, c: 256, f: 1024, ..ARC_TRAIN };

/// `arc1` with packed rows.
pub const ARC_PACKED: Workload = Workload { name: "arc_packed", packed: true, ..ARC_100 };

pub const ALL: [Workload; 9] =
    [ARC_TRAIN, ARC_EVAL, ARC_SMALL, SUDOKU, ARC_100, SUDOKU_768, TRM_32, SEED_24, ARC_PACKED];
