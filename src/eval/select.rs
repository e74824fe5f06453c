//! Which examples of a split are evaluated. Augmented variants of a task say little about other
//! tasks, so a limited evaluation takes every task's original before any variant.

use crate::Result;
use crate::data::augment::PuzzleName;
use crate::data::{DataSet, Kind};

/// The first `limit` examples (0: all) in evaluation order: originals first, then the first variant
/// of every task, then the second, and so on; within these, in the order of the split.
pub fn select(data: &DataSet, split: &str, limit: usize) -> Result<Vec<u32>> {
    select_variants(data, split, limit, usize::MAX)
}

/// Select as [`select`] does, with at most `variants` variants of a task.
pub fn select_variants(
    data: &DataSet,
    split: &str,
    limit: usize,
    variants: usize,
) -> Result<Vec<u32>> {
    let shard = data.split(split)?;
    let originals = originals(data, split)?;
    let mut order = Vec::with_capacity(shard.examples());
    for group in 0..shard.groups() {
        let mut seen = 0;
        for (rank, puzzle) in shard.group_range(group)?.enumerate() {
            seen += !originals[puzzle] as usize;
            if seen > variants {
                break;
            }
            let examples = shard.puzzle_range(puzzle)?;
            order.extend(examples.map(|i| (!originals[puzzle], rank, i as u32)));
        }
    }
    order.sort_unstable();
    if limit > 0 {
        order.truncate(limit);
    }
    Ok(order.into_iter().map(|(_, _, example)| example).collect())
}

/// For each puzzle of the split, whether it is a task as published: no transform, no permuted
/// colours, no pattern. Only ARC names its variants; other kinds count as originals throughout.
pub fn originals(data: &DataSet, split: &str) -> Result<Vec<bool>> {
    let shard = data.split(split)?;
    if data.kind() != Kind::Arc {
        return Ok(vec![true; shard.puzzles()]);
    }
    let names = data.identifiers()?;
    (0..shard.puzzles())
        .map(|puzzle| {
            let name = PuzzleName::parse(&names[shard.puzzle_id(puzzle)? as usize]);
            Ok(name.is_original())
        })
        .collect()
}
