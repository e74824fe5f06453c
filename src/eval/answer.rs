//! A model's answers to rows of tokens. The batch is a set of slots: a row enters a free one and
//! leaves it when it is answered. As the reference evaluates, every row runs all `halt_max_steps`
//! segments; with early halting a row leaves as soon as training's rule would halt, and the next
//! row enters its slot, which is what saves time. Nothing is random.
//!
//! A model that answers at once (`hrm_seed`, `transformer`) has one segment: both are the same.

use crate::backend::DeviceKind;
use crate::data::vocab::{BLANK_ID, IGNORE, PAD};
use crate::models::{Carry, DeviceBatch, Dims, Model, Segment, Workspace};
use crate::ops::act_halt::metric;
use crate::{Error, Result};

/// Positions that a CPU works on at once: more make no row faster, and take memory and patience.
const BATCH_POSITIONS: usize = 2048;
const BATCH_POSITIONS_CUDA: usize = 32 * BATCH_POSITIONS;

/// The device memory of an evaluation. A run that validates now and then makes it once.
pub struct Evaluator {
    rows: usize, // B
    carry: Carry,
    batch: DeviceBatch,
    space: Workspace,
}

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    pub inputs: Vec<i32>, // (S)
    /// What the loss compares with; [`IGNORE`] where nothing is known. The answer never sees it.
    pub labels: Vec<i32>, // (S)
    pub puzzle_id: i32,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Answer {
    /// The likeliest token of each cell.
    pub tokens: Vec<u8>, // (S)
    /// Logits of the last segment: halt, continue.
    pub q: [f32; 2],
    /// Segment (from 1) at which training's rule would have halted; `halt_max_steps` if at none.
    pub halt_step: u32,
    /// Segments that were run.
    pub steps: u32,
}

/// What a segment finished.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Finished {
    /// Number of the row, its answer.
    pub answers: Vec<(usize, Answer)>,
    /// The device's sums over the rows that ran all segments, see [`metric`].
    pub sums: [f64; metric::LEN],
}

/// When a row is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Halt {
    /// After all segments.
    Last,
    /// At the first segment at which training's rule would halt.
    Early,
}

/// Rows that are fast together, of the model's batch.
pub fn fast_rows(kind: DeviceKind, dims: Dims) -> usize {
    let positions = match kind {
        DeviceKind::Cuda => BATCH_POSITIONS_CUDA,
        DeviceKind::Cpu => BATCH_POSITIONS,
    };
    (positions / dims.positions()).clamp(1, dims.batch_size)
}

impl Evaluator {
    /// For `asked` rows in all: a batch holds no more than those, than the model's own batch, and
    /// than are fast together. An answer does not depend on the batch, but for models whose rows
    /// halt together: those keep their own.
    pub fn new(model: &dyn Model, asked: usize) -> Result<Self> {
        let (device, dims) = (model.device(), model.dims());
        let rows = match model.rows_halt_together() {
            true => dims.batch_size,
            false => asked.min(fast_rows(device.kind(), dims)).max(1),
        };
        Ok(Self {
            rows,
            carry: Carry::of_rows(model, rows)?,
            batch: DeviceBatch::new(device, rows, dims.seq_len)?,
            space: Workspace::of_rows(model, rows, rows)?,
        })
    }

    /// Rows of a batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Calls `each` with the number of the row (from 0) and its answer: in the order of the rows
    /// with [`Halt::Last`], in the order in which they halt with [`Halt::Early`]. `model` has the
    /// shape that this was made for. The first error of `rows` or `each` ends it.
    pub fn answer(
        &self,
        model: &dyn Model,
        rows: impl Iterator<Item = Result<Row>>,
        halt: Halt,
        mut each: impl FnMut(usize, Answer) -> Result<()>,
    ) -> Result<()> {
        let all = |done: Finished| done.answers.into_iter().try_for_each(|(i, a)| each(i, a));
        self.answer_named(model, rows, halt, |i| format!("row {i}"), all)
    }

