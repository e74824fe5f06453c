//! Which training examples are test examples, by content and not by name: equal under the variants
//! that the builders make.

use std::collections::{HashMap, HashSet};

use super::augment::transform;
use super::grid::{Grid, Pair};
use super::pattern::{Pattern, PatternKind};
use super::shard::Shard;
use super::vocab::{COLOURS, Kind};
use crate::Result;

/// The split that models are scored on.
pub const SCORED: &str = "test";

/// Equal for pairs of the same content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Content([u8; 16]);

/// A key that pairs share which a turn, a reflection or new names of colours 1 to 9 make of each
/// other.
pub fn content(pair: &Pair) -> Content {
    let form = |t: u8| {
        let mut names = [u8::MAX; COLOURS];
        names[0] = 0;
        let mut next = 1;
        let mut bytes = vec![];
        for grid in [&pair.input, &pair.output] {
            let grid = transform(grid, t);
            bytes.extend([grid.h() as u8, grid.w() as u8]);
            for &cell in grid.cells() {
                let name = &mut names[cell as usize % COLOURS];
                if *name == u8::MAX {
                    *name = next;
                    next += 1;
                }
                bytes.push(*name);
            }
        }
        bytes
    };
    hash(&(0..8).map(form).min().unwrap_or_default())
}

fn hash(bytes: &[u8]) -> Content {
    let mut short = [0; 16];
    short.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    Content(short)
}

/// The content of a pair as it stands and under every pattern of these kinds.
pub fn contents(pair: &Pair, kinds: &[PatternKind], canvas: usize) -> Vec<Content> {
    let grids = [&pair.input, &pair.output];
    let patterns = kinds.iter().flat_map(|kind| -> Vec<Pattern> {
        match kind {
            PatternKind::Upscale => vec![Pattern::Upscale],
            PatternKind::Tile => vec![Pattern::Tile],
            PatternKind::Mirror => vec![Pattern::Mirror],
            PatternKind::Border => (0..COLOURS as u8).map(Pattern::Border).collect(),
        }
    });
    let fits = |pattern: &Pattern| {
        grids.iter().all(|g| {
            let (h, w) = pattern.sides(g.h(), g.w());
            h.max(w) <= canvas
        })
    };
    let patterned = patterns.filter(fits).map(|pattern| content(&pattern.apply_pair(pair)));
    std::iter::once(content(pair)).chain(patterned).collect()
}

/// Training puzzles of a built data set with an example whose content is tested. Of an ARC task one
/// puzzle is looked at, for its variants have the same content; within a task, pairs must be equal
/// as they stand.
pub fn count(train: &Shard, test: &Shard) -> Result<usize> {
    let mut tested: HashMap<Content, Vec<(u32, Content)>> = HashMap::new();
    for Seen { puzzle_id, content, exact, .. } in seen(test)? {
        tested.entry(content).or_default().push((puzzle_id, exact));
    }
    let boards = train.spec().kind != Kind::Arc;
    let is_tested = |seen: &Seen| {
        tested.get(&seen.content).is_some_and(|found| {
            found.iter().any(|&(id, exact)| boards || id != seen.puzzle_id || exact == seen.exact)
        })
    };
    let puzzles: HashSet<usize> =
        seen(train)?.iter().filter(|seen| is_tested(seen)).map(|seen| seen.puzzle).collect();
    Ok(puzzles.len())
}

/// An example of a puzzle that is looked at.
struct Seen {
    puzzle: usize,
    puzzle_id: u32,
    content: Content,
    exact: Content,
}

fn seen(shard: &Shard) -> Result<Vec<Seen>> {
    let kind = shard.spec().kind;
    let mut all = vec![];
    for group in 0..shard.groups() {
        let puzzles = shard.group_range(group)?;
        for puzzle in puzzles.take(if kind == Kind::Arc { 1 } else { usize::MAX }) {
            let puzzle_id = shard.puzzle_id(puzzle)?;
            for i in shard.puzzle_range(puzzle)? {
                let pair = shard.example(i)?.pair;
                if pair.is_hidden() {
                    continue; // its content is half unknown
                }
                let exact = hash(&[pair.input.cells(), &[u8::MAX], pair.output.cells()].concat());
                let content = match kind {
                    Kind::Arc => content(&pair),
                    _ => board(&pair.input, kind),
                };
                all.push(Seen { puzzle, puzzle_id, content, exact });
            }
        }
    }
    Ok(all)
}

/// Boards are compared by their question; mazes however they are turned.
fn board(question: &Grid, kind: Kind) -> Content {
    match kind {
        Kind::Maze => {
            let forms = (0..8).map(|t| transform(question, t).cells().to_vec());
            hash(&forms.min().unwrap_or_default())
        }
        _ => hash(question.cells()),
    }
}

/// What is said of examples that a builder left out of training.
pub fn words_left_out(count: usize) -> String {
    format!(
        "{count} training examples left out: others of the same content are held out for the test"
    )
}

/// What is said of [`count`].
pub fn words(count: usize, split: &str) -> String {
    format!(
        "{count} training puzzles of this data set hold an example of its {split} split: scores of \
         a model trained on them are not clean"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::augment::Variant;
    use crate::rng::{Rng, Stream};

    #[test]
    fn content_is_the_same_for_all_variants_and_no_others() {
        let mut rng = Rng::new(5, Stream::Test, 0);
        let mut grid = |h, w| Grid::from_fn(h, w, |_, _| rng.below(10) as u8);
        let pair = Pair { input: grid(3, 2), output: grid(2, 4) };
        let other = Pair { input: pair.input.clone(), output: grid(2, 4) };
        let mut rng = Rng::new(6, Stream::Test, 0);
        for _ in 0..50 {
            let variant = Variant::random(&mut rng);
            assert_eq!(content(&variant.apply_pair(&pair)), content(&pair));
            assert_ne!(content(&variant.apply_pair(&other)), content(&pair));
        }
        let wide = Pattern::Border(3).apply_pair(&pair);
        let kinds = [PatternKind::Upscale, PatternKind::Border];
        assert!(contents(&pair, &kinds, 30).contains(&content(&wide)));
        assert_eq!(contents(&pair, &kinds, 4).len(), 1);
    }
}
