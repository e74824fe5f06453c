//! A small ARC data set whose every grid is known.

use std::path::Path;

use hrm::data::augment::Variant;
use hrm::data::canvas::Placement;
use hrm::data::output::Output;
use hrm::data::shard::{GroupBuf, Spec};
use hrm::data::{DataSet, Grid, Pair};
use hrm::rng::{Rng, Stream};

pub const CANVAS: usize = 5;

pub fn grid(rows: &[&str]) -> Grid {
    let cells = rows.iter().flat_map(|r| r.bytes().map(|b| b - b'0')).collect();
    Grid::new(rows.len(), rows[0].len(), cells).unwrap()
}

pub fn pair(input: &[&str], output: &[&str]) -> Pair {
    Pair { input: grid(input), output: grid(output) }
}

/// Tasks named `task0`, ...; each is its pairs, stored as published and in one turned variant, both
/// at the canvas corner in split `test` and one cell further in split `train`.
pub fn arc(dir: &Path, tasks: &[Vec<Pair>]) -> DataSet {
    let spec = Spec::arc(CANVAS);
    let turned = Variant { transform: 1, colours: [0, 2, 3, 4, 5, 6, 7, 8, 9, 1] };
    let mut output = Output::create(dir, spec, serde_json::json!({ "builder": "test" })).unwrap();
    let names: Vec<String> =
        (0..tasks.len()).flat_map(|t| [format!("task{t}"), format!("task{t}_{turned}")]).collect();
    for (split, at) in [("train", 1), ("test", 0)] {
        let mut writer = output.writer(split).unwrap();
        for (t, pairs) in tasks.iter().enumerate() {
            let mut group = GroupBuf::new(spec);
            let stored: Vec<_> = pairs.iter().map(|p| group.store(p).unwrap()).collect();
            for variant in [Variant::IDENTITY, turned] {
                group.begin_puzzle(variant);
                for &pair in &stored {
                    let at = Placement { top: at, left: at };
                    group.push(pair, at, at).unwrap();
                }
            }
            let first = 1 + 2 * t as u32;
            writer.push(&group, &[first, first + 1]).unwrap();
        }
        output.finish_split(split, writer).unwrap();
    }
    output.finish(&names).unwrap();
    DataSet::open(dir).unwrap()
}

/// Pairs of random shapes up to 4 x 4 with few colours, so that answers are often partly right.
pub fn random_tasks(seed: u64, count: usize) -> Vec<Vec<Pair>> {
    let mut rng = Rng::new(seed, Stream::Test, 0);
    let mut grid = || {
        let (h, w) = (1 + rng.below(4) as usize, 1 + rng.below(4) as usize);
        Grid::from_fn(h, w, |_, _| rng.below(3) as u8)
    };
    (0..count)
        .map(|i| (0..1 + i % 3).map(|_| Pair { input: grid(), output: grid() }).collect())
        .collect()
}

/// One split `test` of boards whose cells are tokens.
pub fn boards(dir: &Path, spec: Spec, pairs: &[Pair]) -> DataSet {
    let mut output = Output::create(dir, spec, serde_json::json!({ "builder": "test" })).unwrap();
    let mut writer = output.writer("test").unwrap();
    for pair in pairs {
        let mut group = GroupBuf::new(spec);
        let stored = group.store(pair).unwrap();
        group.begin_puzzle(Variant::IDENTITY);
        group.push(stored, Placement::default(), Placement::default()).unwrap();
        writer.push(&group, &[0]).unwrap();
    }
    output.finish_split("test", writer).unwrap();
    output.finish(&[]).unwrap();
    DataSet::open(dir).unwrap()
}
