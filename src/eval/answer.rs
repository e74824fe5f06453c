//! A model's answers to rows of tokens. Rows lie in one batch end to end, each with its own cells
//! only, be they the whole canvas or a window of it; a row that is answered leaves, and the next
//! ones take its room. As the reference evaluates, every row runs all `halt_max_steps` segments;
//! with early halting a row leaves as soon as training's rule would halt, which is what saves time.
//! Rollouts ask a row again, with noise. Nothing depends on the batch or on the moment.
//!
//! An answer that reaches the edge of its window may go on beyond it: such a row is asked again on
//! the whole canvas, and that answer counts.
//!
//! A model that answers at once (`hrm_seed`, `transformer`) has one segment: both are the same.

use std::collections::VecDeque;

use super::at_work::{AtWork, Halt, Working};
use super::decode;
pub use super::finished::argmax;
use super::finished::{Answer, Finished};
use super::rollouts::{Next, Trajectories};
use super::row::Row;
use crate::backend::DeviceKind;
use crate::data::vocab::PAD;
use crate::models::{Dims, Model, Segment};
use crate::ops::act_halt::{self, metric};
use crate::sequence;
use crate::{Error, Result};

/// Positions that a CPU works on at once: more make no row faster, and take memory and patience.
const BATCH_POSITIONS: usize = 2048;
const BATCH_POSITIONS_CUDA: usize = 32 * BATCH_POSITIONS;

/// How much of an evaluation is at work at a time.
pub struct Evaluator {
    /// Whole canvases that are fast together.
    rows: usize,
    /// Positions that they have, which bound a batch.
    positions: usize,
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
    /// For `asked` rows in all: a batch holds no more positions than those have on the whole
    /// canvas, than the model's own batch, and than are fast together. An answer does not depend on
    /// the batch, but for models whose rows halt together: those keep their own.
    pub fn new(model: &dyn Model, asked: usize) -> Self {
        let dims = model.dims();
        let rows = match (model.decoder(), model.rows_halt_together()) {
            (Some(_), _) => decode::rows(sequence::longest(dims.side()), asked),
            (None, true) => dims.batch_size,
            (None, false) => asked.min(fast_rows(model.device().kind(), dims)).max(1),
        };
        Self { rows, positions: rows * dims.positions() }
    }

    /// Whole canvases in a batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// A segment of blank rows that take all room, for the shape-only device to watch.
    pub fn dry_run(&self, model: &dyn Model) -> Result<()> {
        if let Some(decoder) = model.decoder() {
            return decode::dry_run(model, decoder, self.rows);
        }
        let mut at = AtWork::new(model, Halt::Last);
        at.join(vec![], self.rows)?;
        at.segment().map(|_| ())
    }

    /// Calls `each` with the number of the row (from 0) and its answer, in the order in which they
    /// are answered: that of the rows with [`Halt::Last`], but for those that are asked again. The
    /// first error of `rows` or `each` ends it.
    pub fn answer(
        &self,
        model: &dyn Model,
        rows: impl Iterator<Item = Result<Row>>,
        halt: Halt,
        mut each: impl FnMut(usize, Answer) -> Result<()>,
    ) -> Result<()> {
        let all = |done: Finished| done.into_iter().try_for_each(|(i, a)| each(i, a));
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
        if let Some(decoder) = model.decoder() {
            return decode::answer_named(model, decoder, self.rows, rows, name, each);
        }
        let steps = halt.segments(model.dims());
        let mut trajectories = match halt {
            Halt::Rollouts(rollouts) => Some(Trajectories::new(rollouts)),
            Halt::Last | Halt::Early => None,
        };
        self.segments(model, rows, halt, &name, |segment, q, at, done| {
            let (rows, q_rows) = (segment.rows.to_f32s()?, segment.q_rows.to_f32s()?);
            let mut finished = vec![];
            let mut again = vec![];
            let answers = read(model.dims(), segment, q, at, done, &name)?;
            for (&slot, mut answer) in done.iter().zip(answers) {
                let working = &at.rows()[slot];
                let tokens: Vec<i32> = answer.tokens.iter().map(|&t| t as i32).collect();
                if working.row.is_reached_beyond(&tokens) {
                    again.push(working.again());
                    continue;
                }
                if answer.steps == steps {
                    let q_row = [q_rows[2 * slot], q_rows[2 * slot + 1]];
                    let row = &rows[slot * 4..][..4];
                    answer.metrics = act_halt::metrics_of_row(row, answer.q, q_row, steps as i32);
                }
                let next = match &mut trajectories {
                    None => Next::Answered(answer),
                    Some(all) => {
                        let which = (working.number, &working.row, working.rollout);
                        let is_believed = model.would_halt(answer.q);
                        all.take(which, answer, is_believed)
                    }
                };
                match next {
                    Next::Run(others) => {
                        again.extend(others.map(|rollout| working.rollout(rollout)));
                    }
                    Next::Wait => {}
                    Next::Answered(answer) => finished.push((working.number, answer)),
                }
            }
            match finished.is_empty() {
                true => Ok(again),
                false => each(finished).map(|()| again),
            }
        })
    }

