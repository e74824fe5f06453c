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
    Predict(super::predict::Predict),
    Export(super::export::Export),
    Import(super::import::Import),
    Data(super::data::DataArgs),
    Distill(super::distill::Distill),
    Serve(super::serve::Serve),
    Plan(PlanArgs),
    Bench(Bench),
    Digest(Digest),
    Devices(Devices),
    Watch(super::watch::Watch),
}

/// Train a model; goes on by itself where the last run of the same plan stopped
///
/// A preset says what is trained on what; key=value changes any of its settings. Data that the
/// preset needs is fetched and built under data/ when it is missing. The run folder gets the plan,
/// metrics.jsonl, TensorBoard events, a log and checkpoints; wandb/ gets a W&B offline run
/// (WANDB_MODE=disabled: none); after a crash, a kill or Ctrl-C the same command goes on
/// from the newest whole checkpoint, bit for bit.
#[derive(Debug, Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  hrm train                                    real ARC tasks, small model\n",
    "  hrm train sudoku-mini train.seed=7           a generated Sudoku, another seed\n",
    "  hrm train arc1 --data data/my-arc model.hidden_size=256 train.batch_size=64\n",
    "  hrm train arc1 --data data/my-arc --init imported.safetensors train.lr=1e-5    fine-tune\n",
    "  hrm train --config my.toml --run-dir runs/a  settings from a file, a folder of its own\n",
    "\n",
    "Presets: arc-small (default), arc1, arc2, arc-legion, sudoku-extreme, maze-hard, sudoku-mini (HRM);\n",
    "trm-arc1, trm-sudoku, trm-sudoku-mlp, trm-maze, trm-sudoku-mini (TRM); arc-full (the production run\n",
    "that this replaces), arc-simple (a plain transformer); both without dropout on attention probabilities.\n",
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
    /// A look at whether everything works, not a result: at most 40 steps of 8 rows on few variants, 16
    /// examples per evaluation. What the command line sets stays
    #[arg(long)]
    pub quick: bool,
    /// Start from the weights of this checkpoint, or of a run's best one, instead of random ones: to
    /// fine-tune what was trained here or came from hrm import
    #[arg(long, value_name = "RUN | CKPT")]
    pub init: Option<PathBuf>,
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
/// Runs every example through all ACT steps and prints token, cell and exact accuracy, ACT steps and
/// time. ARC: the answers to all variants of a task are undone and voted on (most votes, then mean
/// q_halt): pass@1, pass@2, solved tasks. Each score stands beside what copying the input would get.
/// Writes report.html (scores, what fails, curves, pictures; one file, no network), eval.json,
/// predictions.jsonl, submission.json for ARC Prize and two sheets of pictures. Ctrl-C keeps what was
/// answered; the same command goes on from there.
#[derive(Debug, Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  hrm eval runs/arc-small-1                    the best checkpoint on the run's own test split\n",
    "  hrm eval runs/arc-small-1 --variants 20      fewer votes, sooner\n",
    "  hrm eval runs/arc-small-1 --early-halt       also halting as in training: score and time of both\n",
    "  hrm eval runs/arc-small-1 --limit 200 --json tasks as published come first\n",
    "  hrm eval best.safetensors --data data/my-arc --output scores\n",
    "  hrm eval --predictions mine.jsonl --data data/my-arc    answers of any other program:\n",
    "      {\"example\": 0, \"puzzle\": \"00d62c1b\", \"answer\": [\"021\", \"330\"], \"q_halt\": 1.5}",
))]
pub struct Eval {
    /// Run folder (its best checkpoint is taken, else the final, else the newest) or checkpoint file
    #[arg(value_name = "RUN | CKPT", required_unless_present = "predictions")]
    pub path: Option<PathBuf>,
    /// Folder of a data set; default: the one that the run was trained on
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Split to evaluate
    #[arg(long, default_value = "test")]
    pub split: String,
    /// Examples at most, tasks as published before their variants; 0: all
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub limit: usize,
    /// Variants of each task at most that vote beside the task itself; default: all of the data set
    #[arg(long, value_name = "N")]
    pub variants: Option<usize>,
    /// Numbers of attempts to score beside 1 and 2, separated by commas
    #[arg(long, value_name = "K", value_delimiter = ',')]
    pub k: Vec<usize>,
    /// Answer everything a second time, each example halting as training would, and compare
    #[arg(long)]
    pub early_halt: bool,
    /// Also write what the answers were taken from, as safetensors: inputs, puzzle_identifiers, logits
    /// (example, cell, token), q_halt_logits and q_continue_logits after the last ACT step
    #[arg(long, value_name = "FILE")]
    pub save_logits: Option<PathBuf>,
    /// Score the answers in this file instead of a model's: a JSON object per line, see the last
    /// example. Needs --data
    #[arg(long, value_name = "FILE", conflicts_with_all =
        ["path", "early_halt", "limit", "variants", "save_logits"])]
    pub predictions: Option<PathBuf>,
    /// Where files go; default: eval/ in the run folder, scores/ here for --predictions
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

