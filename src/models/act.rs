//! Adaptive computation time over a [`Reasoner`]: admit rows, recur on the two states, decide who
//! halts, losses, backward, metrics. The reasoner is the inner network; this makes a [`Model`] of
//! it.
//!
//! Reference: `HierarchicalReasoningModel_ACTV1` and `ACTLossHead` of the official HRM.

use super::io::Io;
pub use super::io::PUZZLE_TABLE;
use super::{Carry, Compute, Depth, DeviceBatch, Dims, Model, Segment, Workspace};
use crate::Result;
use crate::backend::{Device, Purpose};
use crate::dtype::DType;
use crate::nn::init::Init;
use crate::nn::params::{Bound, Params, Spec};
use crate::ops::act_halt::{self, Halting};
use crate::ops::cross_entropy::Kind;
use crate::ops::layout::Layout;
use crate::ops::{bce_logits, cast, cross_entropy, puzzle_emb, state_noise, take_first};
use crate::tape::{Mode, Tape, Var};
use crate::tensor::Tensor;

/// Names of the two states, and of what they start from.
pub const STATES: &[&str] = &["z_H", "z_L"];
pub const H_INIT: &str = "H_init";
pub const L_INIT: &str = "L_init";
/// Official checkpoints put this before each name.
pub const PREFIX: &str = "model.inner.";

/// Streams of the initialiser that are not parameters; far from any parameter's number.
const H_INIT_STREAM: u64 = 1 << 32;
const L_INIT_STREAM: u64 = H_INIT_STREAM + 1;

/// The network inside: its levels, and how a segment cycles through them. Input and heads are those
/// of [`Io`].
pub trait Reasoner {
    /// The levels' weights as variables of a step.
    type Levels;

    fn dims(&self) -> Dims;
    fn rules(&self) -> Rules;
    fn store(&self) -> &Store;

    fn levels(&self, bound: &Bound, layout: &Layout) -> Result<Self::Levels>;

    /// The cycles of one segment over the embedded input `e` (N, C).
    fn cycles(
        &self,
        tape: &mut Tape,
        w: &Self::Levels,
        from: State,
        e: &Var,
        depth: Depth,
    ) -> Result<State>;

    /// z_h after [`cycles`](Self::cycles) at the first position, (B, C), which the Q head reads.
    fn cycles_first(
        &self,
        tape: &mut Tape,
        w: &Self::Levels,
        from: State,
        e: &Var,
        depth: Depth,
    ) -> Result<Var>;
}

/// All weights of one step.
struct Weights<R: Reasoner> {
    io: Io,
    levels: R::Levels,
}

impl<R: Reasoner> Weights<R> {
    fn of(model: &R, bound: &Bound, layout: &Layout) -> Result<Self> {
        let io = Io::bind(bound, Reasoner::dims(model))?;
        Ok(Self { io, levels: model.levels(bound, layout)? })
    }
}

/// The two states.
pub struct State {
    pub z_h: Var, // (N, C)
    pub z_l: Var, // (N, C)
}

/// How a segment is judged and when it is the last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    pub loss: Kind,
    pub halt_max_steps: usize,
    pub halt_exploration_prob: f64,
    /// Bootstrapped Q-continue target: a second forward per segment. Off: halt on q_halt > 0.
    pub q_continue: bool,
    /// Deviation of the noise on both states where a row of training starts.
    pub start_noise: f64,
    /// Fewer cycles at first, in training.
    pub depth_curriculum: bool,
}

/// The memory of a reasoner.
pub struct Store {
    pub params: Params,
    /// (NP, D) f32; absent when D is 0.
    pub puzzle_table: Option<Tensor>,
    /// Initial states (C) f32; fixed, not trained.
    pub h_init: Tensor,
    pub l_init: Tensor,
    /// First states in the forward dtype.
    h_start: Tensor,
    l_start: Tensor,
}

