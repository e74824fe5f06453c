//! Weights of other programs as a checkpoint of ours.
//!
//! `names.rs` recognises the model by its tensors' names, whose shapes its folder reads ·
//! `settings.rs` adds what shapes do not tell · `puzzles.rs` fits the puzzle embeddings to a data
//! set. What comes out is what `hrm train` would have saved, without what only training needs. An
//! export of ours brings its plan and its counters along and needs none of this guessing.
//! `official.rs` has the settings that the official programs keep beside a checkpoint, in and out,
//! `outgoing.rs` a checkpoint for them.

mod names;
pub mod official;
pub mod outgoing;
mod puzzles;
mod settings;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::backend::{Device, DeviceKind};
use crate::config::{DistillConfig, RunConfig, Settings};
use crate::data::Position;
use crate::data::vocab::MAX_CANVAS;
use crate::dtype::DType;
use crate::formats::{Counters, HostTensor, StateDict};
use crate::models::act::PUZZLE_TABLE;
use crate::models::foreign::Shapes;
use crate::models::{Arch, Compute};
use crate::nn::sinusoids;
use crate::run::checkpoint::{Meta, POSITIONS, State};
use crate::run::plan::Plan;
use crate::train::metrics::Sums;
use crate::{Error, PROGRAM, Result};

use names::Tensors;

pub use puzzles::Puzzles;
pub use settings::Given;

/// Far above any model; a file with more is something else.
const MAX_TENSORS: usize = 4096;
/// Most that stored positions may differ from the formula: the rounding of an angle of some
/// hundred.
const POSITIONS_TOLERANCE: f32 = 1e-3;
/// Rounding of a number below 1 that was saved as bf16.
const BF16_ROUNDING: f32 = 1.0 / 512.0;
/// Lines about tensors that do not fit; the rest is counted.
const MAX_LINES: usize = 12;

/// What the user says besides the file.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub given: Given<'a>,
    /// Where the data set is, absolute.
    pub data_dir: Option<&'a Path>,
    pub puzzles: Puzzles,
}

/// A checkpoint, not yet written.
pub struct Imported {
    pub meta: Meta,
    pub tensors: Tensors,
    /// What was found and what was assumed, for the user.
    pub lines: Vec<String>,
}

/// Errors follow the file's name.
pub fn import(weights: StateDict, request: Request) -> Result<Imported> {
    let count = weights.tensors.len();
    if count > MAX_TENSORS {
        return Err(Error::invalid(format!("holds {count} tensors, which no model here has")));
    }
    if weights.meta.as_ref().is_some_and(|meta| is_autoencoder(meta)) {
        return Err(Error::invalid(
            "is an autoencoder of hrm distill: those are exported, but not taken back",
        ));
    }
    let (arch, mut tensors) = names::recognise(weights.tensors).map_err(Error::invalid)?;
    let shapes = Shapes(tensors.iter().map(|(name, t)| (name.as_str(), t.shape)).collect());
    let shown = arch.infer(&shapes).map_err(Error::invalid)?;
    let (mut plan, mut state, mut lines) = match &weights.meta {
        Some(meta) => of_ours(meta, arch, request.given)?,
        None => {
            let (config, lines) = settings::resolve(arch, &shown, request.given)?;
            let (device, threads) = ("cpu".into(), 1);
            let (data_dir, products) = (PathBuf::new(), String::new());
            let plan = Plan { config, data_dir, device, threads, products, init: None };
            (plan, new_state(weights.counters), lines)
        }
    };
    let mut num_puzzle_ids = shown.puzzles.map_or(1, |(rows, _)| rows);
    if let Some(data) = request.given.data {
        settings::check_data(&plan.config, shown.vocab_size, data)?;
        let same = state.data_digest.is_empty() || state.data_digest == data.digest();
        if let Some(at) = tensors.iter().position(|(name, _)| name == PUZZLE_TABLE) {
            if !same && request.puzzles == Puzzles::Keep {
                return Err(Error::invalid(format!(
                    "was trained on data with digest {}, but {} has digest {}: its puzzle \
                     embeddings belong to other puzzles. Name that data set, or --puzzles reset \
                     (each becomes their mean) or resize (kept by number)",
                    state.data_digest,
                    data.dir().display(),
                    data.digest()
                )));
            }
            let (name, table) = tensors.remove(at);
            let (table, line) = puzzles::fit(values(&name, table)?, data, request.puzzles)?;
            tensors.insert(at, (name, table));
            num_puzzle_ids = data.num_puzzle_ids();
            lines.extend(line);
        }
        state.data_digest = data.digest();
        plan.data_dir = request.data_dir.unwrap_or(data.dir()).into();
    } else if request.puzzles != Puzzles::Keep {
        return Err(Error::invalid(
            "--puzzles reset and resize need --data: how many ids are there?",
        ));
    }
    let tensors = fit(&plan.config, arch, shown.vocab_size, num_puzzle_ids, tensors)?;
    let meta = Meta { program: PROGRAM.into(), plan: plan.to_toml()?, state };
    Ok(Imported { meta, tensors, lines })
}

