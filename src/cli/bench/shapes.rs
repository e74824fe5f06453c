//! What is timed: shapes by the names of the PyTorch baseline, and the step that each stands for.

use std::sync::Arc;

use crate::backend::{Device, DeviceKind};
use crate::config::{DistillConfig, Settings};
use crate::data::fetch::Source;
use crate::data::{Batch, Lengths, RowLayout};
use crate::dtype::DType;
use crate::models::hrm::{Config, Recompute};
use crate::models::tiny_vae::IMAGE_ELEMS;
use crate::models::{ModelShape, Sizes};
use crate::rng::{Rng, Stream};
use crate::run::checkpoint::Side;
use crate::sequence::TURNS;
use crate::train::optimizer::{OptimizerConfig, Rates, Rule};
use crate::train::trainer::{Options, Trainer};
use crate::train::{distill, needed, setup};
use crate::{Error, Result};

const VOCAB: usize = 12;
const PUZZLE_IDS: usize = 1_000;
const GRID_TASKS: usize = 400;

/// Who asks for no shape gets those for the device.
#[derive(Clone, Copy, PartialEq)]
enum For {
    Device(DeviceKind),
    WhoAsks,
}

pub struct Shape {
    pub name: &'static str,
    suits: For,
    model: Model,
}

enum Model {
    /// The official HRM at these sizes; `packed`: with rows as long as those of ARC-1 are.
    Hrm {
        batch_size: usize,
        seq_len: usize,
        c: usize,
        heads: usize,
        layers: usize,
        halt: usize,
        packed: bool,
    },
    /// The preset's model and optimizer, at a batch of its own and without accumulation.
    ArcFull { batch_size: usize, seq_len: usize },
    /// The model of `grid-small`, whose rows are all `len` tokens long.
    Grid { batch_size: usize, len: usize },
    /// The student's step of a preset of `hrm distill`.
    Autoencoder,
}

const fn hrm(name: &'static str, kind: DeviceKind, sizes: [usize; 6]) -> Shape {
    Shape { name, suits: For::Device(kind), model: reasoner(sizes, false) }
}

/// Batches of one large card.
const fn whole(name: &'static str, sizes: [usize; 6]) -> Shape {
    asked(name, reasoner(sizes, false))
}

/// Beside PyTorch, which computes the whole canvas.
const fn arc1(name: &'static str, [batch_size, c, heads, layers]: [usize; 4]) -> Shape {
    let sizes = [batch_size, 900, c, heads, layers, 16];
    Shape { name, suits: For::WhoAsks, model: reasoner(sizes, true) }
}

const fn reasoner(sizes: [usize; 6], packed: bool) -> Model {
    let [batch_size, seq_len, c, heads, layers, halt] = sizes;
    Model::Hrm { batch_size, seq_len, c, heads, layers, halt, packed }
}

const fn asked(name: &'static str, model: Model) -> Shape {
    Shape { name, suits: For::WhoAsks, model }
}

pub const SHAPES: [Shape; 15] = [
    hrm("b32-s81-h128", DeviceKind::Cpu, [32, 81, 128, 4, 2, 16]),
    hrm("b8-s81-h512", DeviceKind::Cpu, [8, 81, 512, 8, 4, 16]),
    hrm("b2-s900-h128", DeviceKind::Cpu, [2, 900, 128, 4, 2, 8]),
    hrm("b256-s81-h512", DeviceKind::Cuda, [256, 81, 512, 8, 4, 16]),
    hrm("b16-s900-h512", DeviceKind::Cuda, [16, 900, 512, 8, 4, 16]),
    whole("b100-s900-h512", [100, 900, 512, 8, 4, 16]),
    whole("b768-s81-h512", [768, 81, 512, 8, 4, 16]),
    arc1("arc1-b16-h128", [16, 128, 4, 2]),
    arc1("arc1-b16-h512", [16, 512, 8, 4]),
    arc1("arc1-b100-h512", [100, 512, 8, 4]),
    asked("grid-b32-s256-h128", Model::Grid { batch_size: 32, len: 256 }),
    asked("arc-full-b2", Model::ArcFull { batch_size: 2, seq_len: 900 }),
    asked("arc-full-b24", Model::ArcFull { batch_size: 24, seq_len: 900 }),
    asked("tiny-vae", Model::Autoencoder),
    asked("tiny-vae-pro", Model::Autoencoder),
];