/// Say what a run will need before it runs: memory by purpose, parameters, the largest batch, time
///
/// Memory is exact for everything that the engine allocates (the program itself, scratch of its threads
/// and a GPU driver's context come on top). For a CPU the step time is a lower bound, printed with the
/// measurement behind it. For a card it is a prediction from counted work, kernel by kernel, printed
/// with its formula and the card's published figures; no GPU is needed. A data set that is not built
/// yet is taken at its published size.
#[derive(Debug, Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  hrm plan arc-small\n",
    "  hrm plan arc1 --card 4090                     memory, largest batch and step time on that card\n",
    "  hrm plan sudoku-extreme --card h100 --json    every kernel, for scripts\n",
    "  hrm plan arc1 train.precision=f32 --data data/my-arc --vram 16GiB",
))]
pub struct PlanArgs {
    /// Preset (default: arc-small), then settings such as train.batch_size=64
    #[arg(value_name = "PRESET | KEY=VALUE")]
    pub settings: Vec<String>,
    /// Folder of a built data set; default: what the preset has built under data/, else published sizes
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// cpu (default), or cuda: the CUDA engine on the card of --card
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Card to predict for: 4090 (default with --device cuda), 4090-laptop, h100, h200
    #[arg(long, value_name = "CARD")]
    pub card: Option<String>,
    /// Puzzle ids, variants included, when no data set is there to count them
    #[arg(long, value_name = "N", conflicts_with = "data")]
    pub puzzles: Option<usize>,
    /// Memory that the run may take; default: the card's, or what is available here
    #[arg(long, value_name = "SIZE", value_parser = super::plan_command::parse_bytes)]
    pub vram: Option<usize>,
    /// CPU threads of the speed measurement; default: all
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// TOML file with settings, between the preset's and the command line's
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One JSON object instead
    #[arg(long)]
    pub json: bool,
}

/// Time the whole training step in f32 and bf16, beside PyTorch where it is installed
///
/// Shapes of the official model. Each variant runs in a process of its own; the median step and the peak
/// of memory are reported (resident on the CPU, allocated on a GPU), and how many times faster than the
/// best PyTorch variant it is. Leave the machine alone meanwhile. A simulated GPU is refused.
#[derive(Debug, Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  hrm bench                        all shapes, with PyTorch (minutes: it compiles)\n",
    "  hrm bench --quick --no-python    three steps of each\n",
    "  hrm bench --shape b32-s81-h128 --json\n",
    "  hrm bench --device cuda          shapes for a GPU, against PyTorch on the same GPU\n",
    "Shapes: b32-s81-h128, b8-s81-h512, b2-s900-h128; for a GPU b256-s81-h512, b16-s900-h512;\n",
    "arc-full-b2: arc-full's model at batch 2 beside nn.TransformerEncoderLayer (minutes, 14 GB).",
))]
pub struct Bench {
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Shapes, separated by commas; default: those for the device
    #[arg(long, value_name = "SHAPE", value_delimiter = ',')]
    pub shape: Vec<String>,
    /// 3 steps instead of 9, and of PyTorch the eager variants only
    #[arg(long)]
    pub quick: bool,
    /// Leave PyTorch out
    #[arg(long)]
    pub no_python: bool,
    /// CPU threads; default: all
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// JSON on stdout
    #[arg(long)]
    pub json: bool,
    /// One variant in this process
    #[arg(long, value_name = "SHAPE/DTYPE", hide = true)]
    pub one: Option<String>,
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
