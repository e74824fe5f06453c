//! The rows that a model is at work on, end to end in one batch.

use super::rollouts::Rollouts;
use super::row::{self, Row};
use crate::Result;
use crate::models::{Carry, DeviceBatch, Dims, Model, Noise, Segment, Workspace};
use crate::ops::draw::Draw;

/// When a row is answered.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Halt {
    /// After all segments.
    Last,
    /// At the first segment at which training's rule would halt.
    Early,
    /// After the segments of several trajectories.
    Rollouts(Rollouts),
}

impl Halt {
    /// Segments of a trajectory that runs to its end.
    pub(super) fn segments(self, dims: Dims) -> u32 {
        match self {
            Self::Last | Self::Early => dims.segments as u32,
            Self::Rollouts(rollouts) => rollouts.segments,
        }
    }

    /// Trajectories of a row at most.
    pub fn trajectories(self) -> usize {
        match self {
            Self::Last | Self::Early => 1,
            Self::Rollouts(rollouts) => rollouts.count as usize,
        }
    }
}

/// A row at work.
pub(super) struct Working {
    /// Place among the rows that are asked, from 0.
    pub number: usize,
    pub row: Row,
    /// Trajectory of the row, from 0.
    pub rollout: u32,
    /// What it draws before its first segment; the next number is that of the next segment.
    draw: Draw,
    pub steps: u32,
    pub halt_step: Option<u32>,
    pub asked_again: bool,
    dims: Dims,
    /// Slot in the batch that it has been through.
    slot: Option<usize>,
}

impl Working {
    pub fn new(number: usize, row: Row, dims: Dims) -> Self {
        let draw = Draw { seed: 0, number: 0 }; // the first trajectory has no noise
        let (rollout, steps, halt_step, asked_again, slot) = (0, 0, None, false, None);
        Self { number, row, rollout, draw, steps, halt_step, asked_again, dims, slot }
    }

    /// The row on the whole canvas, from the beginning.
    pub fn again(&self) -> Self {
        let Self { number, rollout, draw, dims, .. } = *self;
        let row = Row { window: None, ..self.row.clone() };
        Self { rollout, draw, asked_again: true, ..Self::new(number, row, dims) }
    }

    /// Another trajectory of the row, from the beginning.
    pub fn rollout(&self, rollout: u32) -> Self {
        let Self { number, ref row, dims, asked_again, .. } = *self;
        let draw = Rollouts::draw(row, rollout, 0);
        Self { rollout, draw, asked_again, ..Self::new(number, row.clone(), dims) }
    }

    pub fn positions(&self) -> usize {
        self.dims.prefix + self.row.cell_count()
    }
}

/// The rows at work, and the device's memory for them.
pub(super) struct AtWork<'a> {
    model: &'a dyn Model,
    halt: Halt,
    rows: Vec<Working>,
    memory: Option<Memory>,
    /// Slots of the batch, those included that have no row.
    slots: usize,
}

struct Memory {
    carry: Carry,
    batch: DeviceBatch,
    space: Workspace,
}

impl<'a> AtWork<'a> {
    pub fn new(model: &'a dyn Model, halt: Halt) -> Self {
        Self { model, halt, rows: vec![], memory: None, slots: 0 }
    }

    /// By slot.
    pub fn rows(&self) -> &[Working] {
        &self.rows
    }

    pub fn positions(&self) -> usize {
        self.rows.iter().map(Working::positions).sum()
    }