    /// Answer with names for the rows in errors; rows that a segment finishes are handed on
    /// together.
    pub(super) fn answer_named(
        &self,
        model: &dyn Model,
        rows: impl Iterator<Item = Result<Row>>,
        halt: Halt,
        name: impl Fn(usize) -> String,
        mut each: impl FnMut(Finished) -> Result<()>,
    ) -> Result<()> {
        self.segments(model, rows, halt, &name, |segment, q, done| {
            let answers = read(model.dims(), segment, q, done, &name)?;
            let mut sums = [0.0; metric::LEN];
            let last = self.space.metrics.download::<f32>()?;
            sums.iter_mut().zip(last).for_each(|(sum, one)| *sum = one as f64);
            each(Finished { answers, sums })
        })
    }

    /// Calls `each` with the number of the row (from 0), its logits (S, V) after all segments, and
    /// the two Q logits: halt, continue. In the order of the rows.
    pub fn logits(
        &self,
        model: &dyn Model,
        rows: impl Iterator<Item = Result<Row>>,
        mut each: impl FnMut(usize, &[f32], [f32; 2]) -> Result<()>,
    ) -> Result<()> {
        let name = |i: usize| format!("row {i}");
        self.segments(model, rows, Halt::Last, name, |segment, q, done| {
            let [_, t, v] = segment.logits.dims("evaluation logits (B, T, V)")?;
            let logits = segment.logits.to_f32s()?;
            done.iter().try_for_each(|&(b, working)| {
                let cells = &logits[b * t * v..][..t * v][model.dims().prefix * v..];
                each(working.row, cells, [q[2 * b], q[2 * b + 1]])
            })
        })
    }

    /// Runs segments until all rows are done. `each` gets a segment, its Q logits (B, 2), and slot
    /// and row of those that are done with it.
    fn segments(
        &self,
        model: &dyn Model,
        rows: impl Iterator<Item = Result<Row>>,
        halt: Halt,
        name: impl Fn(usize) -> String,
        mut each: impl FnMut(&Segment, &[f32], &[(usize, Working)]) -> Result<()>,
    ) -> Result<()> {
        let dims = model.dims();
        let mut slots = Slots::new(dims, self.rows);
        let mut rows = rows.enumerate().fuse();
        loop {
            slots.fill(&mut rows, &name)?;
            if slots.rows.iter().all(Option::is_none) {
                return Ok(());
            }
            slots.upload(&self.carry, &self.batch)?;
            let segment = model.eval_segment(&self.carry, &self.batch, &self.space)?;
            let q = segment.q.to_f32s()?;
            let done = slots.step(dims.segments as u32, halt, &q, |q| model.would_halt(q));
            if !done.is_empty() {
                each(&segment, &q, &done)?;
            }
        }
    }
}

/// The rows at work, one per row of the batch, and what the device is to know of them.
struct Slots {
    dims: Dims,
    rows: Vec<Option<Working>>, // (B)
    inputs: Vec<i32>,           // (B, S)
    labels: Vec<i32>,           // (B, S)
    puzzle_ids: Vec<i32>,       // (B)
    /// Whether the device has not yet seen who entered or left.
    changed: bool,
}

#[derive(Clone, Copy)]
struct Working {
    row: usize,
    steps: u32,
    halt_step: Option<u32>,
}

impl Slots {
    fn new(dims: Dims, b: usize) -> Self {
        let s = dims.seq_len;
        Self {
            dims,
            rows: vec![None; b],
            inputs: vec![PAD; b * s],
            labels: vec![IGNORE; b * s],
            puzzle_ids: vec![BLANK_ID as i32; b],
            changed: true,
        }
    }

    /// The next rows enter the free slots.
    fn fill(
        &mut self,
        rows: &mut impl Iterator<Item = (usize, Result<Row>)>,
        name: impl Fn(usize) -> String,
    ) -> Result<()> {
        for b in 0..self.rows.len() {
            if self.rows[b].is_some() {
                continue;
            }
            let Some((i, row)) = rows.next() else { return Ok(()) };
            let row = row?;
            row.check(self.dims).map_err(|what| Error::invalid(format!("{}: {what}", name(i))))?;
            let s = self.dims.seq_len;
            self.inputs[b * s..][..s].copy_from_slice(&row.inputs);
            self.labels[b * s..][..s].copy_from_slice(&row.labels);
            self.puzzle_ids[b] = row.puzzle_id;
            self.changed = true;
            self.rows[b] = Some(Working { row: i, steps: 0, halt_step: None });
        }
        Ok(())
    }

