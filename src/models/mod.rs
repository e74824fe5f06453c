//! The models. Each knows its parameters and its computation; none knows a data set or a loop.
//!
//! A folder is one kind of model, `architecture.rs` what a folder has to say of it, and `list.rs`
//! names them all. [`Model`] is what a trainer and an evaluator need of one. A model answers rows
//! of tokens with rows of tokens, a segment at a time; what runs on between segments is in a
//! [`Carry`]. `act.rs` makes a model of anything that recurs on two states (`hrm`, `trm`), with
//! adaptive computation time; `one_pass.rs` has the segments of those that answer at once
//! (`hrm_seed`, `transformer`, `grid_lm`); `decode.rs` is for those that write token by token
//! (`grid_lm`).

pub mod act;
mod architecture;
mod carry;
mod check;
pub mod decode;
mod depth;
pub mod foreign;
pub mod grid_lm;
pub mod hrm;
pub mod hrm_seed;
pub mod io;
mod list;
pub mod one_pass;
pub mod onnx;
mod segment;
#[cfg(test)]
pub mod tests;
pub mod tiny_vae;
pub mod transformer;
pub mod trm;

pub use architecture::{Absent, Architecture, Compute, Configuration, RowForm, Sizes};
pub use carry::{Carry, DeviceBatch, Noise, Placed, Starts};
pub use depth::Depth;
pub use list::{ARCHITECTURES, Arch, ModelConfig, ModelShape};
pub use segment::{HALT_LOSS_WEIGHT, Segment, Workspace};

use self::decode::Decoder;
use crate::Result;
use crate::backend::Device;
use crate::dtype::DType;
use crate::nn::params::Params;
use crate::sequence;
use crate::tape::{Mode, Tape};
use crate::tensor::Tensor;

/// What must be known of a model's shape outside of it; the letters are the crate's glossary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    pub batch_size: usize,  // B
    pub seq_len: usize,     // S
    pub vocab_size: usize,  // V
    pub hidden_size: usize, // C
    /// P: positions before the first cell.
    pub prefix: usize,
    pub puzzle_emb_ndim: usize, // D; 0: no puzzle embeddings
    pub num_puzzle_ids: usize,  // NP
    /// Segments that an answer takes in evaluation.
    pub segments: usize,
    /// Whether labels that are PAD are left out of loss and scores.
    pub ignores_pad: bool,
    /// What rows of a batch are.
    pub form: RowForm,
}

impl Dims {
    /// A model that answers every row at once: no prefix, no puzzle embeddings, and every token
    /// counts.
    fn plain(sizes: Sizes, hidden_size: usize) -> Self {
        let Sizes { batch_size, seq_len, vocab_size, num_puzzle_ids } = sizes;
        Self {
            batch_size,
            seq_len,
            vocab_size,
            hidden_size,
            prefix: 0,
            puzzle_emb_ndim: 0,
            num_puzzle_ids,
            segments: 1,
            ignores_pad: false,
            form: RowForm::default(),
        }
    }

    /// T = P + S.
    pub fn positions(&self) -> usize {
        self.prefix + self.seq_len
    }

    /// Cells of a side of the canvas.
    pub fn side(&self) -> usize {
        self.seq_len.isqrt()
    }

    /// Tokens that rows of a batch consist of.
    pub fn tokens(&self) -> usize {
        match self.form {
            RowForm::Sequence => sequence::VOCABULARY,
            _ => self.vocab_size,
        }
    }

    /// Places that a cell of a row can have.
    pub fn places(&self) -> usize {
        match self.form {
            RowForm::Sequence => sequence::places(self.side()),
            _ => self.seq_len,
        }
    }

    /// Whether an answer depends on which puzzle a row is of.
    pub fn knows_puzzles(&self) -> bool {
        self.puzzle_emb_ndim > 0 || self.form == RowForm::Sequence
    }
}