    /// The logits (cells, V) of a slot's cells out of all (N, V).
    pub fn cells_of<'b>(&self, slot: usize, logits: &'b [f32]) -> &'b [f32] {
        let (dims, v) = (self.model.dims(), self.model.dims().vocab_size);
        let start: usize = self.rows[..slot].iter().map(Working::positions).sum();
        &logits[(start + dims.prefix) * v..][..self.rows[slot].row.cell_count() * v]
    }

    /// `joining` enter beside the rows at work, which run on. With fewer than `least` rows the
    /// batch is filled up with blank ones.
    pub fn join(&mut self, joining: Vec<Working>, least: usize) -> Result<()> {
        let same =
            joining.is_empty() && self.rows.iter().enumerate().all(|(i, r)| r.slot == Some(i));
        self.rows.extend(joining);
        let slots = self.rows.len().max(least);
        if slots == 0 || (same && slots == self.slots) {
            return Ok(());
        }
        if self.rows.iter().all(|row| row.slot.is_none()) {
            self.memory = None; // before the next is made: both may not fit
        }
        let shown: Vec<Row> = self.rows.iter().map(|working| working.row.clone()).collect();
        let (mut carry, batch) = row::batch(self.model, &shown, least)?;
        let mut halted = vec![1_u8; slots];
        let mut steps = vec![0_i32; slots];
        for (slot, row) in self.rows.iter_mut().enumerate() {
            if let (Some(before), Some(memory)) = (row.slot, &self.memory) {
                (halted[slot], steps[slot]) = (0, row.steps as i32);
                run_on(&memory.carry, before, &carry, slot)?;
            }
            row.slot = Some(slot);
        }
        carry.halted.upload(&halted)?;
        carry.steps.upload(&steps)?;
        if let Halt::Rollouts(rollouts) = self.halt {
            let mut sigma: Vec<f32> =
                self.rows.iter().map(|row| rollouts.sigma(row.rollout)).collect();
            sigma.resize(slots, 0.0);
            carry.noise = Some(Noise::new(self.model.device(), &sigma)?);
        }
        let space = Workspace::of_rows(self.model, slots, slots)?;
        (self.memory, self.slots) = (Some(Memory { carry, batch, space }), slots);
        Ok(())
    }

    pub fn segment(&self) -> Result<Segment> {
        let Memory { carry, batch, space } = self.memory.as_ref().expect("rows have joined");
        if let Some(noise) = &carry.noise {
            // Beyond the segments of training a row would be taken for halted.
            let halted = |slot| self.rows.get(slot).is_none_or(|row: &Working| row.steps == 0);
            carry.halted.upload(&Vec::from_iter((0..self.slots).map(|i| halted(i) as u8)))?;
            let now =
                |row: &Working| Draw { number: row.draw.number + row.steps as u64, ..row.draw };
            noise.draw(self.rows.iter().map(now))?;
        }
        self.model.eval_segment(carry, batch, space)
    }

    /// Counts a segment; the slots of the rows that are done with it.
    pub fn step(&mut self, q: &[f32]) -> Vec<usize> {
        let segments = self.halt.segments(self.model.dims());
        let mut done = vec![];
        for (slot, (working, q)) in self.rows.iter_mut().zip(q.chunks_exact(2)).enumerate() {
            working.steps += 1;
            if working.halt_step.is_none() && self.model.would_halt([q[0], q[1]]) {
                working.halt_step = Some(working.steps);
            }
            let halts = self.halt == Halt::Early && working.halt_step.is_some();
            if halts || working.steps == segments {
                done.push(slot);
            }
        }
        done
    }

    /// The rows of these slots are answered.
    pub fn leave(&mut self, done: &[usize]) {
        let mut slot = 0;
        self.rows.retain(|_| {
            slot += 1;
            !done.contains(&(slot - 1))
        });
    }
}

/// The states of a row at work move to its slot in another batch.
fn run_on(from: &Carry, before: usize, to: &Carry, slot: usize) -> Result<()> {
    for ((_, from_state), (_, to_state)) in from.states.iter().zip(&to.states) {
        let c = from_state.shape().last();
        let positions = |carry: &Carry, slot: usize| {
            let host = &carry.layout.positions().host;
            host[slot]..host[slot + 1]
        };
        let (from, to) = (positions(from, before), positions(to, slot));
        let shape = [to.len(), c];
        to_state.view(to.start * c, shape)?.copy_from(&from_state.view(from.start * c, shape)?)?;
    }
    Ok(())
}
