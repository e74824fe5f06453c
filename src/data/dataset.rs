//! An opened data set: manifest, one shard per split, names of the puzzle ids.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::builders::sudoku_board::Shape;
use super::builders::{maze, sudoku};
use super::canvas::Placement;
use super::grid::{Grid, Pair};
use super::manifest::{self, Manifest};
use super::overlap;
use super::sequence::{self, Conditions};
use super::shard::{Example, Shard, Spec};
use super::vocab::Kind;
use super::window::{RowLayout, Window, Windows};
use crate::io::file;
use crate::{Error, Result};

/// Names of puzzles take up to 30 bytes each.
const MAX_IDENTIFIERS_BYTES: u64 = 8 << 30;

pub struct DataSet {
    dir: PathBuf,
    manifest: Manifest,
    splits: Vec<(String, Shard)>,
    identifiers: OnceLock<Vec<String>>,
    windows: OnceLock<Windows>,
    conditions: OnceLock<Conditions>,
}

impl DataSet {
    /// Cheap: maps the shards and checks their headers against the manifest.
    pub fn open(dir: &Path) -> Result<Self> {
        if dir.as_os_str().is_empty() {
            return Err(Error::invalid(
                "no data set is known of this model, it was imported without one: add --data DIR",
            ));
        }
        let manifest = Manifest::read(dir)?;
        let mut splits = vec![];
        for (name, entry) in &manifest.splits {
            let path = dir.join(&entry.shard);
            let shard = Shard::open(&path)?;
            if shard.digest() != entry.digest || shard.spec() != manifest.spec() {
                return Err(Error::corrupt(
                    &path,
                    format!("is not the shard that {} lists; build it again", manifest::FILE),
                ));
            }
            if shard.largest_puzzle_id() as usize >= manifest.num_puzzle_ids {
                let (id, count) = (shard.largest_puzzle_id(), manifest.num_puzzle_ids);
                return Err(Error::corrupt(&path, format!("has puzzle id {id} of {count}")));
            }
            splits.push((name.clone(), shard));
        }
        Ok(Self {
            dir: dir.to_owned(),
            manifest,
            splits,
            identifiers: OnceLock::new(),
            windows: OnceLock::new(),
            conditions: OnceLock::new(),
        })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub fn spec(&self) -> Spec {
        self.manifest.spec()
    }

    pub fn kind(&self) -> Kind {
        self.manifest.kind
    }

    pub fn canvas(&self) -> usize {
        self.manifest.canvas
    }

    pub fn seq_len(&self) -> usize {
        self.spec().seq_len()
    }

    pub fn vocab_size(&self) -> usize {
        self.manifest.vocab_size
    }

    /// Rows of the puzzle embedding, the blank one included.
    pub fn num_puzzle_ids(&self) -> usize {
        self.manifest.num_puzzle_ids
    }

    /// What a checkpoint stores to refuse a resume on other data.
    pub fn digest(&self) -> String {
        self.manifest.digest()
    }

    pub fn split_names(&self) -> impl Iterator<Item = &str> {
        self.splits.iter().map(|(name, _)| name.as_str())
    }

    pub fn split(&self, name: &str) -> Result<&Shard> {
        let found = self.splits.iter().find(|(n, _)| n == name);
        found.map(|(_, shard)| shard).ok_or_else(|| {
            let names: Vec<&str> = self.split_names().collect();
            let dir = self.dir.display();
            Error::invalid(format!("{dir}: no split {name:?}; there is {}", names.join(", ")))
        })
    }

    pub fn example(&self, split: &str, i: usize) -> Result<Example> {
        self.split(split)?.example(i)
    }

    /// The cells of the canvas that a packed row of the example holds.
    pub fn window(&self, split: &str, i: usize) -> Result<Window> {
        self.windows()?.window(self.split(split)?, i)
    }

    /// The window of another input of a puzzle.
    pub fn window_of_input(&self, puzzle_id: u32, input: &Grid, at: Placement) -> Result<Window> {
        Ok(self.windows()?.window_of_input(puzzle_id, input, at, self.canvas()))
    }

    /// How long each example of a split is as a row of this layout: the cells of its
    /// [window](Self::window), of the canvas, or the tokens of its sequence.
    pub fn row_lengths(&self, split: &str, layout: RowLayout) -> Result<Vec<u16>> {
        let shard = self.split(split)?;
        match layout {
            RowLayout::Padded => Ok(vec![self.seq_len() as u16; shard.examples()]),
            RowLayout::Packed => self.windows()?.lengths(shard),
            RowLayout::Sequence => sequence::lengths(shard),
        }
    }

    /// What sequences are told of the puzzle that they are of.
    pub fn conditions(&self) -> Result<&Conditions> {
        if let Some(conditions) = self.conditions.get() {
            return Ok(conditions);
        }
        let conditions = Conditions::new(self.identifiers()?);
        Ok(self.conditions.get_or_init(|| conditions))
    }

    /// The number by which rows of this layout name a puzzle.
    pub fn row_id(&self, puzzle_id: u32, layout: RowLayout) -> Result<u32> {
        if layout != RowLayout::Sequence {
            return Ok(puzzle_id);
        }
        self.conditions()?.of(puzzle_id).ok_or_else(|| {
            let ids = self.num_puzzle_ids();
            Error::corrupt(&self.dir, format!("puzzle id {puzzle_id} of {ids} has no name"))
        })
    }

    /// How many numbers [`row_id`](Self::row_id) gives.
    pub fn row_ids(&self, layout: RowLayout) -> Result<usize> {
        match layout {
            RowLayout::Sequence => Ok(self.conditions()?.count()),
            _ => Ok(self.num_puzzle_ids()),
        }
    }

    fn windows(&self) -> Result<&Windows> {
        if let Some(windows) = self.windows.get() {
            return Ok(windows);
        }
        let windows = Windows::new(self.split("train").ok())?;
        Ok(self.windows.get_or_init(|| windows))
    }

    pub fn mean_puzzle_examples(&self, split: &str) -> Result<f64> {
        let shard = self.split(split)?;
        Ok(shard.examples() as f64 / shard.puzzles().max(1) as f64)
    }

    /// Name of each puzzle id: `<blank>`, then `<task>` or `<task>_t3_0123456789`.
    pub fn identifiers(&self) -> Result<&[String]> {
        if let Some(names) = self.identifiers.get() {
            return Ok(names);
        }
        let path = self.dir.join(manifest::IDENTIFIERS_FILE);
        let text = file::read_at_most(&path, MAX_IDENTIFIERS_BYTES)?;
        if blake3::hash(&text).to_hex().as_str() != self.manifest.identifiers_digest {
            return Err(Error::corrupt(&path, "does not match its digest; build it again"));
        }
        let names: Vec<String> = serde_json::from_slice(&text)
            .map_err(|e| Error::corrupt(&path, format!("not a list of names: {e}")))?;
        if names.len() != self.num_puzzle_ids() {
            let (have, want) = (names.len(), self.num_puzzle_ids());
            return Err(Error::corrupt(&path, format!("has {have} names for {want} puzzle ids")));
        }
        Ok(self.identifiers.get_or_init(|| names))
    }

    /// Reads everything and checks all checksums, ranges and cells.
    pub fn verify(&self) -> Result<()> {
        self.identifiers()?;
        self.splits.iter().try_for_each(|(_, shard)| shard.verify())?;
        self.verify_known()?;
        self.verify_answers()
    }

    /// Only what is tested may lack an answer.
    fn verify_known(&self) -> Result<()> {
        let Ok(train) = self.split("train") else { return Ok(()) };
        match train.hidden_examples()? {
            0 => Ok(()),
            count => Err(Error::corrupt(
                train.path(),
                format!("{count} training examples have no output; build the data set again"),
            )),
        }
    }

    /// Answers of boards follow from their questions, so they can be wrong.
    fn verify_answers(&self) -> Result<()> {
        let shape = Shape::new(self.canvas());
        for (name, shard) in &self.splits {
            for i in 0..shard.examples() {
                let Pair { input, output } = shard.example(i)?.pair;
                let digits = |grid: &Grid| -> Vec<u8> {
                    grid.cells().iter().map(|&token| token.saturating_sub(1)).collect()
                };
                let checked = match (self.kind(), shape) {
                    (Kind::Maze, _) => maze::check(&input, &output),
                    (Kind::Sudoku, Some(shape)) => {
                        sudoku::check(shape, &digits(&input), &digits(&output))
                            .map_err(String::from)
                    }
                    _ => return Ok(()),
                };
                checked.map_err(|what| {
                    let what = format!("split {name}: example {i}: the answer {what}");
                    Error::corrupt(&self.dir, what)
                })?;
            }
        }
        Ok(())
    }

    /// Training puzzles that hold content of a split that is scored: see [`overlap::count`].
    pub fn train_in(&self, split: &str) -> Result<usize> {
        match (self.split("train"), self.split(split)) {
            (Ok(train), Ok(scored)) => overlap::count(train, scored),
            _ => Ok(0),
        }
    }

    /// Whether a builder of boards made it: those keep what is tested out of training.
    pub fn is_of_board_builder(&self) -> bool {
        let builders = ["sudoku", "sudoku_csv", "maze", "maze_csv"];
        builders.iter().any(|&builder| self.manifest.provenance.get(builder).is_some())
    }

    /// Training examples that the builder left out because what is held out has their content.
    pub fn held_out_by_content(&self) -> Option<usize> {
        let told = &self.manifest.provenance;
        let count = told["held_out_by_content"].as_u64().or_else(|| {
            let parts = told.as_object()?.values();
            parts.filter_map(|part| part["held_out_by_content"].as_u64()).next()
        });
        count.filter(|&count| count > 0).map(|count| count as usize)
    }
}