    /// Calls `each` with the number of the row (from 0), its logits (S, V) after all segments, and
    /// the two Q logits: halt, continue. In the order of the rows. Outside a row's window PAD is
    /// certain; nothing is asked again.
    pub fn logits(
        &self,
        model: &dyn Model,
        rows: impl Iterator<Item = Result<Row>>,
        mut each: impl FnMut(usize, &[f32], [f32; 2]) -> Result<()>,
    ) -> Result<()> {
        let name = |i: usize| format!("row {i}");
        self.segments(model, rows, Halt::Last, name, |segment, q, at, done| {
            let logits = segment.logits.to_f32s()?;
            for &slot in done {
                let (working, v) = (&at.rows()[slot], model.dims().vocab_size);
                let mut cells = vec![f32::NEG_INFINITY; model.dims().seq_len * v];
                cells.iter_mut().skip(PAD as usize).step_by(v).for_each(|x| *x = 0.0);
                for (cell, own) in
                    working.row.cells().zip(at.cells_of(slot, &logits).chunks_exact(v))
                {
                    cells[cell * v..][..v].copy_from_slice(own);
                }
                each(working.number, &cells, [q[2 * slot], q[2 * slot + 1]])?;
            }
            Ok(vec![])
        })
    }

    /// Runs segments until all rows are done. `each` gets a segment, its Q logits (B, 2), the rows
    /// at work and the slots of those that are done with it; it gives the rows that are to be asked
    /// beside.
    fn segments(
        &self,
        model: &dyn Model,
        rows: impl Iterator<Item = Result<Row>>,
        halt: Halt,
        name: impl Fn(usize) -> String,
        mut each: impl FnMut(&Segment, &[f32], &AtWork, &[usize]) -> Result<Vec<Working>>,
    ) -> Result<()> {
        let dims = model.dims();
        let checked = |(number, row): (usize, Result<Row>)| {
            let row = row?;
            row.check(dims).map_err(|what| Error::invalid(format!("{}: {what}", name(number))))?;
            Ok(Working::new(number, row, dims))
        };
        let mut rows = rows.enumerate().map(checked).fuse();
        let mut next: Option<Working> = None;
        let mut again: VecDeque<Working> = VecDeque::new();
        let mut at = AtWork::new(model, halt);
        loop {
            let mut joining: Vec<Working> = vec![];
            let mut room = self.positions.saturating_sub(at.positions());
            loop {
                let is_empty = at.rows().is_empty() && joining.is_empty();
                if room <= dims.prefix && !is_empty {
                    break;
                }
                if next.is_none() {
                    next = again.pop_front().map(Ok).or_else(|| rows.next()).transpose()?;
                }
                let fits = |row: &mut Working| is_empty || row.positions() <= room;
                let Some(row) = next.take_if(fits) else { break };
                room = room.saturating_sub(row.positions());
                joining.push(row);
            }
            if at.rows().is_empty() && joining.is_empty() {
                return Ok(());
            }
            at.join(joining, if model.rows_halt_together() { self.rows } else { 0 })?;
            let segment = at.segment()?;
            let q = segment.q.to_f32s()?;
            let done = at.step(&q);
            if done.is_empty() {
                continue;
            }
            again.extend(each(&segment, &q, &at, &done)?);
            at.leave(&done);
        }
    }
}

/// Answers of the slots that are done.
fn read(
    dims: Dims,
    segment: &Segment,
    q: &[f32],
    at: &AtWork,
    done: &[usize],
    name: impl Fn(usize) -> String,
) -> Result<Vec<Answer>> {
    let logits = segment.logits.to_f32s()?;
    let one = |&slot: &usize| {
        let working = &at.rows()[slot];
        let (logits, q) = (at.cells_of(slot, &logits), &q[2 * slot..][..2]);
        if !logits.iter().chain(q).all(|x| x.is_finite()) {
            return Err(Error::invalid(format!(
                "evaluation: the model's output for {} is not finite: its weights are damaged or \
                 training diverged; use an earlier checkpoint",
                name(working.number)
            )));
        }
        let mut tokens = vec![PAD as u8; dims.seq_len];
        for (cell, logits) in working.row.cells().zip(logits.chunks_exact(dims.vocab_size)) {
            tokens[cell] = argmax(logits) as u8;
        }
        let &Working { steps, halt_step, asked_again, .. } = working;
        // Without a halt the last segment is where it ends.
        let halt_step = halt_step.unwrap_or(steps);
        let (q, metrics) = ([q[0], q[1]], [0.0; metric::LEN]);
        Ok(Answer { tokens, q, halt_step, steps, asked_again, tried: None, metrics })
    };
    done.iter().map(one).collect()
}
