//! The model in a checkpoint, without what only training needs.

use std::path::Path;

use super::{Named, Reader, role};
use crate::backend::{Device, DeviceKind};
use crate::config::Settings;
use crate::formats::{Counters, Format, HostTensor, StateDict};
use crate::io::file;
use crate::models::{Compute, Model, ModelShape, act};
use crate::nn::sinusoids;
use crate::run::plan::Plan;
use crate::{Error, Result};

/// A buffer of the original module that is a formula here, and its rows.
pub(crate) const POSITIONS: &str = "pos_encoding.pe";
const POSITION_ROWS: usize = 5000;

/// The tensor of the file that holds the average of weight `name`, if there is one.
fn averaged(reader: &Reader, prefix: &str, name: &str) -> Option<String> {
    let name = format!("{}.{}", role::EMA, name.strip_prefix(prefix)?);
    reader.shape(&name).map(|_| name)
}

/// The model's shape as it was trained, for batches of its own size.
pub fn model_shape(reader: &Reader, config: &Settings) -> Result<ModelShape> {
    let arch = config.model.arch();
    let prefix = arch.name_prefix();
    let rows = |name: &str| {
        let shape = reader.shape(&format!("{prefix}{name}"));
        shape.and_then(|s| s.dims().first().copied()).ok_or_else(|| {
            let what = format!("tensor {name} is missing: no checkpoint of this kind of model");
            Error::corrupt(reader.path(), what)
        })
    };
    let seq_len = config.data.canvas * config.data.canvas;
    let mut shape = config.shape(seq_len, rows(arch.token_table())?, 1);
    if shape.dims().knows_puzzles() {
        let (table, ids) = arch.puzzle_table();
        shape.sizes.num_puzzle_ids = rows(table)? * ids;
    }
    Ok(shape)
}

/// Refuses a checkpoint whose weights are not those of a model of this `shape`; reads none of them.
pub fn check_model(reader: &Reader, shape: &ModelShape) -> Result<()> {
    let device = Device::shape_only(DeviceKind::Cpu);
    device.reserve(Device::UNBOUNDED_BYTES)?;
    reader.expect_part(&shape.build(&device, Compute::default())?.tensors()?)
}

/// The model of a run's `config` in the given `shape`, with the weights that evaluation uses: the
/// averaged ones where the run kept them.
pub fn load_model(
    reader: &Reader,
    config: &Settings,
    shape: &ModelShape,
    device: &Device,
) -> Result<Box<dyn Model>> {
    let model = shape.build(device, config.compute())?;
    fill(reader, &*model)?;
    Ok(model)
}

/// Overwrite a model's weights with those that evaluation uses of a checkpoint.
pub fn fill(reader: &Reader, model: &dyn Model) -> Result<()> {
    fill_some(reader, model, |_| true)
}

/// Fill a model but for its embeddings of puzzles or tasks, whose number may be another.
pub fn fill_dense(reader: &Reader, model: &dyn Model) -> Result<()> {
    let table = model.task_table().unwrap_or(act::PUZZLE_TABLE);
    let table = format!("{}{table}", model.name_prefix());
    fill_some(reader, model, |name| name != table)
}

fn fill_some(reader: &Reader, model: &dyn Model, wanted: impl Fn(&str) -> bool) -> Result<()> {
    let prefix = model.name_prefix();
    let tensors: Vec<Named> = model
        .tensors()?
        .into_iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, tensor)| (averaged(reader, prefix, &name).unwrap_or(name), tensor))
        .collect();
    reader.load_part(&tensors)?;
    model.refresh()
}

/// Which of a run's weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Weights {
    /// Weights as the last step left them
    Trained,
    /// Exponential moving average of the weights
    Averaged,
}

impl Weights {
    /// Those that evaluation uses.
    pub fn of(reader: &Reader) -> Self {
        let is_average = |name: &str| name.split_once('.').is_some_and(|(r, _)| r == role::EMA);
        match reader.entries().iter().any(|e| is_average(&e.name)) {
            true => Weights::Averaged,
            false => Weights::Trained,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Weights::Trained => "trained",
            Weights::Averaged => "averaged",
        }
    }
}

/// The model in a checkpoint of `hrm train`, under its official names and with its metadata; f32.
pub fn state_dict(reader: &Reader, weights: Weights) -> Result<StateDict> {
    let plan = <Plan>::parse(&reader.meta.plan)
        .map_err(|e| Error::corrupt(reader.path(), format!("no checkpoint of hrm train: {e}")))?;
    if weights == Weights::Averaged && Weights::of(reader) != weights {
        return Err(Error::corrupt(
            reader.path(),
            "has no averaged weights (train.ema was 0): take the trained ones",
        ));
    }
    let (config, arch) = (&plan.config, plan.config.model.arch());
    let prefix = arch.name_prefix();
    let mut tensors = vec![];
    for entry in reader.entries().iter().filter(|e| !role::is_of_training(&e.name)) {
        let averaged = match weights {
            Weights::Averaged => averaged(reader, prefix, &entry.name),
            Weights::Trained => None,
        };
        let source = averaged.as_ref().unwrap_or(&entry.name);
        let bytes = reader.tensor_bytes(source)?;
        tensors.push((
            entry.name.clone(),
            HostTensor { dtype: entry.dtype, shape: entry.shape, bytes },
        ));
    }
    if arch.has_position_table() {
        let cells = config.data.canvas.pow(2);
        let c = config.shape(cells, 1, 1).dims().hidden_size;
        let rows = POSITION_ROWS.max(cells);
        let table = HostTensor::from_f32s([rows, c], &sinusoids::table(rows, c));
        tensors.push((POSITIONS.into(), table));
    }
    with_meta(reader, tensors)
}

/// The tensors with all that the checkpoint says about its run.
pub(super) fn with_meta(reader: &Reader, tensors: Vec<(String, HostTensor)>) -> Result<StateDict> {
    let state = &reader.meta.state;
    let meta = serde_json::to_string(&reader.meta);
    let meta = meta.map_err(|e| Error::invalid(format!("metadata: {e}")))?;
    let counters = Counters {
        epoch: state.position.epoch as u64,
        best_val_loss: state.best_val_loss,
        global_step: state.step,
    };
    Ok(StateDict { tensors, counters: Some(counters), meta: Some(meta) })
}

/// The weights that evaluation uses of a checkpoint, beside it as a `.pt` for `torch.load`.
pub fn write_pt(checkpoint: &Path) -> Result<()> {
    let reader = Reader::open(checkpoint)?;
    let bytes = Format::Pt.encode(&state_dict(&reader, Weights::of(&reader))?)?;
    let path = checkpoint.with_extension("pt");
    file::write(&path, &bytes)
}
