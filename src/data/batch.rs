//! A batch on the host: token rows ready for upload.

use super::shard::Shard;
use super::vocab::{BLANK_ID, IGNORE, PAD};
use crate::Result;

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

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Batch {
    pub inputs: Vec<i32>,     // (B, S)
    pub labels: Vec<i32>,     // (B, S), PAD or IGNORE where nothing is asked
    pub puzzle_ids: Vec<i32>, // (B)
    /// Rows that are examples; the others are padding: PAD, IGNORE and the blank id.
    pub real_rows: usize,
}

impl Batch {
    /// Rows that are all examples.
    pub fn new(inputs: Vec<i32>, labels: Vec<i32>, puzzle_ids: Vec<i32>) -> Self {
        let real_rows = puzzle_ids.len();
        Self { inputs, labels, puzzle_ids, real_rows }
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
        };
        let pad_label = options.pad_label();
        let lines = batch.inputs.chunks_exact_mut(seq_len);
        let lines = lines.zip(batch.labels.chunks_exact_mut(seq_len)).zip(&mut batch.puzzle_ids);
        for (&example, ((input, label), id)) in examples.iter().zip(lines) {
            *id = shard.decode(example as usize, pad_label, input, label)? as i32;
        }
        Ok(batch)
    }

    pub fn rows(&self) -> usize {
        self.puzzle_ids.len()
    }
}
