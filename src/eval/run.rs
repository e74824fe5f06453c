//! A model's answers to examples of a split. As the reference evaluates, every row runs all
//! `halt_max_steps` segments and the last one counts; early halting is recorded (the segment at
//! which training's rule would have stopped) and acted on only when asked for. Deterministic.

use std::path::Path;
use std::time::Instant;

use crate::data::{BatchOptions, DataSet, RowLayout};
use crate::io::progress::Progress;
use crate::models::{Dims, Model, RowForm};
use crate::ops::act_halt::metric;
use crate::{Error, Result};

use super::answer::Evaluator;
use super::at_work::Halt;
use super::finished::{Finished, Tried};
use super::row::Row;
use super::saved::Saved;

/// What is asked of a model.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub data: &'a DataSet,
    pub split: &'a str,
    pub examples: &'a [u32], // (N), into the split
    /// Cells of each example that are shown to the model.
    pub layout: RowLayout,
    pub halt: Halt,
    pub progress: Progress,
}

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
    /// Segments that were run for each example, of all its trajectories.
    pub steps: Vec<u32>, // (N)
    /// What trajectories beyond the first said; none unless they were asked for.
    pub tried: Vec<Option<Tried>>, // (N)
    /// Rows whose window was too small, so that the whole canvas was asked.
    pub asked_again: usize,
    /// What each adds to the official evaluation's sums, see [`metric`]: nothing unless it ran all
    /// segments.
    pub metrics: Vec<[f64; metric::LEN]>, // (N)
    /// Time of all sittings, if it was interrupted.
    pub wall_s: f64,
}

/// Make the memory, run to the end, drop it.
pub fn evaluate(model: &dyn Model, request: Request) -> Result<Evaluation> {
    let whole =
        Evaluator::new(model, request.examples.len()).run(model, request, None, || false)?;
    whole.ok_or_else(|| Error::invalid("the evaluation ended early"))
}

/// Refuses data that the model was not made for. `trained_on` is the digest of its training data,
/// empty where an imported model came without.
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
    if !dims.knows_puzzles() {
        return Ok(());
    }
    let layout = match dims.form {
        RowForm::Sequence => RowLayout::Sequence,
        _ => RowLayout::Padded,
    };
    let (ids, found) = (dims.num_puzzle_ids, data.row_ids(layout)?);
    if ids != found {
        return Err(Error::invalid(format!(
            "{dir}: {found} puzzle ids, but the model has embeddings for {ids}: it was trained on \
             other data"
        )));
    }
    match trained_on {
        Some(digest) if !digest.is_empty() && digest != data.digest() => {
            Err(Error::invalid(format!(
                "{dir}: digest {}, but the model was trained on data with digest {digest}; its puzzle \
             embeddings belong to those puzzles. Build that data set again, or name its folder",
                data.digest()
            )))
        }
        _ => Ok(()),
    }
}

impl Evaluator {
    /// `model` has the shape that this was made for; its weights may have changed. What is in
    /// `saved` is not asked again, and what is answered goes there. `stop` is asked before each
    /// example; it ends the evaluation without a result, after the batch at work.
    pub fn run(
        &self,
        model: &dyn Model,
        request: Request,
        saved: Option<(&Path, &str)>,
        stop: impl Fn() -> bool,
    ) -> Result<Option<Evaluation>> {
        let Request { data, split, examples, layout, halt, progress } = request;
        let dims = model.dims();
        check_data(&dims, None, data)?;
        let mut out = Gathered::new(split, examples, dims.seq_len);
        let mut saved = match saved {
            None => None,
            Some((path, key)) => {
                let (saved, finished, wall_s) = Saved::open(path, key)?;
                finished.iter().try_for_each(|done| out.take(done))?;
                out.evaluation.wall_s = wall_s;
                Some(saved)
            }
        };
        let (before_s, start) = (out.evaluation.wall_s, Instant::now());
        let missing: Vec<usize> = (0..examples.len()).filter(|&i| !out.answered[i]).collect();
        let bar = progress.bar(&format!("evaluating {split}"), missing.len() as u64);
        let row = |&i: &usize| row_of(model, data, split, examples[i], layout);
        let rows = missing.iter().take_while(|_| !stop()).map(row);
        let name = |row: usize| format!("example {} of split {split}", examples[missing[row]]);
        self.answer_named(model, rows, halt, name, |mut done| {
            done.iter_mut().for_each(|(row, _)| *row = missing[*row]);
            out.take(&done)?;
            out.evaluation.wall_s = before_s + start.elapsed().as_secs_f64();
            bar.advance(done.len() as u64);
            saved.as_mut().map_or(Ok(()), |saved| saved.push(&done, out.evaluation.wall_s))
        })?;
        Ok(out.answered.iter().all(|answered| *answered).then_some(out.evaluation))
    }
}

