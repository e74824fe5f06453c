//! `hrm distill`: plan, run folder, loop, closing scores; `hrm distill test`.

mod args;
pub mod dataset;
mod score;

use std::path::{Path, PathBuf};

pub use args::{Distill, DistillCommand};

use super::common::{device, start_threads};
use crate::backend::DeviceKind;
use crate::config::{DistillConfig, Merged};
use crate::data::images::ImageSet;
use crate::io::progress::Progress;
use crate::run::folder::{EVALUATION, RunFolder};
use crate::run::log::Log;
use crate::run::plan::Plan;
use crate::run::trained::Trained;
use crate::run::{signal, tracking};
use crate::train::distill::{Distillation, Length, Needed, Options, Trainer};
use crate::train::run;
use crate::{Error, Result};

/// Where runs without a name live.
const RUNS: &str = "runs";

pub fn run(args: Distill) -> Result<()> {
    match args.command {
        Some(DistillCommand::Test(args)) => score::run(args),
        None => train(&args),
    }
}

fn train(args: &Distill) -> Result<()> {
    let (device, device_name) = device(&args.compute.device)?;
    let config = configured(args, device.kind())?;
    let threads = start_threads(args.compute.threads)?;
    let set = dataset::read(&config.data, Progress::Shown)?;
    let data_dir = PathBuf::from(&config.data.dataset);
    let products = device.products();
    let mut plan = Plan { config, data_dir, device: device_name, threads, products, init: None };
    // From here on there is something to save; before, a signal just ends the process.
    signal::install()?;
    let (root, named) = (Path::new(RUNS), args.run_dir.as_deref());
    let folder = RunFolder::choose(root, named, args.fresh, &mut plan, &[])?;
    let mut log = Log::open(&folder.log())?;
    log.say(&format!("hrm distill: run folder {}", folder.dir().display()))?;
    log.say(&plan.summary()?)?;
    log.say(&sizes(&plan, &set))?;
    let options = Options::of(&plan.config, Length::of(&plan.config, set.train.n).batch);
    let bytes = Needed::of(device.kind(), &options)?.memory.total_bytes();
    log.say(&format!("memory of a training step: {:.0} MiB", bytes as f64 / (1 << 20) as f64))?;
    device.reserve(bytes)?;
    let trainer = Trainer::new(&device, options)?;
    let learner = Distillation::new(&plan.config, &set, trainer);
    let outcome = run::run(&plan, &folder, learner, &mut log)?;
    if signal::asked_to_stop() {
        let dir = folder.dir().display();
        return Err(Error::Interrupted(format!(
            "interrupted; training is complete and saved. To see its result: hrm distill test {dir}"
        )));
    }
    signal::stop_at_once_from_now_on();
    let (step, mse) = (outcome.best_step, outcome.best_val_loss);
    log.say(&format!("best test MSE {mse:.6} at step {step}"))?;
    let path = folder.checkpoints.found_best()?.unwrap_or(outcome.checkpoint.clone());
    let output = folder.dir().join(EVALUATION);
    let job = score::Job { set: &set, output: &output, device: &device, progress: Progress::Shown };
    let report = score::score(&Trained::open(&path)?, &[], &job)?;
    log.say(&format!("{}: step {}", path.display(), report.step))?;
    log.say(report.table().trim_end())?;
    log.say(&format!("pictures and distill.json: {}", output.display()))?;
    if let Some(line) = tracking::sync_line(&folder)? {
        log.say(&line)?;
    }
    log.say(&format!("done: step {}, {}", outcome.step, outcome.checkpoint.display()))
}

/// The configuration of preset, file, settings and flags; a path in it is absolute.
fn configured(args: &Distill, device: DeviceKind) -> Result<DistillConfig> {
    let (preset, mut command_line) = args.settings.split()?;
    let epochs = [("train.epochs", args.epochs), ("train.teacher_epochs", args.teacher_epochs)];
    for (key, value) in epochs {
        if let Some(value) = value {
            command_line.set(key, value.to_string());
        }
    }
    if let Some(dataset) = &args.dataset {
        command_line.set("data.dataset", dataset.clone());
    }
    let merged = Merged::of(preset, args.settings.config.as_deref(), &command_line)?;
    let mut config: DistillConfig = merged.on(device).config()?;
    config.data.dataset = dataset::absolute(&config.data.dataset)?;
    Ok(config)
}

fn sizes(plan: &Plan<DistillConfig>, set: &ImageSet) -> String {
    let length = Length::of(&plan.config, set.train.n);
    let Length { batch, teacher_steps, student_steps, .. } = length;
    format!(
        "{} training and {} test images; {teacher_steps} steps of the teacher, {student_steps} of \
         the student, {batch} images each",
        set.train.n, set.test.n
    )
}
