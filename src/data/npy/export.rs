//! A data set as a folder of the Python projects.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::write::NpyWriter;
use super::{Metadata, SET};
use crate::data::dataset::DataSet;
use crate::data::output::{put_in_place, stage};
use crate::data::shard::Shard;
use crate::data::trm;
use crate::data::vocab::{BLANK_ID, IGNORE, Kind, PAD};
use crate::formats::Program;
use crate::io::file;
use crate::io::progress::Progress;
use crate::{Error, Result};

/// Write all splits of `data` below `output_dir`; an earlier export there is replaced. `program`:
/// who will read it; `None` is the one whose names of variants the data set has.
///
/// # Errors
/// Also where `output_dir` holds anything else, or `data` itself.
pub fn export(
    data: &DataSet,
    output_dir: &Path,
    program: Option<Program>,
    progress: Progress,
) -> Result<()> {
    spare_source(data.dir(), output_dir)?;
    // Our own data sets have an identifiers.json too, but no folder for each split.
    let first = data.split_names().next().unwrap_or("train");
    let staging = stage(output_dir, &format!("{first}/dataset.json"), "exported data set")?;
    for split in data.split_names() {
        let (shard, dir) = (data.split(split)?, staging.path().join(split));
        fs::create_dir(&dir).map_err(Error::io(&dir, "create folder"))?;
        let metadata = Metadata {
            pad_id: PAD as u32,
            ignore_label_id: Some(PAD as i64),
            blank_identifier_id: BLANK_ID,
            vocab_size: data.vocab_size(),
            seq_len: data.seq_len(),
            num_puzzle_identifiers: data.num_puzzle_ids(),
            total_groups: shard.groups(),
            mean_puzzle_examples: data.mean_puzzle_examples(split)?,
            total_puzzles: Some(shard.puzzles()),
            sets: vec![SET.into()],
        };
        write_json(&dir.join("dataset.json"), &json!(metadata))?;
        export_split(shard, &dir, progress)?;
    }
    let names = data.identifiers()?;
    let program = program.unwrap_or_else(|| trm::program_of(names));
    let names = match data.kind() {
        Kind::Arc => names.iter().map(|name| trm::spell(name, program)).collect(),
        _ => names.to_vec(),
    };
    if program == Program::Trm && data.kind() == Kind::Arc {
        let path = staging.path().join(trm::TEST_PUZZLES_FILE);
        write_json(&path, &trm::test_puzzles(data)?)?;
    }
    write_json(&staging.path().join("identifiers.json"), &json!(names))?;
    put_in_place(staging)
}

/// What is exported must not go with what the output replaces.
fn spare_source(source: &Path, output_dir: &Path) -> Result<()> {
    if !file::exists(output_dir)? {
        return Ok(());
    }
    let whole = |dir: &Path| dir.canonicalize().map_err(Error::io(dir, "resolve the path"));
    if !whole(source)?.starts_with(whole(output_dir)?) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{}: is or holds the data set that is exported: choose another output folder",
        output_dir.display()
    )))
}

fn write_json(path: &Path, value: &serde_json::Value) -> Result<()> {
    fs::write(path, value.to_string()).map_err(Error::io(path, "write (disk full?)"))
}

fn export_split(shard: &Shard, dir: &Path, progress: Progress) -> Result<()> {
    let (count, seq_len) = (shard.examples(), shard.spec().seq_len());
    let mut inputs = NpyWriter::<u8>::create(dir, "inputs", &[count, seq_len])?;
    let mut labels = NpyWriter::<u8>::create(dir, "labels", &[count, seq_len])?;
    let mut rows = vec![0; 2 * seq_len];
    let bar = progress.bar("exporting rows", count as u64);
    for i in 0..count {
        let (input, label) = rows.split_at_mut(seq_len);
        shard.decode(i, PAD, input, label)?;
        inputs.push(input.iter().map(|&t| t as u8))?;
        // PAD is what the other programs leave out of loss and scores.
        labels.push(label.iter().map(|&t| if t == IGNORE { PAD } else { t } as u8))?;
        bar.advance(1);
    }
    inputs.finish()?;
    labels.finish()?;

    let (puzzles, groups) = (shard.puzzles(), shard.groups());
    let mut ids = NpyWriter::<i32>::create(dir, "puzzle_identifiers", &[puzzles])?;
    let mut starts = NpyWriter::<i32>::create(dir, "puzzle_indices", &[puzzles + 1])?;
    let mut group_starts = NpyWriter::<i32>::create(dir, "group_indices", &[groups + 1])?;
    starts.push([0])?;
    group_starts.push([0])?;
    for puzzle in 0..puzzles {
        ids.push([shard.puzzle_id(puzzle)? as i32])?;
        starts.push([shard.puzzle_range(puzzle)?.end as i32])?;
    }
    for group in 0..groups {
        group_starts.push([shard.group_range(group)?.end as i32])?;
    }
    ids.finish()?;
    starts.finish()?;
    group_starts.finish()
}