impl Store {
    pub fn new(device: &Device, specs: &[Spec], dims: Dims, compute: Compute) -> Result<Self> {
        let Compute { dtype, seed, frozen, .. } = compute;
        let c = dims.hidden_size;
        let params = Params::new(device, specs, dtype, seed)?.frozen(frozen);
        let table = [dims.num_puzzle_ids, dims.puzzle_emb_ndim];
        let puzzle_table = match dims.puzzle_emb_ndim {
            0 => None,
            _ => Some(Tensor::zeros(device, DType::F32, table, Purpose::Weights)?),
        };
        let state = |stream| {
            let values = Init::TruncatedNormal { std: 1.0 }.values(c, seed, stream);
            Tensor::from_slice(device, &values, [c], Purpose::Weights)
        };
        let store = Self {
            h_init: state(H_INIT_STREAM)?,
            l_init: state(L_INIT_STREAM)?,
            h_start: Tensor::uninit(device, dtype, [c], Purpose::Weights)?,
            l_start: Tensor::uninit(device, dtype, [c], Purpose::Weights)?,
            params,
            puzzle_table,
        };
        store.refresh()?;
        Ok(store)
    }

    fn refresh(&self) -> Result<()> {
        cast::from_f32(&self.h_init, &self.h_start)?;
        cast::from_f32(&self.l_init, &self.l_start)?;
        self.params.refresh()
    }
}

impl<R: Reasoner> Model for R {
    fn dims(&self) -> Dims {
        Reasoner::dims(self)
    }

    fn params(&self) -> &Params {
        &self.store().params
    }

    fn name_prefix(&self) -> &'static str {
        PREFIX
    }

    fn puzzle_table(&self) -> Option<(&'static str, &Tensor)> {
        self.store().puzzle_table.as_ref().map(|table| (PUZZLE_TABLE, table))
    }

    fn constants(&self) -> Vec<(&'static str, Tensor)> {
        let Store { h_init, l_init, .. } = self.store();
        vec![(H_INIT, h_init.clone()), (L_INIT, l_init.clone())]
    }

    fn states(&self) -> &'static [&'static str] {
        STATES
    }

    fn refresh(&self) -> Result<()> {
        self.store().refresh()
    }

    fn start_noise(&self) -> f32 {
        self.rules().start_noise as f32
    }

    fn has_depth_curriculum(&self) -> bool {
        self.rules().depth_curriculum
    }

    fn would_halt(&self, [halt, go_on]: [f32; 2]) -> bool {
        halt > if self.rules().q_continue { go_on } else { 0.0 }
    }

    fn train_segment(
        &self,
        tape: Tape,
        carry: &Carry,
        batch: &DeviceBatch,
        space: &Workspace,
        draw: &Tensor,
        mode: Mode,
    ) -> Result<Segment> {
        let mut tape = tape;
        let w = Weights::of(self, &self.params().bind(&mut tape, mode)?, &carry.layout)?;
        let pass = forward(self, &mut tape, &w, carry, batch, space)?;
        let halting = self.rules().halting(true);
        act_halt::decide(&pass.q.tensor, halting, Some(draw), &carry.steps, &carry.halted)?;
        let next_q = match self.rules().q_continue {
            true => Some(next_q(self, &mut tape, &w, &pass, carry)?),
            false => None,
        };
        drop(w);
        let q_rows = losses(self, &mut tape, &pass, next_q, carry, space)?;
        let Pass { logits, q, rows, e, state } = pass;
        let segment = Segment {
            logits: logits.tensor,
            q: q.tensor,
            rows: rows.tensor.clone(),
            q_rows: q_rows.tensor.clone(),
        };
        drop((e, state));
        let seeds = [(&rows, space.d_rows.clone()), (&q_rows, space.d_q_rows.clone())];
        tape.backward(&seeds)?;
        Ok(segment)
    }

    fn eval_segment(
        &self,
        carry: &Carry,
        batch: &DeviceBatch,
        space: &Workspace,
    ) -> Result<Segment> {
        let mut tape = Tape::no_grad(self.device());
        let w = Weights::of(self, &self.params().constants()?, &carry.layout)?;
        let pass = forward(self, &mut tape, &w, carry, batch, space)?;
        let halting = self.rules().halting(false);
        act_halt::decide(&pass.q.tensor, halting, None, &carry.steps, &carry.halted)?;
        let q_rows = losses(self, &mut tape, &pass, None, carry, space)?.tensor;
        let Pass { logits, q, rows, .. } = pass;
        Ok(Segment { logits: logits.tensor, q: q.tensor, rows: rows.tensor, q_rows })
    }
}