/// The counters of a model that has not been trained here.
fn new_state(counters: Option<Counters>) -> State {
    let counters =
        counters.unwrap_or(Counters { epoch: 0, best_val_loss: f64::INFINITY, global_step: 0 });
    State {
        step: counters.global_step,
        position: Position { epoch: counters.epoch.try_into().unwrap_or(u32::MAX), index: 0 },
        samples: 0,
        seed: 0,
        best_val_loss: counters.best_val_loss,
        best_step: 0,
        waited: 0,
        validated: 0,
        data_digest: String::new(),
        pending: Sums::default().to_vec(),
    }
}

fn is_autoencoder(meta: &str) -> bool {
    let meta = serde_json::from_str::<Meta>(meta);
    meta.is_ok_and(|meta| Plan::<DistillConfig>::parse(&meta.plan).is_ok())
}

/// What an export of ours says about itself.
fn of_ours(meta: &str, arch: Arch, given: Given) -> Result<(Plan, State, Vec<String>)> {
    if given.preset.is_some() || !given.command_line.is_empty() {
        return Err(Error::invalid(
            "is an export of hrm and carries its own settings: import it without a preset and \
             without key=value",
        ));
    }
    let broken = |e: String| Error::invalid(format!("its metadata is damaged: {e}"));
    let Meta { plan, state, program } =
        serde_json::from_str(meta).map_err(|e| broken(e.to_string()))?;
    let plan = <Plan>::parse(&plan).map_err(|e| broken(e.to_string()))?;
    plan.config.check().map_err(|e| broken(e.to_string()))?;
    if plan.config.model.arch() != arch {
        return Err(broken(format!(
            "it says {}, the tensors are those of {}",
            plan.config.model.arch().word(),
            arch.word()
        )));
    }
    let line = format!("an export of {program}, step {}: settings are its own", state.step);
    Ok((plan, state, vec![line]))
}

/// `tensors` in the order and under the names of our model; what is missing, odd or of another
/// shape is listed.
fn fit(
    config: &Settings,
    arch: Arch,
    vocab_size: usize,
    num_puzzle_ids: usize,
    tensors: Tensors,
) -> Result<Tensors> {
    let canvas = config.data.canvas;
    if !(1..=MAX_CANVAS).contains(&canvas) {
        let what = format!("data.canvas={canvas} must be between 1 and {MAX_CANVAS}");
        return Err(Error::invalid(what));
    }
    let seq_len = canvas * canvas;
    let shape = config.shape(seq_len, vocab_size, num_puzzle_ids);
    let device = Device::shape_only(DeviceKind::Cpu);
    device.reserve(Device::UNBOUNDED_BYTES)?;
    let model = shape.build(&device, Compute::default())?;
    let mut found: HashMap<String, HostTensor> =
        tensors.into_iter().map(|(name, t)| (names::ours(arch, &name), t)).collect();
    if let Some(table) = found.remove(POSITIONS).filter(|_| arch.has_position_table()) {
        check_positions(table, seq_len, shape.dims().hidden_size)?;
    }
    let (mut fitted, mut wrong) = (vec![], vec![]);
    for (name, want) in model.tensors()? {
        match found.remove(&name) {
            None => wrong.push(format!("{name}: missing; {} expected", want.shape())),
            Some(t) if t.shape != *want.shape() => {
                wrong.push(format!("{name}: {} in the file, {} expected", t.shape, want.shape()));
            }
            Some(t) => fitted.push((name.clone(), values(&name, t)?)),
        }
    }
    let mut odd: Vec<String> =
        found.iter().map(|(name, t)| format!("{name}: {}, unknown here", t.shape)).collect();
    odd.sort();
    wrong.extend(odd);
    if wrong.is_empty() {
        return Ok(fitted);
    }
    let more = wrong.len().saturating_sub(MAX_LINES);
    wrong.truncate(MAX_LINES);
    wrong.extend((more > 0).then(|| format!("and {more} more")));
    Err(Error::invalid(format!(
        "its tensors are not those of {} with these settings:\n  {}",
        arch.word(),
        wrong.join("\n  ")
    )))
}

/// Finite f32.
fn values(name: &str, tensor: HostTensor) -> Result<HostTensor> {
    let tensor = tensor.widened();
    if tensor.dtype != DType::F32 {
        return Err(Error::invalid(format!("tensor {name} has {} elements", tensor.dtype)));
    }
    let wrong = tensor.f32s().enumerate().find(|(_, x)| !x.is_finite());
    match wrong {
        None => Ok(tensor),
        Some((i, x)) => Err(Error::invalid(format!("tensor {name}: element {i} is {x}"))),
    }
}

/// A stored table of positions (.., C) must be the formula that our model uses.
fn check_positions(table: HostTensor, seq_len: usize, c: usize) -> Result<()> {
    let rounding = if table.dtype == DType::Bf16 { BF16_ROUNDING } else { 0.0 };
    let table = values(POSITIONS, table)?;
    let formula = sinusoids::table(seq_len, c);
    let same = table.shape.last() == c
        && table.shape.elems() >= formula.len()
        && table.f32s().zip(&formula).all(|(a, b)| (a - b).abs() <= POSITIONS_TOLERANCE + rounding);
    match same {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "tensor {POSITIONS} is not the table of sines and cosines that this model has"
        ))),
    }
}
