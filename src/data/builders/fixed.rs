//! Writes data sets of boards (Sudoku, maze): every puzzle is one example with the blank id, and
//! the variants of one board are a group.

use std::path::Path;

use crate::Result;
use crate::data::augment::Variant;
use crate::data::canvas::Placement;
use crate::data::grid::Pair;
use crate::data::manifest::Manifest;
use crate::data::output::Output;
use crate::data::shard::{GroupBuf, Spec};
use crate::data::vocab::BLANK_ID;

/// Pairs of token boards: `groups[g]` holds the variants of one board, itself first.
pub type Groups = Vec<Vec<Pair>>;

pub fn write(
    output_dir: &Path,
    spec: Spec,
    provenance: serde_json::Value,
    splits: [(&str, Groups); 2],
) -> Result<Manifest> {
    let mut output = Output::create(output_dir, spec, provenance)?;
    for (split, groups) in splits {
        let mut writer = output.writer(split)?;
        for pairs in groups {
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
