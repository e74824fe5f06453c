//! The folder layout of the official Python projects, in and out: `<split>/dataset.json`,
//! `<split>/<set>__{inputs,labels,puzzle_identifiers,puzzle_indices,group_indices}.npy` and
//! `identifiers.json`. A data set that goes out and comes back is the same, row by row.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use npyz::NpyHeader;
use serde_json::json;

use super::augment::{PuzzleName, Variant};
use super::canvas::{self, Placement};
use super::dataset::DataSet;
use super::grid::{Grid, Pair};
use super::manifest::Manifest;
use super::output::{BLANK_NAME, Output, put_in_place, stage};
use super::shard::{GroupBuf, Shard, Spec, Writer};
use super::trm;
use super::vocab::{BLANK_ID, Kind, PAD};
use crate::formats::Program;
use crate::io::file;
use crate::io::progress::Progress;
use crate::{Error, Result};

const SET: &str = "all";
/// Names of puzzles take up to 30 bytes each.
const MAX_JSON_BYTES: u64 = 1 << 30;

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
    /// TRM's program asks for it, HRM's does not look.
    total_puzzles: Option<usize>,
    sets: Vec<String>,
}

/// `program`: who will read it; `None` is the one whose names of variants the data set has.
pub fn export(
    data: &DataSet,
    output_dir: &Path,
    program: Option<Program>,
    progress: Progress,
) -> Result<()> {
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

/// Writes one array, with the header that numpy itself would write.
struct NpyWriter<T> {
    path: std::path::PathBuf,
    writer: BufWriter<File>,
    left: usize,
    element: std::marker::PhantomData<T>,
}

/// An element of the arrays, little-endian.
trait Element {
    const DESCR: &str;
    type Bytes: AsRef<[u8]>;
    fn bytes(self) -> Self::Bytes;
}

impl Element for u8 {
    const DESCR: &str = "|u1";
    type Bytes = [u8; 1];
    fn bytes(self) -> [u8; 1] {
        [self]
    }
}

impl Element for i32 {
    const DESCR: &str = "<i4";
    type Bytes = [u8; 4];
    fn bytes(self) -> [u8; 4] {
        self.to_le_bytes()
    }
}

/// Version 1.0: magic, length, a Python literal, blanks up to a multiple of 64 bytes.
fn numpy_header(descr: &str, shape: &[usize]) -> Vec<u8> {
    let sides: Vec<String> = shape.iter().map(usize::to_string).collect();
    let comma = if shape.len() == 1 { "," } else { "" };
    let shape = format!("({}{comma})", sides.join(", "));
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    // numpy leaves room for the first side to grow to 21 digits.
    text.push_str(&" ".repeat(21 - sides.first().map_or(0, String::len)));
    let padding = 64 - (10 + text.len() + 1) % 64;
    text.push_str(&" ".repeat(padding));
    text.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend((text.len() as u16).to_le_bytes());
    header.extend(text.as_bytes());
    header
}

impl<T: Element> NpyWriter<T> {
    fn create(dir: &Path, what: &str, shape: &[usize]) -> Result<Self> {
        let path = dir.join(format!("{SET}__{what}.npy"));
        let file = File::create_new(&path).map_err(Error::io(&path, "create"))?;
        let mut writer = BufWriter::with_capacity(1 << 20, file);
        let header = numpy_header(T::DESCR, shape);
        writer.write_all(&header).map_err(Error::io(&path, "write (disk full?)"))?;
        let left = shape.iter().product();
        Ok(Self { path, writer, left, element: std::marker::PhantomData })
    }

    fn push(&mut self, values: impl IntoIterator<Item = T>) -> Result<()> {
        for value in values {
            let written = self.writer.write_all(value.bytes().as_ref());
            written.map_err(Error::io(&self.path, "write (disk full?)"))?;
            self.left = self.left.saturating_sub(1);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        debug_assert_eq!(self.left, 0, "{}", self.path.display());
        self.writer.flush().map_err(Error::io(&self.path, "write (disk full?)"))
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
    let text = file::read_at_most(path, MAX_JSON_BYTES)?;
    let names: Vec<String> = serde_json::from_slice(file::without_bom(&text))
        .map_err(|e| Error::corrupt(path, e.to_string()))?;
    match names.first().map(String::as_str) {
        Some(BLANK_NAME) => Ok(names),
        other => Err(Error::corrupt(path, format!("begins with {other:?}, not {BLANK_NAME:?}"))),
    }
}

fn read_metadata(path: &Path) -> Result<Metadata> {
    let text = file::read_at_most(path, MAX_JSON_BYTES)?;
    let metadata: Metadata = serde_json::from_slice(file::without_bom(&text))
        .map_err(|e| Error::corrupt(path, e.to_string()))?;
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

/// An integer type of numpy, by its description: `|u1`, `<i8`, `>u2`.
#[derive(Clone, Copy)]
struct IntType {
    bytes: usize,
    signed: bool,
    big_endian: bool,
}

impl IntType {
    fn parse(descr: &str) -> Option<Self> {
        let (order, kind, bytes) = match *descr.trim_matches('\'').as_bytes() {
            [order, kind, bytes @ (b'1' | b'2' | b'4' | b'8')] => (order, kind, bytes - b'0'),
            _ => return None,
        };
        let known = matches!(order, b'<' | b'>' | b'|') && matches!(kind, b'i' | b'u');
        let (signed, big_endian) = (kind == b'i', order == b'>');
        known.then_some(Self { bytes: bytes as usize, signed, big_endian })
    }

    /// `None` if the value is beyond 64 bits with a sign.
    fn value(self, bytes: &[u8]) -> Option<i64> {
        let mut wide = [0; 8];
        wide[..self.bytes].copy_from_slice(bytes);
        if self.big_endian {
            wide[..self.bytes].reverse();
        }
        let shift = 64 - 8 * self.bytes as u32;
        let value = u64::from_le_bytes(wide);
        match self.signed {
            true => Some(((value << shift) as i64) >> shift),
            false => i64::try_from(value).ok(),
        }
    }
}

/// Rows of a two-dimensional array of integers whose values fit a byte, read in order.
struct Rows {
    path: std::path::PathBuf,
    reader: BufReader<File>,
    int: IntType,
    count: usize,
    next: usize,
    raw: Vec<u8>,
    row: Vec<u8>,
}

impl Rows {
    fn open(path: &Path, seq_len: usize) -> Result<Self> {
        let (header, reader) = open_npy(path)?;
        let dtype = header.dtype().descr();
        let shape = header.shape();
        let int = IntType::parse(&dtype).filter(|_| header.order() == npyz::Order::C);
        let Some(int) = int.filter(|_| shape.len() == 2 && shape[1] == seq_len as u64) else {
            let what =
                format!("is {dtype} {shape:?}, expected row-major integers [rows, {seq_len}]");
            return Err(Error::corrupt(path, what));
        };
        let (count, path) = (shape[0] as usize, path.to_owned());
        let (raw, row) = (vec![0; int.bytes * seq_len], vec![0; seq_len]);
        Ok(Self { path, reader, int, count, next: 0, raw, row })
    }

    fn next_row(&mut self) -> Result<&[u8]> {
        self.next += 1;
        let path = &self.path;
        self.reader.read_exact(&mut self.raw).map_err(Error::io(path, "read row (truncated?)"))?;
        for (token, bytes) in self.row.iter_mut().zip(self.raw.chunks_exact(self.int.bytes)) {
            let value = self.int.value(bytes).and_then(|value| u8::try_from(value).ok());
            *token = value.ok_or_else(|| {
                let what = "has a token that is negative or beyond the vocabulary";
                Error::corrupt(path, format!("row {} {what}", self.next - 1))
            })?;
        }
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
    let (header, mut reader) = open_npy(path)?;
    let (dtype, shape) = (header.dtype().descr(), header.shape());
    let Some(int) = IntType::parse(&dtype).filter(|_| shape.len() == 1) else {
        let what = format!("is {dtype} {shape:?}, expected integers in one dimension");
        return Err(Error::corrupt(path, what));
    };
    let mut values = vec![];
    let mut bytes = [0; 8];
    for i in 0..shape[0] {
        let bytes = &mut bytes[..int.bytes];
        reader.read_exact(bytes).map_err(Error::io(path, "read value (truncated?)"))?;
        let value = int.value(bytes);
        values.push(value.ok_or_else(|| Error::corrupt(path, format!("value {i} is too large")))?);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Headers as `numpy.save` writes them.
    #[test]
    fn headers_are_those_of_numpy() {
        let literal = |descr: &str, shape: &[usize]| {
            let header = numpy_header(descr, shape);
            assert_eq!((header.len(), &header[..10]), (128, &b"\x93NUMPY\x01\x00v\x00"[..]));
            let text = String::from_utf8(header[10..].to_vec()).unwrap();
            assert!(text.ends_with('\n'));
            text.trim_end().to_owned()
        };
        let expected = "{'descr': '|u1', 'fortran_order': False, 'shape': (126, 900), }";
        assert_eq!(literal("|u1", &[126, 900]), expected);
        let expected = "{'descr': '<i4', 'fortran_order': False, 'shape': (7,), }";
        assert_eq!(literal("<i4", &[7]), expected);
    }

    #[test]
    fn integers_of_every_width() {
        let value = |descr, bytes: &[u8]| IntType::parse(descr).unwrap().value(bytes);
        assert_eq!(value("'|u1'", &[200]), Some(200));
        assert_eq!(value("|i1", &[255]), Some(-1));
        assert_eq!(value("<i2", &[1, 2]), Some(513));
        assert_eq!(value(">u2", &[1, 2]), Some(258));
        assert_eq!(value("<u4", &[255; 4]), Some(u32::MAX as i64));
        assert_eq!(value("<i8", &(-5i64).to_le_bytes()), Some(-5));
        assert_eq!(value("<u8", &[255; 8]), None);
        for other in ["<f4", "<i3", "|b1", "<U8", ""] {
            assert!(IntType::parse(other).is_none(), "{other}");
        }
    }
}
