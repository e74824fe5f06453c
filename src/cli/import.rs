//! `hrm import`: weights of another program as a checkpoint.

use std::path::{Path, PathBuf};

use clap::Args;

use super::common::{absolute, split_settings};
use crate::data::DataSet;
use crate::formats::{self, Counters, StateDict};
use crate::import::{self, Given, Imported, Puzzles, Request, official};
use crate::run::checkpoint::{self, Reader};
use crate::{Error, Result};

/// Make a checkpoint of weights from PyTorch (torch.save) or safetensors
///
/// Takes checkpoints of the official HRM and TRM programs (step_N files, compiled or not),
/// hrm_arc_*.pt of the run that arc-full replaces, and what `hrm export` wrote. The kind of model,
/// its width, layers, vocabulary and puzzle ids are read off the tensors; heads, cycles, steps and
/// canvas leave no trace there and come from all_config.yaml beside the file, where the official
/// programs keep it, from a preset or key=value (not for our own exports, which know them). The
/// result works with hrm eval, predict, serve and export, and as hrm train --init. No code in the
/// file is run.
#[derive(Debug, Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  hrm import step_518071 arc1 --data data/arc-aug-1000   the official HRM on its own data set\n",
    "  hrm import step_518071 --data data/arc-aug-1000        with its all_config.yaml beside it\n",
    "  hrm import step_155718 trm-arc1 model.l_cycles=6 --output trm.safetensors\n",
    "  hrm import hrm_arc_best.pt arc-full\n",
    "  hrm import exported.pt                                 of hrm export: nothing more is needed\n",
    "  hrm import step_518071 arc1 --data data/mine --puzzles reset   to fine-tune on other tasks\n",
    "\n",
    "Data sets of the official builders come in with hrm data import; they decide what a puzzle id means.",
))]
pub struct Import {
    /// File of torch.save or safetensors, told by its content
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Preset that the model was trained with, then settings such as model.num_heads=8
    #[arg(value_name = "PRESET | KEY=VALUE")]
    pub settings: Vec<String>,
    /// Folder of the data set that the puzzle embeddings belong to; also says the canvas
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// When the data set of --data has other puzzle ids
    #[arg(long, value_enum, default_value = "keep")]
    pub puzzles: Puzzles,
    /// Checkpoint to write; default: beside FILE, as STEM-imported.safetensors
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

pub fn run(args: Import) -> Result<()> {
    let file = &args.file;
    let (preset, command_line) = split_settings(&args.settings)?;
    let data = args.data.as_deref().map(DataSet::open).transpose()?;
    let data_dir = data.as_ref().map(|data| absolute(data.dir())).transpose()?;
    let bytes = formats::read(file)?;
    if Reader::open(file).is_ok() {
        return Err(Error::corrupt(file, "is a checkpoint of hrm already: use it as it is"));
    }
    let mut weights = StateDict::decode(&bytes).map_err(|what| Error::corrupt(file, what))?;
    drop(bytes);
    weights.counters = weights.counters.or(step_in_name(file));
    let official = match &weights.meta {
        Some(_) => None,
        None => official::beside(file)?,
    };
    let (official, data_set) = (official.as_ref(), data.as_ref());
    let given = Given { preset, command_line: &command_line, official, data: data_set };
    let request = Request { given, data_dir: data_dir.as_deref(), puzzles: args.puzzles };
    let imported =
        import::import(weights, request).map_err(|e| Error::corrupt(file, e.to_string()));
    let Imported { meta, tensors, lines } = imported?;
    let output = args.output.unwrap_or_else(|| {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        file.with_file_name(format!("{stem}-imported.safetensors"))
    });
    let size = checkpoint::save_host(&output, &meta, &tensors)?;
    let numbers: usize = tensors.iter().map(|(_, t)| t.shape.elems()).sum();
    for line in lines {
        outln!("{line}");
    }
    outln!(
        "{}: {size} bytes, {} tensors, {numbers} numbers, step {}",
        output.display(),
        tensors.len(),
        meta.state.step
    );
    let needs_data =
        if data.is_none() && meta.state.data_digest.is_empty() { " --data DIR" } else { "" };
    outln!("to score it: hrm eval {}{needs_data}", output.display());
    Ok(())
}

/// The official programs keep the step in the file's name only: `step_518071`.
fn step_in_name(file: &Path) -> Option<Counters> {
    let global_step = file.file_stem()?.to_str()?.strip_prefix("step_")?.parse().ok()?;
    Some(Counters { epoch: 0, best_val_loss: f64::INFINITY, global_step })
}
