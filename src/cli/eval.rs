//! `hrm eval`: answers of a checkpoint or of a file, scored beside the identity baseline.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;

use super::common::{Compute, device, start_threads};
use super::rollouts::RolloutArgs;
use crate::data::DataSet;
use crate::eval::job::{ATTEMPTS, Job};
pub use crate::eval::page::FILE as PAGE;
use crate::eval::{self, Curve, Halt, Heading, Report, Rules, predictions};
use crate::io::say::say;
use crate::run::folder::EVALUATION;
use crate::run::signal;
use crate::run::trained::Trained;
use crate::watch::run::RunView;
use crate::{Error, Result};

/// Where scores of a file go by default.
const SCORES: &str = "scores";

/// Figures of the report, and the metrics in each.
const CURVES: [(&str, &[&str]); 4] = [
    ("loss per example", &["lm_loss", "val_lm_loss"]),
    ("token accuracy", &["accuracy", "val_accuracy"]),
    ("exact", &["exact_accuracy", "val_exact_accuracy"]),
    ("ACT steps", &["act_steps"]),
];

/// Score a checkpoint beside the identity baseline (the answer that copies the input)
///
/// Runs every example through all ACT steps and prints token, cell and exact accuracy, ACT steps
/// and time. ARC: the answers to all variants of a task are undone and voted on (most votes, then
/// mean q_halt): pass@1, pass@2, solved tasks. Each score stands beside what copying the input
/// would get. Writes report.html (scores, what fails, curves, pictures; one file, no network),
/// eval.json, predictions.jsonl, submission.json for ARC Prize and two sheets of pictures. Ctrl-C
/// keeps what was answered; the same command goes on from there.
#[derive(Debug, Args)]
#[command(after_long_help = concat!(
    "Examples:\n",
    "  hrm eval runs/arc-small-1                    the best checkpoint on the run's own test split\n",
    "  hrm eval runs/arc-small-1 --variants 20      fewer votes, sooner\n",
    "  hrm eval runs/arc-small-1 --early-halt       also halting as in training: score and time of both\n",
    "  hrm eval runs/sudoku-mini-1 --rollouts 25    more trajectories where the first is in doubt\n",
    "  hrm eval runs/arc-small-1 --limit 200 --json tasks as published come first\n",
    "  hrm eval best.safetensors --data data/my-arc --output scores\n",
    "  hrm eval --predictions mine.jsonl --data data/my-arc    answers of any other program:\n",
    "      {\"example\": 0, \"puzzle\": \"00d62c1b\", \"answer\": [\"021\", \"330\"], \"q_halt\": 1.5}\n",
    "  hrm eval --predictions submission.json --data data/my-arc    two attempts per test input (Kaggle);\n",
    "      its *_solutions.json too",
))]
pub struct Eval {
    /// Run folder (its best checkpoint is taken, else the final, else the newest) or checkpoint
    /// file
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
    /// Count an answer that shows no grid as a vote for the empty one, as the official evaluation
    /// does; otherwise it is no vote
    #[arg(long)]
    pub count_empty: bool,
    /// Answer everything a second time, each example halting as training would, and compare
    #[arg(long)]
    pub early_halt: bool,
    #[command(flatten)]
    pub rollouts: RolloutArgs,
    /// Also write what the answers were taken from, as safetensors: examples (numbers in the
    /// split, in the order answered: tasks as published first), inputs, labels, puzzle_identifiers,
    /// logits (example, cell, token), q_halt_logits and q_continue_logits after the last ACT step
    #[arg(long, value_name = "FILE")]
    pub save_logits: Option<PathBuf>,
    /// Score the answers in this file instead of a model's: a JSON object per line, or a
    /// submission.json of ARC Prize; see the last examples. Needs --data
    #[arg(long, value_name = "FILE", conflicts_with_all =
        ["path", "early_halt", "limit", "variants", "save_logits", "rollouts", "segments"])]
    pub predictions: Option<PathBuf>,
    /// Where files go; default: eval/ in the run folder, scores/ here for --predictions
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Print JSON instead of the table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub compute: Compute,
}

pub fn run(args: Eval) -> Result<()> {
    start_threads(args.compute.threads)?;
    let ks: BTreeSet<usize> = ATTEMPTS.into_iter().chain(args.k.iter().copied()).collect();
    let ks: Vec<usize> = ks.into_iter().collect();
    if ks[0] == 0 {
        return Err(Error::invalid("--k 0: at least one attempt is needed"));
    }
    let (report, output) = match (&args.predictions, &args.path) {
        (Some(file), None) => from_file(file, &args, &ks)?,
        (None, Some(path)) => from_checkpoint(path, &args, ks)?,
        _ => {
            let what = "name a run folder or checkpoint, or --predictions FILE with --data DIR";
            return Err(Error::invalid(what));
        }
    };
    if args.json {
        let json = serde_json::to_string_pretty(&report);
        outln!("{}", json.map_err(|e| Error::invalid(format!("evaluation: {e}")))?);
    } else {
        out!("{}", report.table());
    }
    say!("to look at: {}", output.join(PAGE).display());
    Ok(())
}

fn from_checkpoint(path: &Path, args: &Eval, ks: Vec<usize>) -> Result<(Report, PathBuf)> {
    let (device, _) = device(&args.compute.device)?;
    let trained = Trained::open(path)?;
    let data = trained.data(args.data.as_deref())?;
    let output = args.output.clone().unwrap_or_else(|| trained.run_dir.join(EVALUATION));
    let halt = args.rollouts.halt(trained.shape()?.dims(), data.kind());
    if halt != Halt::Last && (args.early_halt || args.save_logits.is_some()) {
        return Err(Error::invalid(
            "--early-halt and --save-logits are of the answers without --rollouts and --segments",
        ));
    }
    let job = Job {
        halt,
        limit: args.limit,
        variants: args.variants.unwrap_or(usize::MAX),
        early_halt: args.early_halt,
        ks,
        count_empty: args.count_empty,
        resumable: true,
        save_logits: args.save_logits.as_deref(),
        curves: curves(&trained.run_dir),
        ..Job::new(&data, &args.split, &output)
    };
    say!("{}: step {}", trained.reader.path().display(), trained.step());
    signal::install()?;
    Ok((job.run(&trained, &device)?, output))
}

/// Scores what a file says was answered.
fn from_file(file: &Path, args: &Eval, ks: &[usize]) -> Result<(Report, PathBuf)> {
    let dir = args.data.as_ref().ok_or_else(|| {
        Error::invalid("--predictions needs --data DIR: the data set that was answered")
    })?;
    let data = DataSet::open(dir)?;
    let rules = Rules { ks, count_empty: args.count_empty };
    let evaluation = predictions::read(file, &data, &args.split)?;
    let report = eval::report(&data, &evaluation, None, rules)?;
    let output = args.output.clone().unwrap_or_else(|| SCORES.into());
    let heading = Heading { title: file.display().to_string(), curves: vec![] };
    report.write(&output, &data, &evaluation, &heading)?;
    Ok((report, output))
}

/// The metrics of a run, as far as there are any: a checkpoint may lie anywhere.
pub fn curves(run_dir: &Path) -> Vec<Curve> {
    let Ok(run) = RunView::open(run_dir) else { return vec![] };
    let curve = |(title, names): &(&str, &[&str])| {
        let series = names.iter();
        let series = series.filter_map(|name| Some((name.to_string(), run.series(name)?.points())));
        Curve { title: title.to_string(), series: series.collect() }
    };
    CURVES.iter().map(curve).collect()
}
