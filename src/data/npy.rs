//! The folder layout of the official Python projects, in and out:
//! `<split>/{dataset.json, <set>__{inputs,labels,puzzle_identifiers,puzzle_indices,group_indices}.npy}`
//! and `identifiers.json`. A data set that goes out and comes back is the same, row by row.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read};
use std::path::Path;

use npyz::{NpyHeader, WriterBuilder};
use serde_json::json;

use super::augment::{PuzzleName, Variant};
use super::canvas::{self, Placement};
use super::dataset::DataSet;
use super::grid::{Grid, Pair};
use super::manifest::Manifest;
use super::output::{BLANK_NAME, Output, put_in_place, stage};
use super::shard::{GroupBuf, Shard, Spec, Writer};
use super::vocab::{BLANK_ID, Kind, PAD};
use crate::io::progress::Progress;
use crate::{Error, Result};

const SET: &str = "all";

/// What `dataset.json` of a split says. Other fields are allowed and ignored.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
struct Metadata {
    pad_id: u32,
    ignore_label_id: Option<i64>,
    blank_identifier_id: u32,
    vocab_size: usize,
    seq_len: usize,
    num_puzzle_identifiers: usize,
    total_groups: usize,
    mean_puzzle_examples: f64,
    sets: Vec<String>,
}

pub fn export(data: &DataSet, output_dir: &Path, progress: Progress) -> Result<()> {
    let staging = stage(output_dir, "identifiers.json", "exported data set")?;
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
            sets: vec![SET.into()],
        };
        write_json(&dir.join("dataset.json"), &json!(metadata))?;
        export_split(shard, &dir, progress)?;
    }
    write_json(&staging.path().join("identifiers.json"), &json!(data.identifiers()?))?;
    put_in_place(staging, output_dir)
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
        labels.push(label.iter().map(|&t| t as u8))?;
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

struct NpyWriter<T: npyz::Serialize + npyz::AutoSerialize> {
    path: std::path::PathBuf,
    writer: npyz::NpyWriter<T, BufWriter<File>>,
}

impl<T: npyz::Serialize + npyz::AutoSerialize> NpyWriter<T> {
    fn create(dir: &Path, what: &str, shape: &[usize]) -> Result<Self> {
        let path = dir.join(format!("{SET}__{what}.npy"));
        let file = File::create_new(&path).map_err(Error::io(&path, "create"))?;
        let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
        let writer = npyz::WriteOptions::new().default_dtype().shape(&shape);
        let writer = writer.writer(BufWriter::with_capacity(1 << 20, file)).begin_nd();
        let writer = writer.map_err(Error::io(&path, "write (disk full?)"))?;
        Ok(Self { path, writer })
    }

    fn push(&mut self, values: impl IntoIterator<Item = T>) -> Result<()> {
        self.writer.extend(values).map_err(Error::io(&self.path, "write (disk full?)"))
    }

    fn finish(self) -> Result<()> {
        self.writer.finish().map_err(Error::io(&self.path, "write (disk full?)"))
    }
}

/// `kind`: what the rows are; `None` decides by vocabulary and sequence length.
pub fn import(
    input_dir: &Path,
    output_dir: &Path,
    kind: Option<Kind>,
    progress: Progress,
) -> Result<Manifest> {
    let names = read_names(&input_dir.join("identifiers.json"))?;
    let mut splits = vec![];
    for split in ["train", "test"] {
        if input_dir.join(split).join("dataset.json").is_file() {
            splits.push((split, read_metadata(&input_dir.join(split).join("dataset.json"))?));
        }
    }
    let Some((_, first)) = splits.first() else {
        return Err(Error::invalid(format!(
            "{}: no train/dataset.json and no test/dataset.json: not a data set of the Python \
             projects",
            input_dir.display()
        )));
    };
    let canvas = first.seq_len.isqrt();
    let guess = [Kind::Arc, Kind::Sudoku, Kind::Maze]
        .into_iter()
        .find(|kind| kind.vocab_size(canvas) == Some(first.vocab_size));
    let kind = kind.or(guess).unwrap_or(Kind::Tokens);
    let spec = Spec { kind, canvas, vocab_size: first.vocab_size };
    let wrong = |what: String| Error::corrupt(input_dir, what);
    spec.check().map_err(wrong)?;
    let provenance = json!({
        "builder": concat!("hrm ", env!("CARGO_PKG_VERSION")),
        "import": "npy",
    });
    let mut output = Output::create(output_dir, spec, provenance)?;
    for (split, metadata) in &splits {
        let same = metadata.seq_len == canvas * canvas
            && metadata.vocab_size == spec.vocab_size
            && metadata.num_puzzle_identifiers == names.len();
        if !same {
            return Err(wrong(format!("{split}/dataset.json does not fit the other files")));
        }
        let dir = input_dir.join(split);
        let mut writer = output.writer(split)?;
        Importer { spec, names: &names }.split(&dir, &metadata.sets[0], &mut writer, progress)?;
        output.finish_split(split, writer)?;
    }
    output.finish(&names[1..])
}

