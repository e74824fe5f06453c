//! A kind of model as the rest of the house sees it. A folder of `src/models` says all that there
//! is to say of its kind: [`Architecture`] by the unit struct `Kind`, [`Configuration`] by its
//! `Config`.

use toml::Value;

use super::foreign::{Names, Shapes, Shown};
use super::{Dims, Model, io};
use crate::Result;
use crate::backend::Device;
use crate::dtype::DType;
use crate::formats::Program;
use crate::formats::onnx::Graph;
use crate::nn::level::Recompute;

/// What a model takes from the data set and the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub batch_size: usize, // B
    pub seq_len: usize,    // S
    pub vocab_size: usize, // V
    /// NP, the blank one included.
    pub num_puzzle_ids: usize,
}

/// How a model computes; none of it changes what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compute {
    /// What forward and backward compute in: f32 or bf16.
    pub dtype: DType,
    pub recompute: Recompute,
    /// Seed of the initial values.
    pub seed: u64,
    /// Weights keep their values and get no gradients; embeddings of puzzles and tasks learn.
    pub frozen: bool,
}

/// Weights in f32, nothing computed again: what a file holds.
impl Default for Compute {
    fn default() -> Self {
        Self { dtype: DType::F32, recompute: Recompute::None, seed: 0, frozen: false }
    }
}

/// What a row of a batch is to a model.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RowForm {
    /// The whole canvas.
    Canvas,
    /// Cells of the canvas, all or some, each row others.
    #[default]
    Cells,
    /// Input and output as a sequence of tokens: `crate::sequence`.
    Sequence,
}

/// A key of `[model]` that an architecture does not have.
pub struct Absent {
    pub key: &'static str,
    /// The value that says as much, as TOML; such a setting is let through.
    pub neutral: &'static str,
    pub why: &'static str,
}

impl Absent {
    pub const fn new(key: &'static str, neutral: &'static str, why: &'static str) -> Self {
        Self { key, neutral, why }
    }

    pub(super) fn is_neutral(&self, value: &Value) -> bool {
        match value {
            Value::String(word) => word == self.neutral,
            Value::Float(x) => self.neutral.parse() == Ok(*x),
            value => value.to_string() == self.neutral,
        }
    }
}

/// What is known of a kind of model without any configuration of it.
pub trait Architecture {
    /// `model.arch`, and `arch` in an ONNX file's metadata.
    fn word(&self) -> &'static str;

    /// Keys that other kinds have and this one does not.
    fn absent(&self) -> &'static [Absent];

    /// What official checkpoints put before each name.
    fn name_prefix(&self) -> &'static str {
        ""
    }

    /// Official name, without the prefix, of the embedding with a row for each token.
    fn token_table(&self) -> &'static str;

    /// Name of the embedding that a puzzle id picks a row of, and how many ids share one.
    fn puzzle_table(&self) -> (&'static str, usize) {
        (io::PUZZLE_TABLE, 1)
    }

    /// Whether official files hold a table of positions that is a formula here.
    fn has_position_table(&self) -> bool {
        false
    }

    /// The official program that has this kind of model, and `arch.name` of its settings there: the
    /// first is what is written.
    fn official(&self) -> Option<(Program, &'static [&'static str])> {
        None
    }

    /// The values of `train.recompute`.
    fn recomputations(&self) -> &'static [Recompute] {
        &[Recompute::None, Recompute::Layer]
    }

    /// The names by which a foreign file is told to hold such a model.
    fn marks(&self) -> String;

    /// What stands before the names of a foreign file, if it holds such a model.
    fn recognise(&self, names: &Names) -> Option<String>;

    /// What an ONNX file says about its use.
    fn onnx_doc(&self) -> &'static str;

    /// What the shapes of a foreign file's tensors tell. Errors follow the file's name.
    fn infer(&self, shapes: &Shapes) -> std::result::Result<Shown, String>;
}

/// A model's configuration: its shape and behaviour, whatever the data and the batch.
pub trait Configuration {
    /// Refuse values that cannot be meant.
    fn validate(&self) -> Result<()>;

    fn dims(&self, sizes: Sizes) -> Dims;

    fn form(&self) -> RowForm {
        RowForm::default()
    }

    /// Memory and initial values.
    fn build(&self, device: &Device, sizes: Sizes, compute: Compute) -> Result<Box<dyn Model>>;

    /// What the model computes, as a graph.
    fn onnx(&self, graph: &mut Graph, dims: &Dims) -> std::result::Result<(), String>;
}
