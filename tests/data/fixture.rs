//! Small data sets for the tests.

use std::path::Path;

use hrm::data::augment::Variant;
use hrm::data::canvas::Placement;
use hrm::data::output::Output;
use hrm::data::shard::{GroupBuf, Spec};
use hrm::data::{DataSet, Grid, Pair};
use hrm::rng::{Rng, Stream};

pub fn random_grid(rng: &mut Rng, h: usize, w: usize) -> Grid {
    Grid::from_fn(h, w, |_, _| rng.below(10) as u8)
}

pub fn random_pair(rng: &mut Rng, side: u32) -> Pair {
    let mut grid = || {
        let (h, w) = (rng.below(side) as usize + 1, rng.below(side) as usize + 1);
        random_grid(rng, h, w)
    };
    Pair { input: grid(), output: grid() }
}

/// One puzzle of [`small`] as it was written: (puzzle id, variant, pairs).
pub type Puzzle = (u32, Variant, Vec<Pair>);

/// A train and a test split of `groups` groups with 1 to 4 puzzles of 1 to 5 pairs.
pub fn small(dir: &Path, seed: u64, groups: usize) -> (DataSet, Vec<Vec<Puzzle>>) {
    let mut rng = Rng::new(seed, Stream::Test, 0);
    let spec = Spec::arc(10);
    let mut output = Output::create(dir, spec, serde_json::json!({ "builder": "test" })).unwrap();
    let (mut names, mut written) = (vec![], vec![]);
    for split in ["train", "test"] {
        let mut writer = output.writer(split).unwrap();
        for group in 0..groups {
            let mut buf = GroupBuf::new(spec);
            let pairs: Vec<Pair> =
                (0..1 + rng.below(5)).map(|_| random_pair(&mut rng, 7)).collect();
            let stored: Vec<_> = pairs.iter().map(|p| buf.store(p).unwrap()).collect();
            let (mut ids, mut puzzles) = (vec![], vec![]);
            for k in 0..1 + rng.below(4) {
                let variant = if k == 0 { Variant::IDENTITY } else { Variant::random(&mut rng) };
                buf.begin_puzzle(variant);
                for &pair in &stored {
                    let at = Placement { top: rng.below(4) as u8, left: rng.below(4) as u8 };
                    buf.push(pair, at, at).unwrap();
                }
                names.push(format!("{split}{group}_{variant}"));
                ids.push(names.len() as u32);
                puzzles.push((names.len() as u32, variant, pairs.clone()));
            }
            writer.push(&buf, &ids).unwrap();
            if split == "train" {
                written.push(puzzles);
            }
        }
        output.finish_split(split, writer).unwrap();
    }
    output.finish(&names).unwrap();
    (DataSet::open(dir).unwrap(), written)
}

/// Groups of a training split whose puzzles, each of the 8 transforms among them, are asked in the
/// test split. Canvas 10; demonstrations have sides of 1 to 6, test inputs of 1 to 8. `answers` is
/// the seed of the test pairs' outputs alone.
pub fn asked(dir: &Path, seed: u64, groups: usize, answers: u64) -> DataSet {
    let spec = Spec::arc(10);
    let mut output = Output::create(dir, spec, serde_json::json!({ "builder": "test" })).unwrap();
    let mut names = vec![];
    for split in ["train", "test"] {
        let mut writer = output.writer(split).unwrap();
        for group in 0..groups {
            let mut rng = Rng::new(seed, Stream::Test, 1 + group as u64);
            let mut answer_rng = Rng::new(answers, Stream::Test, 1 + group as u64);
            let mut buf = GroupBuf::new(spec);
            let shown: Vec<Pair> =
                (0..1 + rng.below(4)).map(|_| random_pair(&mut rng, 6)).collect();
            let input = random_pair(&mut rng, 8).input;
            let question = Pair { input, output: random_pair(&mut answer_rng, 9).output };
            let pairs = if split == "train" { shown } else { vec![question] };
            let stored: Vec<_> = pairs.iter().map(|p| buf.store(p).unwrap()).collect();
            let mut ids = vec![];
            for transform in 0..8 {
                let variant = Variant { transform, ..Variant::random(&mut rng) };
                buf.begin_puzzle(variant);
                for &pair in &stored {
                    let mut place = || if split == "train" { rng.below(5) as u8 } else { 0 };
                    let at = Placement { top: place(), left: place() };
                    buf.push(pair, at, at).unwrap();
                }
                ids.push((8 * group + transform as usize + 1) as u32);
                if split == "train" {
                    names.push(format!("task{group}_{variant}"));
                }
            }
            writer.push(&buf, &ids).unwrap();
        }
        output.finish_split(split, writer).unwrap();
    }
    output.finish(&names).unwrap();
    DataSet::open(dir).unwrap()
}
