//! Raw command line flags; their doc comments are the help texts.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "hrm", version, about, max_term_width = 100, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Train(Train),
    Eval(Eval),
    Data(super::data::DataArgs),
    Digest(Digest),
    Devices(Devices),
}

/// Train a model; goes on by itself where the last run of the same plan stopped
///
/// A preset says what is trained on what; key=value changes any of its settings. Data that the
/// preset needs is fetched and built under data/ when it is missing. The run folder gets the plan,
/// metrics.jsonl, a log and checkpoints; after a crash, a kill or Ctrl-C the same command goes on
/// from the newest whole checkpoint, bit for bit.
#[derive(Debug, Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  hrm train                                    real ARC tasks, small model\n",
    "  hrm train sudoku-mini train.seed=7           a generated Sudoku, another seed\n",
    "  hrm train arc1 --data data/my-arc model.hidden_size=256 train.batch_size=64\n",
    "  hrm train --config my.toml --run-dir runs/a  settings from a file, a folder of its own\n",
    "\n",
    "Presets: arc-small (default), arc1, arc2, arc-legion, sudoku-extreme, maze-hard, sudoku-mini.\n",
    "A misspelt key is answered with the list of all keys.",
))]
pub struct Train {
    /// Preset (default: arc-small), then settings such as train.lr=1e-4
    #[arg(value_name = "PRESET | KEY=VALUE")]
    pub settings: Vec<String>,
    /// Folder of a built data set; default: what the preset needs, built when missing
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Run folder; default: the newest unfinished run of the same plan, else runs/PRESET-N
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Start anew; an old run in --run-dir is moved aside
    #[arg(long)]
    pub fresh: bool,
    /// CPU threads; default: all. The result does not depend on it
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// TOML file with settings, between the preset's and the command line's
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Score a checkpoint beside the identity baseline (the answer that copies the input)
///
/// Runs every example through all ACT steps and prints token, cell and exact accuracy, ARC pass@1 on
/// the tasks as published, ACT steps and time, each with what copying the input would score. Writes
/// eval.json, predictions.jsonl and pictures of right and wrong answers (input, expected, answered;
/// wrong cells are ringed).
#[derive(Debug, Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  hrm eval runs/arc-small-1                    the best checkpoint on the run's own test split\n",
    "  hrm eval runs/arc-small-1 --limit 200 --json tasks as published come first\n",
    "  hrm eval best.safetensors --data data/my-arc --output scores",
))]
pub struct Eval {
    /// Run folder (its best checkpoint is taken, else the final, else the newest) or checkpoint file
    #[arg(value_name = "RUN | CKPT")]
    pub path: PathBuf,
    /// Folder of a data set; default: the one that the run was trained on
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Split to evaluate
    #[arg(long, default_value = "test")]
    pub split: String,
    /// Examples at most, tasks as published before their variants; 0: all
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub limit: usize,
    /// Where files go; default: eval/ in the run folder
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Print JSON instead of the table
    #[arg(long)]
    pub json: bool,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// CPU threads; default: all. The result does not depend on it
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

/// Print one digest of a full training state
///
/// Covers every weight, moment, carry and counter; leaves out times, paths and cosmetic settings.
/// Equal digests mean that two runs are in the same state, bit for bit. The digest is the last word
/// of the last line.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  hrm digest runs/arc-small-1")]
pub struct Digest {
    /// Run folder (its newest whole checkpoint is taken) or checkpoint file
    #[arg(value_name = "RUN | CKPT")]
    pub path: PathBuf,
    /// One JSON object instead
    #[arg(long)]
    pub json: bool,
}

/// Show the devices that training can use, and what is missing
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  hrm devices --json")]
pub struct Devices {
    /// One JSON object instead
    #[arg(long)]
    pub json: bool,
}
