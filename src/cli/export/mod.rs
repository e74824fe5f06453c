//! `hrm export`: the weights of a checkpoint, or all that its model computes, as a file of another
//! program.

mod official;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::config::{DistillConfig, Precision, Settings};
use crate::data::RowLayout;
use crate::formats::onnx::Encoded;
use crate::formats::{Format, Program, StateDict};
use crate::io::file;
use crate::models::onnx;
use crate::run::checkpoint::{self, Reader, Side, Weights};
use crate::run::plan::Plan;
use crate::run::trained;
use crate::{Error, Result};

/// Write a checkpoint's model for PyTorch (.pt), any reader of safetensors, or any runtime of ONNX
///
/// Takes models of hrm train, and student or teacher of hrm distill (not as ONNX). Names and shapes
/// are those of the official PyTorch modules. A .pt file holds {epoch, best_val_loss,
/// global_step, model_state_dict} and loads with torch.load(weights_only=True). An ONNX file (opset
/// 21) also holds the computation, in f32 for batches of any size: of hrm and trm one supervision
/// segment, which the caller repeats, of hrm_seed and transformer the whole answer. All carry the
/// plan and the counters of the run, as one text under the name "hrm".
///
/// With --for hrm or trm it is a checkpoint of the official program: a bare state_dict named step_N
/// for its evaluate.py or load_checkpoint=, with all_config.yaml beside it. hrm data export --for
/// writes the data set.
#[derive(Debug, Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  hrm export runs/arc-small-1                         safetensors beside the checkpoint\n",
    "  hrm export runs/arc-small-1 --to pt --output a.pt\n",
    "  hrm export runs/arc-small-1 --to onnx               a graph; prints how to run it in Python\n",
    "  hrm export best.safetensors --to pt --dtype bf16 --weights trained\n",
    "  hrm export runs/arc1-1 --to pt --for hrm            for evaluate.py of the official HRM\n",
    "  hrm export runs/tiny-vae-1 --to pt --model teacher",
))]
pub struct Export {
    /// Run folder (its best checkpoint is taken, else the final, else the newest) or checkpoint
    /// file
    #[arg(value_name = "RUN | CKPT")]
    pub path: PathBuf,
    /// Kind of file
    #[arg(long, value_enum, default_value = "safetensors")]
    pub to: Kind,
    /// A checkpoint as the official program itself saves it (with --to pt)
    #[arg(long = "for", value_enum, value_name = "PROGRAM")]
    pub program: Option<Program>,
    /// Names begin with _orig_mod., as where that program compiles its model: for load_checkpoint=
    #[arg(long, requires = "program")]
    pub compiled: bool,
    /// Which model of a run of hrm distill; default: the student
    #[arg(long, value_enum)]
    pub model: Option<Side>,
    /// Where to write; default: the run folder, as export/STEM.EXT
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Element type: f32 as trained, or rounded to bf16 (not for onnx)
    #[arg(long, value_enum, default_value = "f32")]
    pub dtype: Precision,
    /// ONNX: the weights in a file of their own beside it, FILE.data; needed from 2 GiB on
    #[arg(long)]
    pub external_data: bool,
    /// Which weights; default: averaged (EMA) where the run kept them, as `hrm eval` uses
    #[arg(long, value_enum)]
    pub weights: Option<Weights>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Kind {
    Safetensors,
    Pt,
    Onnx,
}

impl Kind {
    fn extension(self) -> &'static str {
        match self {
            Kind::Safetensors => Format::Safetensors.extension(),
            Kind::Pt => Format::Pt.extension(),
            Kind::Onnx => onnx::EXTENSION,
        }
    }

    /// `data_name`: a file for the weights of an ONNX graph.
    fn encode(
        self,
        reader: &Reader,
        weights: StateDict,
        data_name: Option<&str>,
    ) -> Result<Encoded> {
        let alone = |model| Encoded { model, data: None };
        match self {
            Kind::Safetensors => Format::Safetensors.encode(&weights).map(alone),
            Kind::Pt => Format::Pt.encode(&weights).map(alone),
            Kind::Onnx => {
                let config = trained::plan::<Settings>(reader)?.config;
                let model = checkpoint::model_shape(reader, &config)?;
                checkpoint::check_model(reader, &model)?;
                let about = vec![
                    ("canvas", config.data.canvas.to_string()),
                    ("step", reader.meta.state.step.to_string()),
                ];
                let packed = config.data.layout != RowLayout::Padded;
                onnx::encode(&model, weights, about, packed, data_name)
            }
        }
    }
}

