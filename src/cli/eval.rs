//! `hrm eval`: answers of a checkpoint or of a file, scored beside the identity baseline.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;

use super::common::{Compute, device, start_threads};
use crate::backend::Device;
use crate::config::DistillConfig;
use crate::data::DataSet;
pub use crate::eval::page::FILE as PAGE;
use crate::eval::{self, Curve, Evaluator, Halt, Heading, Report, Request, predictions};
use crate::io::progress::Progress;
use crate::models::Model;
use crate::run::checkpoint::{Folder, Reader, load_model, model_config};
use crate::run::folder::CHECKPOINTS;
use crate::run::plan::Plan;
use crate::run::signal;
use crate::watch::run::Run;
use crate::{Error, Result};

/// Where a run keeps its evaluation.
pub const FOLDER: &str = "eval";
/// Where scores of a file go by default.
const SCORES: &str = "scores";
/// Attempts that are always scored: one, and the two that ARC grants.
const ATTEMPTS: [usize; 2] = [1, 2];

/// Figures of the report, and the metrics in each.
const CURVES: [(&str, &[&str]); 4] = [
    ("loss per example", &["lm_loss", "val_lm_loss"]),
    ("token accuracy", &["accuracy", "val_accuracy"]),
    ("exact", &["exact_accuracy", "val_exact_accuracy"]),
    ("ACT steps", &["act_steps"]),
];

/// What to evaluate, and where to put it.
pub struct Job<'a> {
    pub data: &'a DataSet,
    pub split: &'a str,
    /// Examples at most, tasks as published first; 0: all.
    pub limit: usize,
    /// Variants of a task at most.
    pub variants: usize,
    pub early_halt: bool,
    /// Numbers of attempts to score.
    pub ks: Vec<usize>,
    /// Whether it may be interrupted and gone on with.
    pub resumable: bool,
    /// A file for what the answers are taken from.
    pub save_logits: Option<&'a Path>,
    pub output: &'a Path,
}

impl<'a> Job<'a> {
    /// Everything, once, as the reference evaluates.
    pub fn new(data: &'a DataSet, split: &'a str, output: &'a Path) -> Self {
        let ks = ATTEMPTS.to_vec();
        let (limit, variants) = (0, usize::MAX);
        let (early_halt, resumable, save_logits) = (false, false, None);
        Self { data, split, limit, variants, early_halt, ks, resumable, save_logits, output }
    }
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
    eprintln!("to look at: {}", output.join(PAGE).display());
    Ok(())
}

fn from_checkpoint(path: &Path, args: &Eval, ks: Vec<usize>) -> Result<(Report, PathBuf)> {
    let (device, _) = device(&args.compute.device)?;
    let (reader, run_dir) = open(path)?;
    let data_dir = match &args.data {
        Some(dir) => dir.clone(),
        None => plan(&reader)?.data_dir,
    };
    let data = DataSet::open(&data_dir)?;
    let output = args.output.clone().unwrap_or_else(|| run_dir.join(FOLDER));
    let job = Job {
        limit: args.limit,
        variants: args.variants.unwrap_or(usize::MAX),
        early_halt: args.early_halt,
        ks,
        resumable: true,
        save_logits: args.save_logits.as_deref(),
        ..Job::new(&data, &args.split, &output)
    };
    let (step, file) = (reader.meta.state.step, reader.path().display());
    eprintln!("{file}: step {step}");
    signal::install()?;
    Ok((checkpoint(&reader, &device, &run_dir, &job)?, output))
}

/// Scores what a file says was answered.
fn from_file(file: &Path, args: &Eval, ks: &[usize]) -> Result<(Report, PathBuf)> {
    let dir = args.data.as_ref().ok_or_else(|| {
        Error::invalid("--predictions needs --data DIR: the data set that was answered")
    })?;
    let data = DataSet::open(dir)?;
    let evaluation = predictions::read(file, &data, &args.split)?;
    let report = eval::report(&data, &evaluation, None, ks)?;
    let output = args.output.clone().unwrap_or_else(|| SCORES.into());
    let heading = Heading { title: file.display().to_string(), curves: vec![] };
    report.write(&output, &data, &evaluation, &heading)?;
    Ok((report, output))
}