/// A program in PyTorch that times the same steps.
pub struct Baseline {
    pub script: &'static str,
    pub variants: &'static [&'static str],
    /// Steps before the timed ones, and most of these: some take near a minute.
    pub steps: (usize, usize),
    pub knows_cuda: bool,
}

const HRM: Baseline = Baseline {
    script: "tools/baseline/hrm.py",
    variants: &["eager-f32", "compile-f32", "eager-bf16", "compile-bf16"],
    steps: (super::WARM_UP_STEPS, usize::MAX),
    knows_cuda: true,
};
const SEED: Baseline = Baseline {
    script: "tools/baseline/hrm_seed.py",
    variants: &["eager-f32", "eager-bf16"],
    steps: (0, 1),
    knows_cuda: false,
};
const GRID: Baseline = Baseline { script: "tools/baseline/grid_lm.py", ..HRM };
const AUTOENCODERS: Baseline = Baseline {
    script: "tools/baseline/vae_bench.py",
    variants: &["eager-f32", "compile-f32"],
    ..HRM
};

/// The shapes of these names, or those for the device.
pub fn chosen(names: &[String], kind: DeviceKind) -> Result<Vec<&'static Shape>> {
    if names.is_empty() {
        return Ok(SHAPES.iter().filter(|shape| shape.suits == For::Device(kind)).collect());
    }
    names.iter().map(|name| named(name)).collect()
}

fn named(name: &str) -> Result<&'static Shape> {
    SHAPES.iter().find(|shape| shape.name == name).ok_or_else(|| {
        let known: Vec<&str> = SHAPES.iter().map(|shape| shape.name).collect();
        Error::invalid(format!("--shape {name}: choose from {}", known.join(", ")))
    })
}

/// Makes a step whenever it is called.
pub type Steps = Box<dyn FnMut() -> Result<()>>;

/// A shape and an element type, `SHAPE/f32` or `SHAPE/bf16`.
pub fn variant(text: &str) -> Result<(&'static Shape, DType)> {
    let unknown = || Error::invalid(format!("--one {text}: expected SHAPE/f32 or SHAPE/bf16"));
    let (name, word) = text.split_once('/').ok_or_else(unknown)?;
    let shape = named(name)?;
    let dtype = shape.dtypes().iter().find(|dtype| dtype.to_string() == word);
    Ok((shape, *dtype.ok_or_else(unknown)?))
}