pub trait Model {
    fn dims(&self) -> Dims;

    fn params(&self) -> &Params;

    /// What official checkpoints put before each name.
    fn name_prefix(&self) -> &'static str {
        ""
    }

    /// Puzzle embeddings (NP, D) f32, trained by `sign_sgd_rows`, and their name.
    fn puzzle_table(&self) -> Option<(&'static str, &Tensor)> {
        None
    }

    /// The parameter that has a row for each task, where that is a weight like any other.
    fn task_table(&self) -> Option<&'static str> {
        None
    }

    /// The table of puzzles or tasks (rows, D), f32, where the model has one.
    fn embeddings(&self) -> Result<Option<Tensor>> {
        match (self.puzzle_table(), self.task_table()) {
            (Some((_, table)), _) => Ok(Some(table.clone())),
            (None, Some(name)) => self.params().part(&self.params().master, name).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// What is part of the model and not trained, by name.
    fn constants(&self) -> Vec<(&'static str, Tensor)> {
        vec![]
    }

    /// States (B, T, C) that run on between segments.
    fn states(&self) -> &'static [&'static str] {
        &[]
    }

    /// Most halting probabilities that enter a row's loss; 0: the model has no such head.
    fn halting_cycles(&self) -> usize {
        0
    }

    /// Bring the working copies up to date after weights were loaded.
    fn refresh(&self) -> Result<()> {
        self.params().refresh()
    }

    /// Whether a step reads nothing back from the device, so that it can be recorded and replayed.
    fn is_recordable(&self) -> bool {
        true
    }

    /// Whether the rows of a batch halt together, so that an answer depends on the batch that it is
    /// in.
    fn rows_halt_together(&self) -> bool {
        false
    }

    /// How it writes answers, where it does so token by token.
    fn decoder(&self) -> Option<&dyn Decoder> {
        None
    }

    /// Deviation of the noise on the states where a row of training starts.
    fn start_noise(&self) -> f32 {
        0.0
    }

    /// Whether training goes through fewer cycles at first, see [`Depth`].
    fn has_depth_curriculum(&self) -> bool {
        false
    }

    /// Whether training's rule would halt on these Q logits (halt, continue).
    fn would_halt(&self, q: [f32; 2]) -> bool;

    /// A training segment: forward, losses, backward. Gradients go to `params().grad` (overwritten
    /// or added to, by `mode`) and to the workspace's puzzle rows; the carry moves on. `draw` (4)
    /// i32 are the words of a [`Draw`](crate::ops::draw::Draw).
    fn train_segment(
        &self,
        tape: Tape,
        carry: &Carry,
        batch: &DeviceBatch,
        space: &Workspace,
        draw: &Tensor,
        mode: Mode,
    ) -> Result<Segment>;

    /// An evaluation segment: no gradient, nothing random, halting only at the last step.
    fn eval_segment(
        &self,
        carry: &Carry,
        batch: &DeviceBatch,
        space: &Workspace,
    ) -> Result<Segment>;

    fn device(&self) -> &Device {
        self.params().master.device()
    }

    fn dtype(&self) -> DType {
        self.params().work.dtype()
    }

    /// Trainable numbers, puzzle embeddings included.
    fn trainable_elems(&self) -> usize {
        self.params().elems() + self.puzzle_table().map_or(0, |(_, table)| table.elems())
    }

    /// Everything that is the model, under its official names: constants, puzzle table, trained
    /// weights (f32 master). After writing to one, call [`refresh`](Self::refresh).
    fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let params = self.params();
        let mut all: Vec<(&str, Tensor)> = self.constants();
        all.extend(self.puzzle_table().map(|(name, table)| (name, table.clone())));
        for name in params.names() {
            all.push((name, params.part(&params.master, name)?));
        }
        let prefix = self.name_prefix();
        Ok(all.into_iter().map(|(name, t)| (format!("{prefix}{name}"), t)).collect())
    }
}