/// Evaluate one checkpoint of the run in `run_dir` and write the files.
pub fn checkpoint(reader: &Reader, device: &Device, run_dir: &Path, job: &Job) -> Result<Report> {
    let Job { data, split, .. } = *job;
    let config = plan(reader)?.config;
    let shape = model_config(reader, &config)?;
    eval::run::check_data(&shape.dims(), Some(&reader.meta.state.data_digest), data)?;
    let examples = eval::select_variants(data, split, job.limit, job.variants)?;
    let model = load_model(reader, &config, &shape, device)?;
    let evaluator = Evaluator::new(&*model)?;
    let weights = if job.resumable { Some(reader.digest()?) } else { None };
    let kept = |halt| job.output.join(format!("answers-{}.partial", word(halt)));
    let answer = |halt| {
        let request = Request { data, split, examples: &examples, halt, progress: Progress::Shown };
        let path = kept(halt);
        let key = weights.map(|weights| key(weights, &*model, &request));
        let saved = key.as_ref().map(|key| (path.as_path(), key.as_str()));
        let stop = || job.resumable && signal::asked_to_stop();
        evaluator.run(&*model, request, saved, stop)?.ok_or_else(|| {
            Error::Interrupted(format!(
                "interrupted; what was answered is in {}: the same command goes on from there",
                path.display()
            ))
        })
    };
    let evaluation = answer(Halt::Last)?;
    let early = if job.early_halt { Some(answer(Halt::Early)?) } else { None };
    let report = eval::report(data, &evaluation, early.as_ref(), &job.ks)?;
    let heading = Heading {
        title: format!("{}, step {}", reader.path().display(), reader.meta.state.step),
        curves: curves(run_dir),
    };
    report.write(job.output, data, &evaluation, &heading)?;
    if let Some(file) = job.save_logits {
        super::logits::save(&*model, &evaluator, data, split, &examples, file)?;
    }
    if job.resumable {
        for halt in [Halt::Last, Halt::Early] {
            eval::saved::remove(&kept(halt))?;
        }
    }
    Ok(report)
}

fn word(halt: Halt) -> &'static str {
    match halt {
        Halt::Last => "all",
        Halt::Early => "early",
    }
}

/// Everything that the answers depend on.
fn key(weights: blake3::Hash, model: &dyn Model, request: &Request) -> String {
    let mut hash = blake3::Hasher::new();
    let data = request.data.digest();
    let (dtype, device) = (model.dtype(), model.device().kind());
    let (split, halt) = (request.split, word(request.halt));
    let words = format!("{weights} {data} {dtype} {device:?} {halt} {split}");
    hash.update(words.as_bytes());
    request.examples.iter().for_each(|example| {
        hash.update(&example.to_le_bytes());
    });
    hash.finalize().to_hex().to_string()
}

/// The metrics of a run, as far as there are any: a checkpoint may lie anywhere.
fn curves(run_dir: &Path) -> Vec<Curve> {
    let Ok(run) = Run::open(run_dir) else { return vec![] };
    let curve = |(title, names): &(&str, &[&str])| {
        let series = names.iter();
        let series = series.filter_map(|name| Some((name.to_string(), run.series(name)?.points())));
        Curve { title: title.to_string(), series: series.collect() }
    };
    CURVES.iter().map(curve).collect()
}

/// The plan that a checkpoint of `hrm train` carries.
pub(super) fn plan(reader: &Reader) -> Result<Plan> {
    Plan::parse(&reader.meta.plan).map_err(|e| {
        match Plan::<DistillConfig>::parse(&reader.meta.plan) {
            Ok(_) => Error::invalid(format!(
                "{}: this is a run of hrm distill; to score it: hrm distill test CKPT",
                reader.path().display()
            )),
            Err(_) => e,
        }
    })
}

/// A checkpoint file, or a run folder's best one (else the final, else the newest), and the run's
/// folder.
pub(super) fn open(path: &Path) -> Result<(Reader, PathBuf)> {
    if !path.is_dir() {
        let dir = path.parent().unwrap_or(Path::new(""));
        let run_dir = if dir.ends_with(CHECKPOINTS) { dir.parent().unwrap_or(dir) } else { dir };
        return Ok((Reader::open(path)?, run_dir.to_owned()));
    }
    let folder = Folder::new(path.join(CHECKPOINTS));
    for named in [folder.best(), folder.r#final()] {
        if named.exists() {
            return Ok((Reader::open(&named)?, path.to_owned()));
        }
    }
    let newest = folder.newest(|line| eprintln!("warning: {line}"))?;
    let newest = newest.ok_or_else(|| {
        Error::invalid(format!("{}: there is no checkpoint in this folder", path.display()))
    })?;
    Ok((newest, path.to_owned()))
}
