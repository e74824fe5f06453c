//! Writes data sets of boards (Sudoku, maze): every puzzle is one example with the blank id, and
//! the variants of one board are a group.

use std::path::Path;

use crate::data::augment::Variant;
use crate::data::canvas::Placement;
use crate::data::grid::Pair;
use crate::data::manifest::Manifest;
use crate::data::output::Output;
use crate::data::shard::{GroupBuf, Spec};
use crate::data::vocab::BLANK_ID;
use crate::{Error, Result};

/// Pairs of token boards: `groups[g]` holds the variants of one board, itself first.
pub type Groups = Vec<Vec<Pair>>;

/// Most boards of a split, variants counted: their index alone takes 3 GB then.
pub const MAX_EXAMPLES: u64 = 200_000_000;
/// Most variants of one task or board.
pub const MAX_NUM_AUG: usize = 100_000;

/// Refuses what no data set can hold, before any memory is taken for it.
pub fn check_counts(train: usize, num_aug: usize, test: usize) -> Result<()> {
    check_num_aug(num_aug)?;
    let trained = (train as u128) * (num_aug as u128 + 1);
    for (boards, what) in
        [(trained, "training boards with variants"), (test as u128, "test boards")]
    {
        if boards > MAX_EXAMPLES as u128 {
            return Err(Error::invalid(format!(
                "{boards} {what}: a data set holds at most {MAX_EXAMPLES}"
            )));
        }
    }
    Ok(())
}

pub fn check_num_aug(num_aug: usize) -> Result<()> {
    match num_aug {
        0..=MAX_NUM_AUG => Ok(()),
        _ => Err(Error::invalid(format!("--num-aug {num_aug}: at most {MAX_NUM_AUG} variants"))),
    }
}

/// What is said when boards of the training file were left out for standing in the test file.
pub fn check_held_out(held_out: usize, left: usize) -> Result<()> {
    match (held_out, left) {
        (0, _) | (_, 1..) => Ok(()),
        (n, 0) => Err(Error::invalid(format!(
            "all {n} training boards stand in the test file, too (one file given twice?): nothing is \
             left to train on"
        ))),
    }
}

/// A split's name, and its groups as they are made.
pub type SplitGroups<'a> = (&'a str, Box<dyn Iterator<Item = Result<Vec<Pair>>> + 'a>);

/// The groups are taken one by one and not kept.
pub fn write(
    output_dir: &Path,
    spec: Spec,
    provenance: serde_json::Value,
    splits: [SplitGroups; 2],
) -> Result<Manifest> {
    let mut output = Output::create(output_dir, spec, provenance)?;
    for (split, groups) in splits {
        let mut writer = output.writer(split)?;
        for pairs in groups {
            let pairs = pairs?;
            let mut group = GroupBuf::new(spec);
            for pair in &pairs {
                let stored = group.store(pair)?;
                group.begin_puzzle(Variant::IDENTITY);
                group.push(stored, Placement::default(), Placement::default())?;
            }
            writer.push(&group, &vec![BLANK_ID; pairs.len()])?;
        }
        output.finish_split(split, writer)?;
    }
    output.finish(&[])
}

/// Groups that are already there, for [`write`].
pub fn ready<'a>(groups: Groups) -> Box<dyn Iterator<Item = Result<Vec<Pair>>> + 'a> {
    Box::new(groups.into_iter().map(Ok))
}