impl Rules {
    fn halting(&self, training: bool) -> Halting {
        Halting {
            max_steps: self.halt_max_steps as i32,
            training,
            q_continue: self.q_continue,
            exploration_prob: self.halt_exploration_prob as f32,
        }
    }
}

/// A segment's forward, up to the cross-entropy of its answer.
struct Pass {
    e: Var,
    state: State,
    logits: Var,
    q: Var,
    rows: Var, // (B, 4), see cross_entropy
}

fn forward<R: Reasoner>(
    model: &R,
    tape: &mut Tape,
    w: &Weights<R>,
    carry: &Carry,
    batch: &DeviceBatch,
    space: &Workspace,
) -> Result<Pass> {
    let (z_h, z_l) = (&carry.states[0].1, &carry.states[1].1);
    let store = model.store();
    let layout = &carry.layout;
    act_halt::reset(&carry.halted, &store.h_start, z_h, layout)?;
    act_halt::reset(&carry.halted, &store.l_start, z_l, layout)?;
    carry.disturb_starts()?;
    if let Some(noise) = &carry.noise {
        state_noise::add(z_l, &noise.draws, &noise.sigma, layout)?;
    }
    carry.admit(batch)?;
    let puzzle = match (&store.puzzle_table, &space.puzzle_rows) {
        (Some(table), Some((rows, d_rows))) => {
            puzzle_emb::gather(table, &carry.current.puzzle_ids, rows)?;
            Some(tape.bind(rows.clone(), d_rows.clone(), Mode::Set))
        }
        _ => None,
    };
    let e = w.io.embed(tape, &carry.current.inputs, puzzle.as_ref(), layout)?;
    let from = State { z_h: Var::constant(z_h.clone()), z_l: Var::constant(z_l.clone()) };
    let state = model.cycles(tape, &w.levels, from, &e, carry.depth)?;
    let logits = w.io.logits(tape, &state.z_h)?;
    let first = take_first::forward(tape, &state.z_h, layout)?;
    let q = w.io.q(tape, &first)?;
    let (loss, labels) = (model.rules().loss, &carry.current.labels);
    let rows = cross_entropy::forward(tape, loss, &logits, labels, layout)?;
    Ok(Pass { e, state, logits, q, rows })
}

/// The Q head after one more segment, without gradient. Only a probe asks for more than the first
/// position.
fn next_q<R: Reasoner>(
    model: &R,
    tape: &mut Tape,
    w: &Weights<R>,
    pass: &Pass,
    carry: &Carry,
) -> Result<Tensor> {
    let depth = carry.depth;
    tape.paused(|tape| {
        let from = State { z_h: pass.state.z_h.detach(), z_l: pass.state.z_l.detach() };
        let first = match tape.is_probed() {
            false => model.cycles_first(tape, &w.levels, from, &pass.e, depth)?,
            true => {
                let next = model.cycles(tape, &w.levels, from, &pass.e, depth)?;
                take_first::forward(tape, &next.z_h, &carry.layout)?
            }
        };
        Ok(w.io.q(tape, &first)?.tensor)
    })
}

/// Q targets and losses (B, 2), sums of the segment; the carry moves on.
fn losses<R: Reasoner>(
    model: &R,
    tape: &mut Tape,
    pass: &Pass,
    next_q: Option<Tensor>,
    carry: &Carry,
    space: &Workspace,
) -> Result<Var> {
    let max_steps = model.rules().halt_max_steps as i32;
    let (rows, q) = (&pass.rows.tensor, &pass.q.tensor);
    act_halt::targets(rows, next_q.as_ref(), &carry.steps, max_steps, &space.q_targets)?;
    drop(next_q);
    let q_rows = bce_logits::forward(tape, &pass.q, &space.q_targets)?;
    act_halt::metrics(rows, q, &q_rows.tensor, &carry.steps, &carry.halted, &space.metrics)?;
    carry.states[0].1.copy_from(&pass.state.z_h.tensor)?;
    carry.states[1].1.copy_from(&pass.state.z_l.tensor)?;
    Ok(q_rows)
}
