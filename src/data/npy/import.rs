//! A folder of the Python projects as a data set.

use std::path::Path;

use serde_json::json;

use super::Metadata;
use super::read::{Rows, read_ints};
use crate::data::augment::{PuzzleName, Variant};
use crate::data::canvas::{self, Placement};
use crate::data::grid::{Grid, Pair};
use crate::data::manifest::Manifest;
use crate::data::output::{BLANK_NAME, Output};
use crate::data::shard::{GroupBuf, Spec, Writer};
use crate::data::vocab::{BLANK_ID, Kind, PAD};
use crate::io::file;
use crate::io::json::{self, Object};
use crate::io::progress::Progress;
use crate::{Error, Result};

/// Names of puzzles take up to 30 bytes each.
const MAX_JSON_BYTES: u64 = 1 << 30;

/// Read the folder `input_dir` into a data set at `output_dir`. `kind`: what the rows are; `None`
/// decides by vocabulary and sequence length.
pub fn import(
    input_dir: &Path,
    output_dir: &Path,
    kind: Option<Kind>,
    progress: Progress,
) -> Result<Manifest> {
    let names = read_names(&input_dir.join("identifiers.json"))?;
    let mut splits = vec![];
    for split in ["train", "test"] {
        let path = input_dir.join(split).join("dataset.json");
        if file::exists(&path)? {
            splits.push((split, read_metadata(&path)?));
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
    let names: Vec<String> = json::parse(&text).map_err(|e| Error::corrupt(path, e.to_string()))?;
    match names.first().map(String::as_str) {
        Some(BLANK_NAME) => Ok(names),
        other => Err(Error::corrupt(path, format!("begins with {other:?}, not {BLANK_NAME:?}"))),
    }
}

fn read_metadata(path: &Path) -> Result<Metadata> {
    let text = file::read_at_most(path, MAX_JSON_BYTES)?;
    let Object(metadata): Object<Metadata> =
        json::parse(&text).map_err(|e| Error::corrupt(path, e.to_string()))?;
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

const NO_GRID: &str = "is not one grid closed by EOS; import it with `--kind tokens`";

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
        // A label that is all padding says nothing: a hidden test input.
        let may_hide = self.spec.kind == Kind::Arc && !dir.ends_with("train");
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
                    let (input, input_at) =
                        self.grid(&mut inputs)?.ok_or_else(|| inputs.bad_row(NO_GRID))?;
                    let (output, output_at) = match self.grid(&mut labels)? {
                        None if may_hide => (Grid::default(), input_at),
                        shown => shown.ok_or_else(|| labels.bad_row(NO_GRID))?,
                    };
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

    /// The grid of the next row and its place; `None` of a row of ARC without one.
    fn grid(&self, rows: &mut Rows) -> Result<Option<(Grid, Placement)>> {
        let (row, canvas) = (rows.next_row()?, self.spec.canvas);
        if row.iter().any(|&t| t as usize >= self.spec.vocab_size) {
            return Err(rows.bad_row("has a token beyond the vocabulary"));
        }
        if self.spec.kind != Kind::Arc {
            let grid = Grid::new(canvas, canvas, row.to_vec())?;
            return Ok(Some((grid, Placement::default())));
        }
        let tokens: Vec<i32> = row.iter().map(|&t| t as i32).collect();
        if tokens.iter().all(|&t| t == PAD) {
            return Ok(None);
        }
        let found = canvas::locate(&tokens, canvas);
        found.map(Some).ok_or_else(|| rows.bad_row(NO_GRID))
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
