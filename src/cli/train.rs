//! `hrm train`: plan, run folder, loop, closing lines.

use std::path::Path;

use super::args;
use super::eval::{self, Job};
use super::machine;
use super::plan::{Planned, plan};
use super::plan_command::does_not_fit;
use super::quick;
use crate::run::checkpoint::Reader;
use crate::run::folder::RunFolder;
use crate::run::log::Log;
use crate::run::signal;
use crate::train::{needed::Needed, run, setup, validate};
use crate::{Error, Result};

/// Examples that the closing evaluation answers at most; `hrm eval` answers all.
const CLOSING_EXAMPLES: usize = 1_000;

/// Where runs without a name live.
const RUNS: &str = "runs";

pub fn run(args: args::Train) -> Result<()> {
    let Planned { plan, data, device } = plan(&args)?;
    // From here on there is something to save; before, a signal just ends the process.
    signal::install()?;
    let named = args.run_dir.as_deref();
    let folder = RunFolder::choose(Path::new(RUNS), named, args.fresh, &plan)?;
    let mut log = Log::open(&folder.log())?;
    log.say(&format!("hrm train: run folder {}", folder.dir().display()))?;
    log.say(&plan.summary()?)?;
    let model = crate::run::model::model(&plan.config, &data);
    let needed = Needed::of(device.kind(), &model, setup::options(&plan.config))?;
    let mib = needed.total_bytes() as f64 / (1 << 20) as f64;
    log.say(&format!("memory of a training step: {mib:.0} MiB"))?;
    let room = match device.as_cuda() {
        Some(cuda) => Some((cuda.card().free_bytes, "the card's free memory")),
        None => machine::memory_bytes().map(|(_, available)| (available, "memory available here")),
    };
    if let Some(room) = room.filter(|(bytes, _)| *bytes < needed.total_bytes()) {
        let (kind, options) = (device.kind(), setup::options(&plan.config));
        return Err(does_not_fit(kind, &model, options, needed.total_bytes(), room)?);
    }
    device.reserve(needed.total_bytes())?;
    let outcome = run::run(&plan, &folder, data.clone(), &device, &mut log)?;
    if signal::asked_to_stop() {
        let dir = folder.dir().display();
        return Err(Error::Interrupted(format!(
            "interrupted; training is complete and saved. To see its result: hrm eval {dir}"
        )));
    }
    signal::stop_at_once_from_now_on();
    if outcome.best_val_loss.is_finite() {
        let (step, loss) = (outcome.best_step, outcome.best_val_loss);
        log.say(&format!("best validation loss {loss:.4} at step {step}"))?;
    }
    if data.split(validate::SPLIT).is_ok_and(|s| s.examples() > 0) {
        let best = folder.checkpoints.best();
        let path = if best.exists() { &best } else { &outcome.checkpoint };
        let reader = Reader::open(path)?;
        let output = folder.dir().join(eval::FOLDER);
        let split = validate::SPLIT;
        let limit = if args.quick { quick::EXAMPLES as usize } else { CLOSING_EXAMPLES };
        let job = Job { limit, ..Job::new(&data, split, &output) };
        let report = eval::checkpoint(&reader, &device, folder.dir(), &job)?;
        log.say(&format!("{}: step {}", path.display(), reader.meta.state.step))?;
        log.say(report.table().trim_end())?;
        log.say(&format!("to look at: {}", output.join(eval::PAGE).display()))?;
    }
    log.say(&format!("done: step {}, {}", outcome.step, outcome.checkpoint.display()))
}
