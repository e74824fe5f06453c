//! Draws the distinct variants of a task. A variant is a pure function of (seed, task id, its
//! number): a larger `num_aug` continues the same list.

use std::collections::HashSet;

use crate::data::augment::{PuzzleName, Variant, View, swaps_sides};
use crate::data::canvas::Placement;
use crate::data::grid::Pair;
use crate::data::pattern::{Pattern, PatternKind};
use crate::data::task::Task;
use crate::rng::{Rng, Stream};

/// Tries per wanted variant before a task is left with fewer.
const TRIES_FACTOR: usize = 5;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drawn {
    pub pattern: Option<Pattern>,
    /// `None` for the task itself.
    pub variant: Option<Variant>,
}

impl Drawn {
    pub fn name(&self, task: &str) -> String {
        let (task, Self { pattern, variant }) = (task.to_owned(), *self);
        PuzzleName { task, pattern, variant }.to_string()
    }
}

/// The stream of random numbers of (task, purpose number).
fn task_rng(seed: u64, task: &str, number: u64) -> Rng {
    let mut hash = blake3::Hasher::new();
    let hash = hash.update(&number.to_le_bytes()).update(task.as_bytes()).finalize();
    let mut stream = [0; 8];
    stream.copy_from_slice(&hash.as_bytes()[..8]);
    Rng::new(seed, Stream::Augment, u64::from_le_bytes(stream))
}

/// The task itself, then up to `num_aug` variants, all of different content.
pub fn draw(
    task: &Task,
    pairs: &[&Pair],
    num_aug: usize,
    seed: u64,
    canvas: usize,
    patterns: &[PatternKind],
) -> Vec<Drawn> {
    let mut rng = task_rng(seed, &task.id, 0);
    let mut drawn = vec![Drawn { pattern: None, variant: None }];
    let mut scratch = vec![];
    let mut seen = HashSet::from([content_hash(pairs, Variant::IDENTITY, &mut scratch)]);
    for _ in 0..TRIES_FACTOR.saturating_mul(num_aug) {
        if drawn.len() > num_aug {
            break;
        }
        let pattern = draw_pattern(&mut rng, task, canvas, patterns);
        let variant = Variant::random(&mut rng);
        let hash = match pattern {
            None => content_hash(pairs, variant, &mut scratch),
            Some(pattern) => {
                let pairs: Vec<Pair> = pairs.iter().map(|p| pattern.apply_pair(p)).collect();
                content_hash(&pairs.iter().collect::<Vec<_>>(), variant, &mut scratch)
            }
        };
        if seen.insert(hash) {
            drawn.push(Drawn { pattern, variant: Some(variant) });
        }
    }
    drawn
}

/// Half of the draws keep the plain task; a pattern that leaves the canvas is not used.
fn draw_pattern(
    rng: &mut Rng,
    task: &Task,
    canvas: usize,
    patterns: &[PatternKind],
) -> Option<Pattern> {
    if patterns.is_empty() || rng.below(2) == 0 {
        return None;
    }
    let pattern = patterns[rng.below(patterns.len() as u32) as usize].draw(rng);
    let fits = task.grids().all(|g| {
        let (h, w) = pattern.sides(g.h(), g.w());
        h.max(w) <= canvas
    });
    fits.then_some(pattern)
}

type Hash = [u8; 16];

/// Equal for tasks that have the same pairs in any order.
fn content_hash(pairs: &[&Pair], variant: Variant, scratch: &mut Vec<u8>) -> Hash {
    let short = |bytes: &[u8]| {
        let mut hash = [0; 16];
        hash.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
        hash
    };
    let mut hashes: Vec<Hash> = pairs
        .iter()
        .map(|pair| {
            scratch.clear();
            for grid in [&pair.input, &pair.output] {
                let v = View::new(variant.transform, grid.h(), grid.w());
                scratch.extend([v.h as u8, v.w as u8]);
                for r in 0..v.h as isize {
                    let mut i = v.start as isize + r * v.row_step;
                    for _ in 0..v.w {
                        scratch.push(variant.colours[grid.cells()[i as usize] as usize]);
                        i += v.col_step;
                    }
                }
            }
            short(scratch)
        })
        .collect();
    hashes.sort_unstable();
    short(hashes.as_flattened())
}

/// Where the examples of variant `number` stand: anywhere they fit, the input and the output at
/// the same place, except one example, which stays in the corner.
pub fn placements(
    seed: u64,
    task: &str,
    number: usize,
    pairs: &[Pair],
    variant: Variant,
    canvas: usize,
) -> Vec<Placement> {
    let mut rng = task_rng(seed, task, 1 + number as u64);
    let fixed = rng.below(pairs.len().max(1) as u32) as usize;
    let place = |(i, pair): (usize, &Pair)| {
        let mut h = pair.input.h().max(pair.output.h());
        let mut w = pair.input.w().max(pair.output.w());
        if swaps_sides(variant.transform) {
            (h, w) = (w, h);
        }
        let top = rng.below((canvas - h) as u32 + 1) as u8;
        let left = rng.below((canvas - w) as u32 + 1) as u8;
        if i == fixed { Placement::default() } else { Placement { top, left } }
    };
    pairs.iter().enumerate().map(place).collect()
}
