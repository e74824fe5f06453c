//! One segment: admit rows, run the levels, decide who halts, losses, backward, metrics.

use super::inner::{State, Weights};
use super::{Carry, DeviceBatch, Hrm};
use crate::Result;
use crate::backend::Purpose;
use crate::dtype::DType;
use crate::ops::act_halt::{self, Halting, metric};
use crate::ops::{bce_logits, cross_entropy, puzzle_emb};
use crate::tape::{Mode, Tape, Var};
use crate::tensor::Tensor;

/// Weight of each Q loss in the total.
const Q_LOSS_WEIGHT: f32 = 0.5;

/// Buffers that every segment reuses, and the constants of its loss.
pub struct Workspace {
    /// Puzzle rows of the batch and their gradient, (B, D) f32.
    pub puzzle_rows: Option<(Tensor, Tensor)>,
    /// Sums of this segment, (8) f32; see [`metric`].
    pub metrics: Tensor,
    /// Targets of the two Q logits, (B, 2) f32.
    pub q_targets: Tensor,
    d_rows: Tensor, // (B, 4) gradient of the total with respect to cross_entropy's rows
    d_q_rows: Tensor, // (B, 2)
}

/// What a segment gives out.
pub struct Segment {
    pub logits: Tensor, // (B, T, V), prefix positions included
    pub q: Tensor,      // (B, 2)
}

impl Workspace {
    /// `global_batch` divides the gradient: rows of one optimizer step over all micro-batches.
    pub fn new(model: &Hrm, global_batch: usize) -> Result<Self> {
        let (device, b) = (model.device(), model.config.batch_size);
        let f32s = |shape: &[usize]| Tensor::zeros(device, DType::F32, shape, Purpose::Workspace);
        let scale = 1.0 / global_batch as f32;
        let d_rows: Vec<f32> = (0..b).flat_map(|_| [scale, 0.0, 0.0, 0.0]).collect();
        let d_q_rows = vec![Q_LOSS_WEIGHT * scale; 2 * b];
        let puzzle_rows = match model.config.puzzle_emb_ndim {
            0 => None,
            d => Some((f32s(&[b, d])?, f32s(&[b, d])?)),
        };
        Ok(Self {
            puzzle_rows,
            metrics: f32s(&[metric::LEN])?,
            q_targets: f32s(&[b, 2])?,
            d_rows: Tensor::from_slice(
                device,
                &d_rows,
                [b, cross_entropy::ROW],
                Purpose::Workspace,
            )?,
            d_q_rows: Tensor::from_slice(device, &d_q_rows, [b, 2], Purpose::Workspace)?,
        })
    }
}

impl Hrm {
    /// A training segment: forward, losses, backward. Gradients go to `params.grad` (overwritten or
    /// added to, by `mode`) and to the workspace's puzzle rows; the carry moves on. `draw` (4) i32 are
    /// the words of a [`Draw`](crate::ops::draw::Draw).
    pub fn train_segment(
        &self,
        tape: Tape,
        carry: &Carry,
        batch: &DeviceBatch,
        space: &Workspace,
        draw: &Tensor,
        mode: Mode,
    ) -> Result<Segment> {
        let mut tape = tape;
        self.admit(carry, batch)?;
        let w = self.weights(&self.params.bind(&mut tape, mode)?)?;
        let puzzle = self.puzzle_rows(&mut tape, carry, space)?;
        let e = self.embed(&mut tape, &w, &carry.current.inputs, puzzle.as_ref())?;
        let state = self.cycles(&mut tape, &w, start(carry), &e)?;
        let heads = self.heads(&mut tape, &w, &state.z_h)?;
        let kind = self.config.loss_kind();
        let rows = cross_entropy::forward(&mut tape, kind, &heads.logits, &carry.current.labels)?;
        act_halt::decide(
            &heads.q.tensor,
            self.train_halting(),
            Some(draw),
            &carry.steps,
            &carry.halted,
        )?;

        let next_q = match self.config.q_continue {
            true => Some(self.next_q(&mut tape, &w, &state, &e)?),
            false => None,
        };
        self.q_targets(&rows.tensor, next_q.as_ref(), carry, space)?;
        drop(next_q);
        let q_rows = bce_logits::forward(&mut tape, &heads.q, &space.q_targets)?;
        self.finish(carry, &state, &heads.q.tensor, &rows.tensor, &q_rows.tensor, space)?;

        let segment = Segment { logits: heads.logits.tensor.clone(), q: heads.q.tensor.clone() };
        drop((w, puzzle, e, state, heads));
        let seeds = [(&rows, space.d_rows.clone()), (&q_rows, space.d_q_rows.clone())];
        tape.backward(&seeds)?;
        Ok(segment)
    }

