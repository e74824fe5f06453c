//! `hrm export`: the weights of a checkpoint as a file of another program.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::eval;
use crate::Result;
use crate::data::manifest::write_atomically;
use crate::interchange::Format;
use crate::train::checkpoint::{self, Weights};

/// Write the weights of a checkpoint for PyTorch (.pt) or any reader of safetensors
///
/// Names and shapes are those of the official PyTorch modules. A .pt file holds {epoch, best_val_loss,
/// global_step, model_state_dict} and loads with torch.load(weights_only=True). Both carry the plan and
/// the counters of the run, as one text under the name "hrm".
#[derive(Debug, Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  hrm export runs/arc-small-1                         safetensors beside the checkpoint\n",
    "  hrm export runs/arc-small-1 --to pt --output a.pt\n",
    "  hrm export best.safetensors --to pt --dtype bf16 --weights trained",
))]
pub struct Export {
    /// Run folder (its best checkpoint is taken, else the final, else the newest) or checkpoint file
    #[arg(value_name = "RUN | CKPT")]
    pub path: PathBuf,
    /// Kind of file
    #[arg(long, value_enum, default_value = "safetensors")]
    pub to: Format,
    /// Where to write; default: the run folder, as export/STEM.EXT
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Element type: f32 as trained, or rounded to bf16
    #[arg(long, value_enum, default_value = "f32")]
    pub dtype: ExportType,
    /// Which weights; default: averaged (EMA) where the run kept them, as `hrm eval` uses
    #[arg(long, value_enum)]
    pub weights: Option<Weights>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum ExportType {
    F32,
    Bf16,
}

pub fn run(args: Export) -> Result<()> {
    let (reader, run_dir) = eval::open(&args.path)?;
    let chosen = args.weights.unwrap_or_else(|| Weights::of(&reader));
    let mut weights = checkpoint::state_dict(&reader, chosen)?;
    if args.dtype == ExportType::Bf16 {
        let tensors = weights.tensors.into_iter().map(|(name, t)| (name, t.rounded()));
        weights.tensors = tensors.collect();
    }
    let output = match args.output {
        Some(output) => output,
        None => {
            let dir = run_dir.join("export");
            std::fs::create_dir_all(&dir).map_err(crate::Error::io(&dir, "create the folder"))?;
            let stem = reader.path().file_stem().unwrap_or_default();
            dir.join(stem).with_extension(args.to.extension())
        }
    };
    let bytes = args.to.encode(&weights)?;
    write_atomically(&output, &bytes)?;
    let elems: usize = weights.tensors.iter().map(|(_, t)| t.shape.elems()).sum();
    let (count, step) = (weights.tensors.len(), reader.meta.state.step);
    outln!(
        "{}: {} bytes, {count} tensors, {elems} numbers, {} weights of step {step}",
        output.display(),
        bytes.len(),
        chosen.name()
    );
    let first = weights.tensors.iter().map(|(name, _)| name.as_str()).take(3);
    outln!("names: {}, ...", first.collect::<Vec<_>>().join(", "));
    outln!("in Python:\n{}", snippet(args.to, &output));
    Ok(())
}

fn snippet(format: Format, path: &Path) -> String {
    let path = format!("{:?}", path.display().to_string());
    match format {
        Format::Safetensors => format!(
            "  from safetensors.torch import load_file\n  model.load_state_dict(load_file({path}))"
        ),
        Format::Pt => format!(
            "  import torch\n  model.load_state_dict(torch.load({path}, weights_only=True)\
             [\"model_state_dict\"])"
        ),
    }
}