/// An example of a split as the model takes it.
pub fn row_of(
    model: &dyn Model,
    data: &DataSet,
    split: &str,
    example: u32,
    layout: RowLayout,
) -> Result<Row> {
    let dims = model.dims();
    let pad_label = BatchOptions { ignore_pad: dims.ignores_pad }.pad_label();
    let canvas = vec![0; dims.seq_len];
    let window = match layout {
        RowLayout::Padded | RowLayout::Sequence => None,
        RowLayout::Packed => Some(data.window(split, example as usize)?),
    };
    let window = window.filter(|window| window.len() < dims.seq_len);
    let mut row = Row { inputs: canvas.clone(), labels: canvas, puzzle_id: 0, window };
    let shard = data.split(split)?;
    let id = shard.decode(example as usize, pad_label, &mut row.inputs, &mut row.labels)?;
    row.puzzle_id = data.row_id(id, layout)? as i32;
    Ok(row)
}

/// Answers as they come, in any order.
struct Gathered {
    evaluation: Evaluation,
    answered: Vec<bool>, // (N)
}

impl Gathered {
    fn new(split: &str, examples: &[u32], seq_len: usize) -> Self {
        let n = examples.len();
        let evaluation = Evaluation {
            split: split.to_owned(),
            examples: examples.to_vec(),
            seq_len,
            tokens: vec![0; n * seq_len],
            q: vec![[0.0; 2]; n],
            halt_steps: vec![0; n],
            steps: vec![0; n],
            tried: vec![None; n],
            asked_again: 0,
            metrics: vec![[0.0; metric::LEN]; n],
            wall_s: 0.0,
        };
        Self { evaluation, answered: vec![false; n] }
    }

    fn take(&mut self, done: &Finished) -> Result<()> {
        let out = &mut self.evaluation;
        for (i, answer) in done {
            let fits = *i < out.q.len() && answer.tokens.len() == out.seq_len;
            if !fits {
                return Err(Error::invalid(format!("saved answer {i} is not of this evaluation")));
            }
            out.tokens[i * out.seq_len..][..out.seq_len].copy_from_slice(&answer.tokens);
            out.q[*i] = answer.q;
            (out.halt_steps[*i], out.steps[*i]) = (answer.halt_step, answer.steps);
            out.asked_again += answer.asked_again as usize;
            out.tried[*i] = answer.tried.clone();
            out.metrics[*i] = answer.metrics;
            self.answered[*i] = true;
        }
        Ok(())
    }
}

impl Evaluation {
    /// The answer to the `i`-th example given, as a row of tokens.
    pub fn row(&self, i: usize) -> &[u8] {
        &self.tokens[i * self.seq_len..][..self.seq_len]
    }

    /// Most trajectories that an example was asked for; `None` if none was.
    pub fn rollouts(&self) -> Option<u32> {
        self.tried.iter().flatten().map(|tried| tried.rollouts).max()
    }

    /// The answers after at most `k` trajectories of each example, and the segments of those. Time
    /// is shared out by segments; metrics, and where training's rule would have halted, are those
    /// of all trajectories.
    pub fn after(&self, k: u32) -> Self {
        let mut then = self.clone();
        for (i, tried) in self.tried.iter().enumerate() {
            let Some(tried) = tried else { continue };
            then.steps[i] = self.steps[i] / tried.rollouts * tried.rollouts.min(k);
            if let Some(before) = tried.after(k) {
                let tokens = &mut then.tokens[i * self.seq_len..][..self.seq_len];
                tokens.copy_from_slice(&before.tokens);
                then.q[i] = before.q;
            }
        }
        then.wall_s *= then.mean_steps() / self.mean_steps().max(1.0);
        then
    }

    /// The metrics of all, added in the order of the examples whenever each was answered.
    pub fn sums(&self) -> [f64; metric::LEN] {
        let mut sums = [0.0; metric::LEN];
        self.metrics.iter().for_each(|own| sums.iter_mut().zip(own).for_each(|(a, x)| *a += x));
        sums
    }

    /// One of [`metric`] per example; 0 where there are none.
    pub fn mean(&self, metric: usize) -> f64 {
        let sums = self.sums();
        sums[metric] / sums[metric::COUNT].max(1.0)
    }

    /// What validation watches: the cross-entropy per example. The Q loss is left out: its sum also
    /// counts the rows that fill up the last batch.
    pub fn loss(&self) -> f64 {
        self.mean(metric::LM_LOSS)
    }

    /// Mean number of segments at which training's rule would have halted.
    pub fn mean_halt_steps(&self) -> f64 {
        mean(&self.halt_steps)
    }

    /// Mean number of segments that were run.
    pub fn mean_steps(&self) -> f64 {
        mean(&self.steps)
    }
}

fn mean(steps: &[u32]) -> f64 {
    steps.iter().map(|&s| s as u64).sum::<u64>() as f64 / steps.len().max(1) as f64
}