fn read_names(path: &Path) -> Result<Vec<String>> {
    let text = fs::read(path).map_err(Error::io(path, "read"))?;
    let names: Vec<String> =
        serde_json::from_slice(&text).map_err(|e| Error::corrupt(path, e.to_string()))?;
    match names.first().map(String::as_str) {
        Some(BLANK_NAME) => Ok(names),
        other => Err(Error::corrupt(path, format!("begins with {other:?}, not {BLANK_NAME:?}"))),
    }
}

fn read_metadata(path: &Path) -> Result<Metadata> {
    let text = fs::read(path).map_err(Error::io(path, "read"))?;
    let metadata: Metadata =
        serde_json::from_slice(&text).map_err(|e| Error::corrupt(path, e.to_string()))?;
    let usual = metadata.pad_id == PAD as u32
        && metadata.ignore_label_id.unwrap_or(0) == 0
        && metadata.blank_identifier_id == BLANK_ID
        && metadata.sets.len() == 1;
    if usual {
        return Ok(metadata);
    }
    Err(Error::corrupt(
        path,
        "pad, ignored label and blank id must be 0, and there must be one set",
    ))
}

struct Importer<'a> {
    spec: Spec,
    names: &'a [String],
}

impl Importer<'_> {
    fn split(&self, dir: &Path, set: &str, writer: &mut Writer, progress: Progress) -> Result<()> {
        let path = |what: &str| dir.join(format!("{set}__{what}.npy"));
        let mut inputs = Rows::open(&path("inputs"), self.spec.seq_len())?;
        let mut labels = Rows::open(&path("labels"), self.spec.seq_len())?;
        let ids = read_ints(&path("puzzle_identifiers"))?;
        let starts = read_ints(&path("puzzle_indices"))?;
        let groups = read_ints(&path("group_indices"))?;
        check_chain(&path("puzzle_indices"), &starts, inputs.count, Some(ids.len()))?;
        check_chain(&path("group_indices"), &groups, ids.len(), None)?;
        if labels.count != inputs.count {
            let what = format!("{} rows, inputs have {}", labels.count, inputs.count);
            return Err(Error::corrupt(path("labels"), what));
        }
        let bar = progress.bar("importing rows", inputs.count as u64);
        for range in groups.windows(2) {
            let (first, end) = (range[0] as usize, range[1] as usize);
            let mut group = GroupBuf::new(self.spec);
            for puzzle in first..end {
                let id = ids[puzzle];
                let name = usize::try_from(id).ok().and_then(|id| self.names.get(id));
                let name = name.ok_or_else(|| {
                    let what = format!("id {id} of puzzle {puzzle}: {} names", self.names.len());
                    Error::corrupt(path("puzzle_identifiers"), what)
                })?;
                let variant = match self.spec.kind {
                    Kind::Arc => PuzzleName::parse(name).variant.unwrap_or(Variant::IDENTITY),
                    _ => Variant::IDENTITY,
                };
                group.begin_puzzle(variant);
                for _ in starts[puzzle]..starts[puzzle + 1] {
                    let (input, input_at) = self.grid(&mut inputs)?;
                    let (output, output_at) = self.grid(&mut labels)?;
                    let undo = |grid| match variant {
                        Variant::IDENTITY => grid,
                        _ => variant.undo(&grid),
                    };
                    let pair = Pair { input: undo(input), output: undo(output) };
                    let stored = group.store(&pair)?;
                    group.push(stored, input_at, output_at)?;
                    bar.advance(1);
                }
            }
            let ids: Vec<u32> = ids[first..end].iter().map(|&id| id as u32).collect();
            writer.push(&group, &ids)?;
        }
        Ok(())
    }

    /// The grid of the next row and its place.
    fn grid(&self, rows: &mut Rows) -> Result<(Grid, Placement)> {
        let (row, canvas) = (rows.next_row()?, self.spec.canvas);
        if row.iter().any(|&t| t as usize >= self.spec.vocab_size) {
            return Err(rows.bad_row("has a token beyond the vocabulary"));
        }
        if self.spec.kind != Kind::Arc {
            return Ok((Grid::new(canvas, canvas, row.to_vec())?, Placement::default()));
        }
        let tokens: Vec<i32> = row.iter().map(|&t| t as i32).collect();
        canvas::locate(&tokens, canvas).ok_or_else(|| {
            rows.bad_row("is not one grid closed by EOS; import it with `--kind tokens`")
        })
    }
}