    /// New rows enter with the next segment; rows at work run on.
    fn upload(&mut self, carry: &Carry, batch: &DeviceBatch) -> Result<()> {
        if !self.changed {
            return Ok(());
        }
        let starts = |slot: &Option<Working>| slot.is_none_or(|w| w.steps == 0) as u8;
        carry.halted.upload(&self.rows.iter().map(starts).collect::<Vec<_>>())?;
        batch.upload(&self.inputs, &self.labels, &self.puzzle_ids)?;
        self.changed = false;
        Ok(())
    }

    /// Counts a segment and frees the slots that are done with it: slot and row of each.
    fn step(
        &mut self,
        segments: u32,
        halt: Halt,
        q: &[f32],
        would_halt: impl Fn([f32; 2]) -> bool,
    ) -> Vec<(usize, Working)> {
        let mut done = vec![];
        for (b, q) in q.chunks_exact(2).enumerate() {
            let Some(working) = &mut self.rows[b] else { continue };
            working.steps += 1;
            if working.halt_step.is_none() && would_halt([q[0], q[1]]) {
                working.halt_step = Some(working.steps);
            }
            let halts = halt == Halt::Early && working.halt_step.is_some();
            if halts || working.steps == segments {
                done.push((b, *working));
            }
        }
        let s = self.dims.seq_len;
        for &(b, _) in &done {
            self.rows[b] = None;
            self.inputs[b * s..][..s].fill(PAD);
            self.labels[b * s..][..s].fill(IGNORE);
            self.puzzle_ids[b] = BLANK_ID as i32;
            self.changed = true;
        }
        done
    }
}

impl Row {
    fn check(&self, dims: Dims) -> Result<(), String> {
        let (s, v) = (dims.seq_len, dims.vocab_size as i32);
        for (what, tokens) in [("input", &self.inputs), ("label", &self.labels)] {
            if tokens.len() != s {
                return Err(format!("{what} has {} tokens, the model takes {s}", tokens.len()));
            }
            let known = |t: i32| (0..v).contains(&t) || (what == "label" && t == IGNORE);
            if let Some(token) = tokens.iter().find(|t| !known(**t)) {
                return Err(format!("{what} has token {token}, the model knows 0 to {}", v - 1));
            }
        }
        let (id, ids) = (self.puzzle_id, dims.num_puzzle_ids);
        let known = usize::try_from(id).is_ok_and(|id| id < ids);
        if dims.puzzle_emb_ndim > 0 && !known {
            return Err(format!("puzzle id {id}, the model has embeddings for {ids} ids"));
        }
        Ok(())
    }
}

/// Answers of the slots that are done.
fn read(
    dims: Dims,
    segment: &Segment,
    q: &[f32],
    done: &[(usize, Working)],
    name: impl Fn(usize) -> String,
) -> Result<Vec<(usize, Answer)>> {
    let [_, t, v] = segment.logits.dims("evaluation logits (B, T, V)")?;
    let logits = segment.logits.to_f32s()?;
    let one = |&(b, working): &(usize, Working)| {
        let (logits, q) = (&logits[b * t * v..][..t * v], &q[2 * b..][..2]);
        if !logits.iter().chain(q).all(|x| x.is_finite()) {
            return Err(Error::invalid(format!(
                "evaluation: the model's output for {} is not finite: its weights are damaged or \
                 training diverged; use an earlier checkpoint",
                name(working.row)
            )));
        }
        let tokens =
            logits[dims.prefix * v..].chunks_exact(v).map(|cell| argmax(cell) as u8).collect();
        let Working { row, steps, halt_step } = working;
        // Without a halt the last segment is where it ends.
        let halt_step = halt_step.unwrap_or(steps);
        Ok((row, Answer { tokens, q: [q[0], q[1]], halt_step, steps }))
    };
    done.iter().map(one).collect()
}

/// The first of the largest.
pub fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (i, &value) in values.iter().enumerate() {
        if value > values[best] {
            best = i;
        }
    }
    best
}
