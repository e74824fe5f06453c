//! What runs on from one segment to the next, and the rows offered to it.

use super::{Depth, Model};
use crate::backend::{Device, Purpose};
use crate::dtype::DType;
use crate::ops::draw::Draw;
use crate::ops::layout::{Bounds, Layout};
use crate::ops::{act_halt, state_noise};
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// One slot per batch row: states, counters and the data being worked on. All slots start halted,
/// so the first batch enters every one; what is in them before is never read.
pub struct Carry {
    /// (N, C) each, in the order of [`Model::states`].
    pub states: Vec<(&'static str, Tensor)>,
    pub steps: Tensor,  // (B) i32
    pub halted: Tensor, // (B) u8
    pub current: DeviceBatch,
    /// Whose positions are whose; those of the rows at work.
    pub layout: Layout,
    /// What is added to the latent state when a segment begins.
    pub noise: Option<Noise>,
    /// What is added to the states of rows that start.
    pub starts: Option<Starts>,
    pub depth: Depth,
}

/// Noise for each slot, see [`state_noise`](crate::ops::state_noise).
pub struct Noise {
    pub draws: Tensor, // (B, 4) i32
    pub sigma: Tensor, // (B) f32
}

impl Noise {
    /// Noise of these deviations, one to a slot.
    pub fn new(device: &Device, sigma: &[f32]) -> Result<Self> {
        let b = sigma.len();
        let draws = Tensor::zeros(device, DType::I32, [b, Draw::WORDS], Purpose::Carry)?;
        Ok(Self { draws, sigma: Tensor::from_slice(device, sigma, [b], Purpose::Carry)? })
    }

    /// The first slots take these draws.
    pub fn draw(&self, draws: impl Iterator<Item = Draw>) -> Result<()> {
        let mut words: Vec<i32> = draws.flat_map(Draw::words).collect();
        words.resize(self.draws.elems(), 0);
        self.draws.upload(&words)
    }
}

/// Noise on the states that rows start from, a draw for each slot and state.
///
/// Reference: random initial states as in "EqR" (arXiv 2605.21488). Here they lie around the fixed
/// one, so that an answer may begin at that.
pub struct Starts {
    /// In the order of [`Carry::states`].
    pub draws: Vec<Tensor>, // (B, 4) i32 each
    sigma: Tensor, // (B) f32
    /// 0 for rows that go on.
    starting: Tensor, // (B) f32
}

impl Starts {
    /// Noise of deviation `sigma`; `draws` are filled anew for each segment.
    pub fn new(sigma: f32, draws: Vec<Tensor>) -> Result<Self> {
        let [b, _] = draws[0].dims("draws of starts (B, 4)")?;
        let device = draws[0].device();
        let sigma = Tensor::from_slice(device, &vec![sigma; b], [b], Purpose::Carry)?;
        let starting = Tensor::zeros(device, DType::F32, [b], Purpose::Carry)?;
        Ok(Self { draws, sigma, starting })
    }
}

/// Rows on the device: tokens and labels, one to a cell, puzzle ids (B), all i32.
pub struct DeviceBatch {
    pub inputs: Tensor,
    pub labels: Tensor,
    pub puzzle_ids: Tensor,
    /// None where every row has the whole canvas.
    pub placed: Option<Placed>,
}

/// Where packed rows are in their slots and on the canvas, see [`Layout`].
pub struct Placed {
    pub lengths: Tensor, // (B) i32
    pub places: Tensor,  // (N) i32
}

impl DeviceBatch {
    /// `b` rows of the whole canvas of `s` cells.
    pub fn new(device: &Device, b: usize, s: usize) -> Result<Self> {
        Self::zeros(device, b, [b, s].into(), None)
    }

    /// Rows for the slots of `layout`.
    pub fn packed(device: &Device, layout: &Layout) -> Result<Self> {
        let zeros = |len| Tensor::zeros(device, DType::I32, [len], Purpose::Carry);
        let placed =
            Placed { lengths: zeros(layout.rows())?, places: zeros(layout.positions().total())? };
        Self::zeros(device, layout.rows(), layout.cells_shape(), Some(placed))
    }

    fn zeros(device: &Device, b: usize, cells: Shape, placed: Option<Placed>) -> Result<Self> {
        let zeros = |shape: Shape| Tensor::zeros(device, DType::I32, shape, Purpose::Carry);
        let (inputs, labels, puzzle_ids) = (zeros(cells)?, zeros(cells)?, zeros([b].into())?);
        Ok(Self { inputs, labels, puzzle_ids, placed })
    }