    /// An evaluation segment: no gradient, no Q target, halting only at the last step.
    pub fn eval_segment(
        &self,
        carry: &Carry,
        batch: &DeviceBatch,
        space: &Workspace,
    ) -> Result<Segment> {
        let mut tape = Tape::no_grad(&self.device);
        self.admit(carry, batch)?;
        let w = self.weights(&self.params.constants()?)?;
        let puzzle = self.puzzle_rows(&mut tape, carry, space)?;
        let e = self.embed(&mut tape, &w, &carry.current.inputs, puzzle.as_ref())?;
        let state = self.cycles(&mut tape, &w, start(carry), &e)?;
        let heads = self.heads(&mut tape, &w, &state.z_h)?;
        let kind = self.config.loss_kind();
        let rows = cross_entropy::forward(&mut tape, kind, &heads.logits, &carry.current.labels)?;
        act_halt::decide(&heads.q.tensor, self.eval_halting(), None, &carry.steps, &carry.halted)?;
        self.q_targets(&rows.tensor, None, carry, space)?;
        let q_rows = bce_logits::forward(&mut tape, &heads.q, &space.q_targets)?;
        self.finish(carry, &state, &heads.q.tensor, &rows.tensor, &q_rows.tensor, space)?;
        Ok(Segment { logits: heads.logits.tensor, q: heads.q.tensor })
    }

    /// Training's way to halt.
    fn train_halting(&self) -> Halting {
        Halting {
            max_steps: self.config.halt_max_steps as i32,
            training: true,
            q_continue: self.config.q_continue,
            exploration_prob: self.config.halt_exploration_prob as f32,
        }
    }

    fn eval_halting(&self) -> Halting {
        Halting { training: false, ..self.train_halting() }
    }

    fn admit(&self, carry: &Carry, batch: &DeviceBatch) -> Result<()> {
        act_halt::reset(&carry.halted, &self.h_start, &carry.z_h)?;
        act_halt::reset(&carry.halted, &self.l_start, &carry.z_l)?;
        carry.admit(batch)
    }

    fn puzzle_rows(
        &self,
        tape: &mut Tape,
        carry: &Carry,
        space: &Workspace,
    ) -> Result<Option<Var>> {
        let (Some(table), Some((rows, d_rows))) = (&self.puzzle_table, &space.puzzle_rows) else {
            return Ok(None);
        };
        puzzle_emb::gather(table, &carry.current.puzzle_ids, rows)?;
        Ok(Some(tape.bind(rows.clone(), d_rows.clone(), Mode::Set)))
    }

    /// The Q head after one more segment from `state`, without gradient.
    fn next_q(&self, tape: &mut Tape, w: &Weights, state: &State, e: &Var) -> Result<Tensor> {
        tape.paused(|tape| {
            let from = State { z_h: state.z_h.detach(), z_l: state.z_l.detach() };
            let next = self.cycles(tape, w, from, e)?;
            Ok(self.q_head(tape, w, &next.z_h)?.tensor)
        })
    }

    fn q_targets(
        &self,
        rows: &Tensor,
        next_q: Option<&Tensor>,
        carry: &Carry,
        space: &Workspace,
    ) -> Result<()> {
        let max_steps = self.config.halt_max_steps as i32;
        act_halt::targets(rows, next_q, &carry.steps, max_steps, &space.q_targets)
    }

    fn finish(
        &self,
        carry: &Carry,
        state: &State,
        q: &Tensor,
        rows: &Tensor,
        q_rows: &Tensor,
        space: &Workspace,
    ) -> Result<()> {
        act_halt::metrics(rows, q, q_rows, &carry.steps, &carry.halted, &space.metrics)?;
        carry.z_h.copy_from(&state.z_h.tensor)?;
        carry.z_l.copy_from(&state.z_l.tensor)
    }
}

fn start(carry: &Carry) -> State {
    State { z_h: Var::constant(carry.z_h.clone()), z_l: Var::constant(carry.z_l.clone()) }
}
