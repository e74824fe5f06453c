//! A batch on the host: token rows ready for upload.

use super::dataset::DataSet;
use super::sequence::Sequence;
use super::shard::{Example, Shard};
use super::vocab::{BLANK_ID, IGNORE, PAD};
use super::window::{RowLayout, Window};
use crate::{Error, Result};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchOptions {
    /// Labels that are PAD become [`IGNORE`]: true for `hrm` and `trm`, false for `hrm_seed`.
    pub ignore_pad: bool,
}

impl BatchOptions {
    /// What a label that is PAD becomes.
    pub fn pad_label(self) -> i32 {
        if self.ignore_pad { IGNORE } else { PAD }
    }
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self { ignore_pad: true }
    }
}

/// Padded: every row has the whole canvas. Packed: every row has the cells of its [`Window`], at
/// the beginning of a slot; the slots stand end to end. Sequences lie in slots likewise, their
/// tokens and places where those have cells.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Batch {
    /// PAD where there is no grid and in what a row leaves of its slot.
    pub inputs: Vec<i32>, // (B, S), packed (cells of all slots)
    /// PAD or [`IGNORE`] where nothing is asked.
    pub labels: Vec<i32>, // as `inputs`
    pub puzzle_ids: Vec<i32>, // (B)
    /// Packed: index on the canvas of each cell, 0 in what a row leaves of its slot. Padded: empty.
    pub cells: Vec<i32>, // as `inputs`
    /// Packed: cells of each row, 0 of a row that is padding. Padded: empty.
    pub lengths: Vec<i32>, // (B)
    /// Rows that are examples; the others are padding: PAD, IGNORE and the blank id.
    pub real_rows: usize,
}

impl Batch {
    /// Rows that are all examples.
    pub fn new(inputs: Vec<i32>, labels: Vec<i32>, puzzle_ids: Vec<i32>) -> Self {
        let real_rows = puzzle_ids.len();
        Self { inputs, labels, puzzle_ids, real_rows, ..Self::default() }
    }

    /// The given examples, filled up with padding to `rows` rows.
    pub fn assemble(
        shard: &Shard,
        examples: &[u32],
        rows: usize,
        options: BatchOptions,
    ) -> Result<Self> {
        let seq_len = shard.spec().seq_len();
        let rows = rows.max(examples.len());
        let mut batch = Self {
            inputs: vec![PAD; rows * seq_len],
            labels: vec![IGNORE; rows * seq_len],
            puzzle_ids: vec![BLANK_ID as i32; rows],
            real_rows: examples.len(),
            ..Self::default()
        };
        let pad_label = options.pad_label();
        let lines = batch.inputs.chunks_exact_mut(seq_len);
        let lines = lines.zip(batch.labels.chunks_exact_mut(seq_len)).zip(&mut batch.puzzle_ids);
        for (&example, ((input, label), id)) in examples.iter().zip(lines) {
            *id = shard.decode(example as usize, pad_label, input, label)? as i32;
        }
        Ok(batch)
    }

    /// A packed batch: example k in slot k, which has room for `slots[k]` cells. Slots without an
    /// example are padding. What a label has outside its row's window is not there.
    pub fn packed(
        data: &DataSet,
        split: &str,
        examples: &[u32],
        slots: &[usize],
        options: BatchOptions,
    ) -> Result<Self> {
        expect_slots(examples, slots)?;
        let (shard, canvas) = (data.split(split)?, data.canvas());
        let pad_label = options.pad_label();
        let mut batch = Self { real_rows: examples.len(), ..Self::default() };
        let mut rows = vec![PAD; 2 * data.seq_len()];
        let (input, label) = rows.split_at_mut(data.seq_len());
        for (&example, &slot) in examples.iter().zip(slots) {
            let window = data.window(split, example as usize)?;
            let id = shard.decode(example as usize, pad_label, input, label)?;
            batch
                .push_packed(input, label, id, window, canvas, slot)
                .map_err(|e| Error::invalid(format!("{e}: example {example} of split {split}")))?;
        }
        batch.leave(&slots[examples.len()..]);
        Ok(batch)
    }

    /// Examples as sequences, in slots as in [`packed`](Self::packed).
    pub fn sequences(
        data: &DataSet,
        split: &str,
        examples: &[u32],
        slots: &[usize],
    ) -> Result<Self> {
        expect_slots(examples, slots)?;
        let mut batch = Self { real_rows: examples.len(), ..Self::default() };
        for (&example, &slot) in examples.iter().zip(slots) {
            let Example { pair, puzzle_id, .. } = data.example(split, example as usize)?;
            let id = data.row_id(puzzle_id, RowLayout::Sequence)?;
            batch.push_sequence(&Sequence::of_pair(&pair, data.canvas()), id, slot)?;
        }
        batch.leave(&slots[examples.len()..]);
        Ok(batch)
    }

    /// Adds a slot of room for `slot` tokens with a sequence in it.
    pub fn push_sequence(&mut self, sequence: &Sequence, id: u32, slot: usize) -> Result<()> {
        let (from, len) = (self.inputs.len(), sequence.tokens.len());
        self.expect_room(slot, len)?;
        self.fill(slot);
        self.inputs[from..from + len].copy_from_slice(&sequence.tokens);
        self.labels[from..from + len].copy_from_slice(&sequence.labels);
        self.cells[from..from + len].copy_from_slice(&sequence.places);
        self.puzzle_ids.push(id as i32);
        self.lengths.push(len as i32);
        Ok(())
    }

    fn expect_room(&self, slot: usize, cells: usize) -> Result<()> {
        if cells > slot {
            let row = self.puzzle_ids.len();
            return Err(Error::invalid(format!(
                "batch: slot {row} has room for {slot} cells, its row has {cells}"
            )));
        }
        Ok(())
    }

    /// Adds slots without a row.
    fn leave(&mut self, slots: &[usize]) {
        for &slot in slots {
            self.fill(slot);
            self.puzzle_ids.push(BLANK_ID as i32);
            self.lengths.push(0);
        }
    }

    /// Adds a slot of `slot` cells for the window of a row whose canvas has these tokens.
    pub fn push_packed(
        &mut self,
        input: &[i32],
        label: &[i32],
        puzzle_id: u32,
        window: Window,
        canvas: usize,
        slot: usize,
    ) -> Result<()> {
        let from = self.inputs.len();
        self.expect_room(slot, window.len())?;
        self.fill(slot);
        let own = from..from + window.len();
        window.pick(input, canvas, &mut self.inputs[own.clone()]);
        window.pick(label, canvas, &mut self.labels[own.clone()]);
        let cells = self.cells[own].iter_mut().zip(window.cells(canvas));
        cells.for_each(|(to, cell)| *to = cell as i32);
        self.puzzle_ids.push(puzzle_id as i32);
        self.lengths.push(window.len() as i32);
        Ok(())
    }

    /// Adds a slot with nothing in it.
    fn fill(&mut self, slot: usize) {
        let end = self.inputs.len() + slot;
        self.inputs.resize(end, PAD);
        self.labels.resize(end, IGNORE);
        self.cells.resize(end, 0);
    }

    pub fn rows(&self) -> usize {
        self.puzzle_ids.len()
    }
}

fn expect_slots(examples: &[u32], slots: &[usize]) -> Result<()> {
    let (rows, slots) = (examples.len(), slots.len());
    match rows <= slots {
        true => Ok(()),
        false => Err(Error::invalid(format!("batch: {rows} examples for {slots} slots"))),
    }
}