    pub fn upload(&self, inputs: &[i32], labels: &[i32], puzzle_ids: &[i32]) -> Result<()> {
        self.inputs.upload(inputs)?;
        self.labels.upload(labels)?;
        self.puzzle_ids.upload(puzzle_ids)
    }

    /// Each tensor with its name in a checkpoint, and which of its elements are a slot's.
    fn tensors<'a>(&'a self, layout: &'a Layout) -> Vec<(&'static str, &'a Tensor, &'a Bounds)> {
        let mut all = vec![
            ("inputs", &self.inputs, layout.cells()),
            ("labels", &self.labels, layout.cells()),
            ("puzzle_identifiers", &self.puzzle_ids, layout.ones()),
        ];
        if let Some(Placed { lengths, places }) = &self.placed {
            all.push(("lengths", lengths, layout.ones()));
            all.push(("places", places, layout.positions()));
        }
        all
    }
}

impl Carry {
    /// For the model's own batch.
    pub fn new(model: &dyn Model) -> Result<Self> {
        Self::of_rows(model, model.dims().batch_size)
    }

    /// For a batch of `b` rows of the whole canvas.
    pub fn of_rows(model: &dyn Model, b: usize) -> Result<Self> {
        let dims = model.dims();
        let layout = Layout::padded(model.device(), b, dims.prefix, dims.seq_len)?;
        let current = DeviceBatch::new(model.device(), b, dims.seq_len)?;
        Self::of_layout(model, layout, current)
    }

    /// For packed rows, in slots of so many cells.
    pub fn packed(model: &dyn Model, slots: &[usize]) -> Result<Self> {
        let layout = Layout::packed(model.device(), model.dims().prefix, slots)?;
        let placed = Placed { lengths: layout.lengths.clone(), places: layout.places.clone() };
        let cells = layout.cells_shape();
        let current = DeviceBatch::zeros(model.device(), slots.len(), cells, Some(placed))?;
        Self::of_layout(model, layout, current)
    }

    fn of_layout(model: &dyn Model, layout: Layout, current: DeviceBatch) -> Result<Self> {
        let (device, b) = (model.device(), layout.rows());
        let shape = layout.shape(model.dims().hidden_size);
        let state = |name: &&'static str| {
            Ok((*name, Tensor::zeros(device, model.dtype(), shape, Purpose::Carry)?))
        };
        let carry = Self {
            states: model.states().iter().map(state).collect::<Result<_>>()?,
            steps: Tensor::zeros(device, DType::I32, [b], Purpose::Carry)?,
            halted: Tensor::zeros(device, DType::U8, [b], Purpose::Carry)?,
            current,
            layout,
            noise: None,
            starts: None,
            depth: Depth::FULL,
        };
        carry.halt_all()?;
        Ok(carry)
    }

    /// Whether rows have only some cells of the canvas.
    pub fn is_packed(&self) -> bool {
        self.current.placed.is_some()
    }

    /// The next batch enters every slot.
    pub fn halt_all(&self) -> Result<()> {
        self.halted.upload(&vec![1_u8; self.halted.elems()])
    }

    /// Noise on the states of the slots that halted, where the carry has such.
    pub(super) fn disturb_starts(&self) -> Result<()> {
        let Some(Starts { draws, sigma, starting }) = &self.starts else { return Ok(()) };
        starting.zero()?;
        act_halt::admit(&self.halted, self.layout.ones(), sigma, starting)?;
        for (draws, (_, z)) in draws.iter().zip(&self.states) {
            state_noise::add(z, draws, starting, &self.layout)?;
        }
        Ok(())
    }

    /// Rows of `batch` enter the halted slots; rows for running slots are discarded.
    pub(super) fn admit(&self, batch: &DeviceBatch) -> Result<()> {
        let (to, from) = (self.current.tensors(&self.layout), batch.tensors(&self.layout));
        if to.len() != from.len() {
            return Err(Error::invalid("a packed batch for padded slots, or the other way"));
        }
        for ((_, dst, bounds), (_, src, _)) in to.into_iter().zip(from) {
            act_halt::admit(&self.halted, bounds, src, dst)?;
        }
        Ok(())
    }

    /// Everything a bit-exact continuation needs, by name.
    pub fn tensors(&self) -> Vec<(&'static str, &Tensor)> {
        let mut all: Vec<_> = self.states.iter().map(|(name, state)| (*name, state)).collect();
        all.extend([("steps", &self.steps), ("halted", &self.halted)]);
        all.extend(self.current.tensors(&self.layout).into_iter().map(|(name, t, _)| (name, t)));
        all
    }
}
