//! `hrm plan`: what a run will need, before it runs. Memory is exact, by the same code on a device
//! without memory; time is a bound from a measurement, or a prediction for a card, and says which.
//!
//! `training.rs` a run of `hrm train` · `distillation.rs` one of `hrm distill` · `sizes.rs` what
//! the data adds · `rooms.rs` memory and what fits it · `time.rs` step time.

mod distillation;
mod rooms;
mod sizes;
mod time;
mod training;

use std::path::PathBuf;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use serde_json::{Map, Value, json};

use super::common::{SettingsArgs, start_threads, threads};
use crate::backend::DeviceKind;
use crate::config::{DISTILL_PRESETS, DistillConfig, Layer, Merged, RunConfig, Settings};
use crate::cost::Card;
use crate::io::units::bytes;
use crate::{Error, Result};

/// The card that a prediction is for when none is named.
const DEFAULT_CARD: &str = "4090";

/// Say what a run will need before it runs: memory by purpose, parameters, the largest batch, time
///
/// Memory is exact for everything that the engine allocates (the program itself, scratch of its
/// threads and a GPU driver's context come on top). For a CPU the step time is a lower bound,
/// printed with the measurement behind it. For a card it is a prediction from counted work, kernel
/// by kernel, printed with its formula and the card's published figures; no GPU is needed. A data
/// set that is not built yet is taken at its published size.
#[derive(Debug, Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  hrm plan arc-small\n",
    "  hrm plan arc1 --card 4090                     memory, largest batch and step time on that card\n",
    "  hrm plan sudoku-extreme --card h100 --json    every kernel, for scripts\n",
    "  hrm plan arc1 train.precision=f32 --data data/my-arc --vram 16GiB\n",
    "  hrm plan tiny-vae                             teacher and student of a distillation",
))]
pub struct PlanArgs {
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Folder of a built data set; default: what the preset has built under data/, else published
    /// sizes
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// cpu (default), or cuda: the CUDA engine on the card of --card
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Card to predict for: 4090 (default with --device cuda), 4090-laptop, h100, h200
    #[arg(long, value_name = "CARD")]
    pub card: Option<String>,
    /// Puzzle ids, variants included, when no data set is there to count them
    #[arg(long, value_name = "N", conflicts_with = "data",
        value_parser = RangedU64ValueParser::<usize>::new().range(1..1 << 31))]
    pub puzzles: Option<usize>,
    /// Memory that the run may take; default: the card's, or what is available here
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub vram: Option<usize>,
    /// CPU threads of the speed measurement; default: all
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    /// One JSON object instead
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: PlanArgs) -> Result<()> {
    start_threads(args.threads)?;
    match is_distillation(&args.settings)? {
        true => distillation::run(&args),
        false => training::run(&args),
    }
}

/// Whether the preset, of the command line or else of the file, is one of `hrm distill`.
fn is_distillation(settings: &SettingsArgs) -> Result<bool> {
    let file = settings.config.as_deref().map(Layer::file).transpose()?;
    let (named, _) = settings.split()?;
    let preset = named.or(file.as_ref().and_then(Layer::preset));
    Ok(DISTILL_PRESETS.iter().any(|(name, _)| Some(*name) == preset))
}

impl PlanArgs {
    /// Refuse settings that no run can have.
    pub fn check(&self) -> Result<()> {
        let device = kind(&self.card()?);
        match is_distillation(&self.settings)? {
            true => self.settings.merged::<DistillConfig>(device)?.config().map(drop),
            false => self.settings.merged::<Settings>(device)?.config().map(drop),
        }
    }

    /// The card to predict for; none: the CPU.
    fn card(&self) -> Result<Option<Card>> {
        card(self.device.as_deref(), self.card.as_deref())
    }
}

/// The kind of device that a plan is for.
fn kind(card: &Option<Card>) -> DeviceKind {
    if card.is_some() { DeviceKind::Cuda } else { DeviceKind::Cpu }
}

/// Every setting with its value and who set it.
fn settings<C: RunConfig>(merged: &Merged<C>) -> Result<Map<String, Value>> {
    let entries = merged.entries()?;
    Ok(entries.map(|(key, value, source)| (key, json!({"value": value, "from": source}))).collect())
}

fn card(device: Option<&str>, card: Option<&str>) -> Result<Option<Card>> {
    match (device, card) {
        (None | Some("cpu"), None) => Ok(None),
        (Some("cuda"), None) => Card::named(DEFAULT_CARD).map(Some),
        (None | Some("cuda"), Some(name)) => Card::named(name).map(Some),
        (Some("cpu"), Some(name)) => {
            Err(Error::invalid(format!("--device cpu and --card {name} exclude each other")))
        }
        (Some(other), _) => {
            Err(Error::invalid(format!("--device {other}: a plan is for cpu or cuda")))
        }
    }
}