pub fn run(args: Export) -> Result<()> {
    if args.to == Kind::Onnx && args.dtype != Precision::F32 {
        return Err(Error::invalid("ONNX files compute in f32: leave --dtype out"));
    }
    if args.to != Kind::Onnx && args.external_data {
        return Err(Error::invalid("--external-data is for --to onnx"));
    }
    if args.program.is_some() && (args.to != Kind::Pt || args.dtype != Precision::F32) {
        return Err(Error::invalid("--for writes what torch.save would: --to pt, without --dtype"));
    }
    let (reader, run_dir) = trained::find(&args.path)?;
    let is_autoencoder = Plan::<DistillConfig>::parse(&reader.meta.plan).is_ok();
    if is_autoencoder && args.to == Kind::Onnx {
        let what = "autoencoders of hrm distill are not written as ONNX: --to pt or safetensors";
        return Err(Error::corrupt(reader.path(), what));
    }
    let (mut weights, chosen) = match (is_autoencoder, args.model) {
        (true, _) if args.weights == Some(Weights::Averaged) => {
            let what = "autoencoders of hrm distill have no averaged weights: leave --weights out";
            return Err(Error::corrupt(reader.path(), what));
        }
        (true, side) => {
            (checkpoint::autoencoder(&reader, side.unwrap_or_default())?, Weights::Trained)
        }
        (false, Some(_)) => {
            let what = "--model chooses between student and teacher of hrm distill; this is a run \
                        of hrm train, which has one model";
            return Err(Error::corrupt(reader.path(), what));
        }
        (false, None) => {
            let chosen = args.weights.unwrap_or_else(|| Weights::of(&reader));
            (checkpoint::state_dict(&reader, chosen)?, chosen)
        }
    };
    if args.dtype == Precision::Bf16 {
        let tensors = weights.tensors.into_iter().map(|(name, t)| (name, t.rounded()));
        weights.tensors = tensors.collect();
    }
    if let Some(program) = args.program {
        return official::export(program, args, &reader, &run_dir, weights, chosen);
    }
    let output = match args.output {
        Some(output) => output,
        None => {
            let dir = run_dir.join("export");
            file::create_dir(&dir)?;
            let stem = reader.path().file_stem().unwrap_or_default();
            let teacher = if args.model == Some(Side::Teacher) { "-teacher" } else { "" };
            let stem = stem.to_string_lossy();
            dir.join(format!("{stem}{teacher}.{}", args.to.extension()))
        }
    };
    let (named, step) = (names_of(&weights), reader.meta.state.step);
    let mut data_path = output.clone().into_os_string();
    data_path.push(".data");
    let data_path = PathBuf::from(data_path);
    let data_name = data_path.file_name().map(|name| name.to_string_lossy());
    let data_name = data_name.as_deref().filter(|_| args.external_data);
    let file = args.to.encode(&reader, weights, data_name)?;
    if let Some(data) = &file.data {
        file::write(&data_path, data)?;
        outln!("{}: {} bytes of weights; keep it beside", data_path.display(), data.len());
    }
    file::write(&output, &file.model)?;
    let (path, name) = (output.display(), chosen.name());
    outln!("{path}: {} bytes, {name} weights of step {step}", file.model.len());
    if args.to != Kind::Onnx {
        outln!("{named}");
    }
    outln!("in Python:\n{}", snippet(args.to, &output));
    Ok(())
}

fn names_of(weights: &StateDict) -> String {
    let elems: usize = weights.tensors.iter().map(|(_, t)| t.shape.elems()).sum();
    let first: Vec<&str> = weights.tensors.iter().map(|(name, _)| name.as_str()).take(3).collect();
    format!("{} tensors, {elems} numbers: {}, ...", weights.tensors.len(), first.join(", "))
}

fn snippet(kind: Kind, path: &Path) -> String {
    let path = format!("{:?}", path.display().to_string());
    match kind {
        Kind::Safetensors => format!(
            "  from safetensors.torch import load_file\n  model.load_state_dict(load_file({path}))"
        ),
        Kind::Pt => format!(
            "  import torch\n  model.load_state_dict(torch.load({path}, weights_only=True)\
             [\"model_state_dict\"])"
        ),
        Kind::Onnx => format!(
            "  import onnxruntime\n  session = onnxruntime.InferenceSession({path})\n  \
             for x in session.get_inputs() + session.get_outputs():\n      \
             print(x.name, x.type, x.shape)"
        ),
    }
}