impl Shape {
    /// What it can be computed in.
    pub fn dtypes(&self) -> &'static [DType] {
        match self.model {
            Model::Autoencoder => &[DType::F32],
            _ => &[DType::F32, DType::Bf16],
        }
    }

    pub fn baseline(&self) -> &'static Baseline {
        match self.model {
            Model::Hrm { .. } => &HRM,
            Model::ArcFull { .. } => &SEED,
            Model::Grid { .. } => &GRID,
            Model::Autoencoder => &AUTOENCODERS,
        }
    }

    /// Floating-point operations of a step's matrix products.
    pub fn matmul_flops(&self, kind: DeviceKind) -> Result<f64> {
        let work = match self.model {
            Model::Autoencoder => {
                let mut phases = distill::Needed::of(kind, &self.distillation()?)?.phases;
                phases.pop().map(|phase| phase.work).unwrap_or_default()
            }
            _ => {
                let (model, options) = self.trained(DType::F32)?;
                needed::Needed::of(kind, &model, options)?.work
            }
        };
        Ok(work.total.matmul_flops)
    }

    /// One step after another, on random data.
    pub fn start(&self, dtype: DType, device: &Device) -> Result<Steps> {
        let mut rng = Rng::new(0, Stream::Test, 0);
        let mut draw = |n: usize, below: usize| -> Vec<i32> {
            (0..n).map(|_| rng.below(below as u32) as i32).collect()
        };
        if let Model::Autoencoder = self.model {
            let options = self.distillation()?;
            let images = draw(options.batch_size * IMAGE_ELEMS, 256);
            let images: Vec<u8> = images.into_iter().map(|byte| byte as u8).collect();
            let (mut trainer, mut step) = (distill::Trainer::new(device, options)?, 0);
            return Ok(Box::new(move || {
                step += 1;
                trainer.step(Side::Student, &images, step, 1e-4).map(drop)
            }));
        }
        let (model, options) = self.trained(dtype)?;
        let Sizes { batch_size, seq_len, .. } = model.sizes;
        let mut trainer = Trainer::new(device, &model, options)?;
        let slots = trainer.slots();
        let cells = slots.as_ref().map_or(batch_size * seq_len, |slots| slots.iter().sum());
        let (inputs, labels) = (draw(cells, VOCAB), draw(cells, VOCAB));
        let ids = draw(batch_size, PUZZLE_IDS - 1).iter().map(|id| id + 1).collect();
        let mut batch = Batch::new(inputs, labels, ids);
        if let Some(slots) = slots {
            batch.cells = slots.iter().flat_map(|&slot| 0..slot as i32).collect();
            batch.lengths = slots.iter().map(|&slot| slot as i32).collect();
        }
        Ok(Box::new(move || {
            trainer
                .step(vec![batch.clone()], Rates { lr: 1e-4, puzzle_emb_lr: 1e-2, muon_lr: 1e-2 })
                .map(drop)
        }))
    }

    /// What `hrm train` trains; there is none of an autoencoder.
    fn trained(&self, dtype: DType) -> Result<(ModelShape, Options)> {
        match self.model {
            Model::ArcFull { batch_size, seq_len } => arc_full(batch_size, seq_len, dtype),
            Model::Grid { batch_size, len } => grid(batch_size, len, dtype),
            Model::Autoencoder => {
                Err(Error::invalid(format!("{}: is not trained by hrm train", self.name)))
            }
            Model::Hrm { batch_size, seq_len, c, heads, layers, halt, packed } => {
                let config = Config {
                    hidden_size: c,
                    num_heads: heads,
                    h_layers: layers,
                    l_layers: layers,
                    puzzle_emb_ndim: c,
                    halt_max_steps: halt,
                    halt_exploration_prob: 0.0,
                    ..Config::default()
                };
                let sizes =
                    Sizes { batch_size, seq_len, vocab_size: VOCAB, num_puzzle_ids: PUZZLE_IDS };
                let optimizer = OptimizerConfig {
                    rule: Rule::AdamW,
                    beta1: 0.9,
                    beta2: 0.95,
                    weight_decay: 0.1,
                    puzzle_emb_weight_decay: 0.1,
                    clip: 0.0,
                    ema: 0.0,
                };
                let options = Options {
                    dtype,
                    recompute: Recompute::None,
                    grad_accum: 1,
                    optimizer,
                    seed: 0,
                };
                let lengths = match packed {
                    true => {
                        let side = seq_len.isqrt();
                        Lengths::published(Source::Arc1, side, RowLayout::Packed).map(Arc::new)
                    }
                    false => None,
                };
                Ok((ModelShape::new(config, sizes).with_lengths(lengths), options))
            }
        }
    }

    fn distillation(&self) -> Result<distill::Options> {
        let config = DistillConfig::load(Some(self.name), None, &[])?;
        Ok(distill::Options::of(&config, config.train.batch_size))
    }
}

/// The model of `grid-small` as the baseline has it, over sequences of one length.
fn grid(batch_size: usize, len: usize, dtype: DType) -> Result<(ModelShape, Options)> {
    let settings = ["model.expansion=4", "model.dropout=0.1", "data.canvas=30"];
    let mut settings = settings.map(str::to_owned).to_vec();
    settings.push(format!("train.batch_size={batch_size}"));
    let preset = Settings::load(Some("grid-small"), None, &settings)?;
    let model = preset.shape(preset.data.canvas.pow(2), VOCAB, GRID_TASKS * TURNS);
    let model = model.with_lengths(Some(Arc::new(Lengths::one(len))));
    Ok((model, Options { dtype, ..setup::options(&preset) }))
}

fn arc_full(batch_size: usize, seq_len: usize, dtype: DType) -> Result<(ModelShape, Options)> {
    let batch = [format!("train.batch_size={batch_size}"), "train.grad_accum=1".to_owned()];
    let preset = Settings::load(Some("arc-full"), None, &batch)?;
    let model = preset.shape(seq_len, VOCAB, PUZZLE_IDS);
    Ok((model, Options { dtype, ..setup::options(&preset) }))
}
