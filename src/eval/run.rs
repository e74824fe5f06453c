//! A model's answers to examples of a split, as the reference evaluates: every row runs all
//! `halt_max_steps` segments and the last one counts. Deterministic; early halting is only recorded
//! (the segment at which training's rule would have stopped), never acted on.

use std::time::Instant;

use crate::data::progress::Progress;
use crate::data::{BatchOptions, DataSet};
use crate::models::{Dims, Model};
use crate::ops::act_halt::metric;
use crate::{Error, Result};

use super::answer::{Evaluator, Halt, Row};

/// Answers in the order in which the examples were given.
#[derive(Clone, Debug)]
pub struct Evaluation {
    pub split: String,
    pub examples: Vec<u32>, // (N), into the split
    pub seq_len: usize,
    /// The likeliest token of each cell, (N, S).
    pub tokens: Vec<u8>,
    /// Logits of the last segment: halt, continue.
    pub q: Vec<[f32; 2]>, // (N)
    /// Segment (from 1) at which training's rule would have halted.
    pub halt_steps: Vec<u32>, // (N)
    /// Segments that were run for each example.
    pub steps: u32,
    /// Sums over the rows of the last segment, see [`metric`], as the official evaluation forms them.
    pub sums: [f64; metric::LEN],
    pub wall_s: f64,
}

/// Make the memory, run to the end, drop it.
pub fn evaluate(
    model: &dyn Model,
    data: &DataSet,
    split: &str,
    examples: &[u32],
    progress: Progress,
) -> Result<Evaluation> {
    let whole = Evaluator::new(model)?.run(model, data, split, examples, progress, || false)?;
    whole.ok_or_else(|| Error::invalid("the evaluation ended early"))
}

/// Refuses data that the model was not made for. `trained_on` is the digest of its training data.
pub fn check_data(dims: &Dims, trained_on: Option<&str>, data: &DataSet) -> Result<()> {
    let dir = data.dir().display();
    let same = [
        ("canvas cells", dims.seq_len, data.seq_len()),
        ("vocabulary", dims.vocab_size, data.vocab_size()),
    ];
    for (what, model, found) in same {
        if model != found {
            return Err(Error::invalid(format!(
                "{dir}: {what} {found}, but the model has {model}: it was trained on other data"
            )));
        }
    }
    if dims.puzzle_emb_ndim == 0 {
        return Ok(());
    }
    let (ids, found) = (dims.num_puzzle_ids, data.num_puzzle_ids());
    if ids != found {
        return Err(Error::invalid(format!(
            "{dir}: {found} puzzle ids, but the model has embeddings for {ids}: it was trained on \
             other data"
        )));
    }
    match trained_on {
        Some(digest) if digest != data.digest() => Err(Error::invalid(format!(
            "{dir}: digest {}, but the model was trained on data with digest {digest}; its puzzle \
             embeddings belong to those puzzles. Build that data set again, or name its folder",
            data.digest()
        ))),
        _ => Ok(()),
    }
}

impl Evaluator {
    /// `model` has the shape that this was made for; its weights may have changed. `stop` is asked
    /// before each example; it ends the evaluation without a result, after the batch at work.
    pub fn run(
        &self,
        model: &dyn Model,
        data: &DataSet,
        split: &str,
        examples: &[u32],
        progress: Progress,
        stop: impl Fn() -> bool,
    ) -> Result<Option<Evaluation>> {
        let dims = model.dims();
        check_data(&dims, None, data)?;
        let shard = data.split(split)?;
        let pad_label = BatchOptions { ignore_pad: dims.ignores_pad }.pad_label();
        let mut out = Evaluation {
            split: split.to_owned(),
            examples: examples.to_vec(),
            seq_len: dims.seq_len,
            tokens: Vec::with_capacity(examples.len() * dims.seq_len),
            q: Vec::with_capacity(examples.len()),
            halt_steps: Vec::with_capacity(examples.len()),
            steps: dims.segments as u32,
            sums: [0.0; metric::LEN],
            wall_s: 0.0,
        };
        let start = Instant::now();
        let bar = progress.bar(&format!("evaluating {split}"), examples.len() as u64);
        let row = |&example: &u32| {
            let mut row =
                Row { inputs: vec![0; dims.seq_len], labels: vec![0; dims.seq_len], puzzle_id: 0 };
            let at = example as usize;
            let id = shard.decode(at, pad_label, &mut row.inputs, &mut row.labels)?;
            row.puzzle_id = id as i32;
            Ok(row)
        };
        let rows = examples.iter().take_while(|_| !stop()).map(row);
        let name = |i: usize| format!("example {} of split {split}", examples[i]);
        out.sums = self.answer_named(model, rows, Halt::Last, name, |_, answer| {
            out.tokens.extend(answer.tokens);
            out.q.push(answer.q);
            out.halt_steps.push(answer.halt_step);
            bar.advance(1);
            Ok(())
        })?;
        out.wall_s = start.elapsed().as_secs_f64();
        Ok((out.q.len() == examples.len()).then_some(out))
    }
}

impl Evaluation {
    /// The answer to the `i`-th example given, as a row of tokens.
    pub fn row(&self, i: usize) -> &[u8] {
        &self.tokens[i * self.seq_len..][..self.seq_len]
    }

    /// One of [`metric`] per example; 0 where there are none.
    pub fn mean(&self, metric: usize) -> f64 {
        self.sums[metric] / self.sums[metric::COUNT].max(1.0)
    }

    /// What validation watches: the cross-entropy per example. The Q loss is left out: its sum also
    /// counts the rows that fill up the last batch.
    pub fn loss(&self) -> f64 {
        self.mean(metric::LM_LOSS)
    }

    /// Mean number of segments at which training's rule would have halted.
    pub fn mean_halt_steps(&self) -> f64 {
        let sum: u64 = self.halt_steps.iter().map(|&s| s as u64).sum();
        sum as f64 / self.halt_steps.len().max(1) as f64
    }
}
