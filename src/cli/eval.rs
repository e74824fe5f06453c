//! `hrm eval`: a checkpoint's answers, scored beside the identity baseline.

use std::path::{Path, PathBuf};

use super::args;
use super::plan::{device, start_threads};
use crate::backend::Device;
use crate::config::DistillConfig;
use crate::data::DataSet;
use crate::data::progress::Progress;
use crate::eval::{self, Report};
use crate::train::checkpoint::{Folder, Reader, load_model, model_config};
use crate::train::plan::Plan;
use crate::train::run_folder::CHECKPOINTS;
use crate::{Error, Result};

/// Where a run keeps its evaluation.
pub const FOLDER: &str = "eval";

/// What to evaluate, and where to put it.
pub struct Job<'a> {
    pub data: &'a DataSet,
    pub split: &'a str,
    /// Examples at most, tasks as published first; 0: all.
    pub limit: usize,
    pub output: &'a Path,
}

pub fn run(args: args::Eval) -> Result<()> {
    let (device, _) = device(&args.device)?;
    start_threads(args.threads)?;
    let (reader, run_dir) = open(&args.path)?;
    let data_dir = match args.data {
        Some(dir) => dir,
        None => plan(&reader)?.data_dir,
    };
    let data = DataSet::open(&data_dir)?;
    let output = args.output.unwrap_or_else(|| run_dir.join(FOLDER));
    let job = Job { data: &data, split: &args.split, limit: args.limit, output: &output };
    let (step, file) = (reader.meta.state.step, reader.path().display());
    eprintln!("{file}: step {step}");
    let report = checkpoint(&reader, &device, &job)?;
    if args.json {
        let json = serde_json::to_string_pretty(&report);
        outln!("{}", json.map_err(|e| Error::invalid(format!("evaluation: {e}")))?);
    } else {
        out!("{}", report.table());
    }
    eprintln!("pictures, predictions and eval.json: {}", output.display());
    Ok(())
}

/// Evaluate one checkpoint and write the files.
pub fn checkpoint(reader: &Reader, device: &Device, job: &Job) -> Result<Report> {
    let config = plan(reader)?.config;
    let shape = model_config(reader, &config)?;
    eval::run::check_data(&shape.dims(), Some(&reader.meta.state.data_digest), job.data)?;
    let examples = eval::select(job.data, job.split, job.limit)?;
    let model = load_model(reader, &config, &shape, device)?;
    let evaluation = eval::evaluate(&*model, job.data, job.split, &examples, Progress::Shown)?;
    let report = eval::report(job.data, &evaluation)?;
    report.write(job.output, job.data, &evaluation)?;
    Ok(report)
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