fn check_chain(path: &Path, starts: &[i64], end: usize, count: Option<usize>) -> Result<()> {
    let ascending = starts.windows(2).all(|w| w[0] <= w[1]);
    let ends = (starts.first(), starts.last()) == (Some(&0), Some(&(end as i64)));
    if ascending && ends && count.is_none_or(|n| starts.len() == n + 1) {
        return Ok(());
    }
    Err(Error::corrupt(path, format!("must ascend from 0 to {end}, one more than what it bounds")))
}

/// Rows of a two-dimensional byte array, read in order.
struct Rows {
    path: std::path::PathBuf,
    reader: BufReader<File>,
    count: usize,
    next: usize,
    row: Vec<u8>,
}

impl Rows {
    fn open(path: &Path, seq_len: usize) -> Result<Self> {
        let (header, reader) = open_npy(path)?;
        let dtype = header.dtype().descr();
        let shape = header.shape();
        let bytes = dtype.trim_matches('\'') == "|u1" && header.order() == npyz::Order::C;
        if !bytes || shape.len() != 2 || shape[1] != seq_len as u64 {
            let what = format!("is {dtype} {shape:?}, expected row-major '|u1' [rows, {seq_len}]");
            return Err(Error::corrupt(path, what));
        }
        let count = shape[0] as usize;
        Ok(Self { path: path.to_owned(), reader, count, next: 0, row: vec![0; seq_len] })
    }

    fn next_row(&mut self) -> Result<&[u8]> {
        self.next += 1;
        let path = &self.path;
        self.reader.read_exact(&mut self.row).map_err(Error::io(path, "read row (truncated?)"))?;
        Ok(&self.row)
    }

    fn bad_row(&self, what: &str) -> Error {
        Error::corrupt(&self.path, format!("row {} {what}", self.next - 1))
    }
}

fn open_npy(path: &Path) -> Result<(NpyHeader, BufReader<File>)> {
    let file = File::open(path).map_err(Error::io(path, "open"))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let header =
        NpyHeader::from_reader(&mut reader).map_err(|e| Error::corrupt(path, e.to_string()))?;
    Ok((header, reader))
}

fn read_ints(path: &Path) -> Result<Vec<i64>> {
    let (header, reader) = open_npy(path)?;
    let corrupt = |e: std::io::Error| Error::corrupt(path, e.to_string());
    let file = npyz::NpyFile::with_header(header, reader);
    match file.dtype().descr().trim_matches('\'') {
        "<i4" => Ok(file.into_vec::<i32>().map_err(corrupt)?.into_iter().map(i64::from).collect()),
        "<i8" => file.into_vec::<i64>().map_err(corrupt),
        other => Err(Error::corrupt(path, format!("is {other}, expected '<i4' or '<i8'"))),
    }
}
