//! Opens what a run is tracked by: the plan as its configuration, the run folder as its name.

use serde_json::{Map, Value};

use super::folder::RunFolder;
use super::log::Log;
use super::plan::Plan;
use super::signal::EXIT_INTERRUPTED;
use crate::config::{RunConfig, flatten};
use crate::io::units::count;
use crate::track::Tracker;
use crate::track::wandb::{self, Identity, Wandb};
use crate::{Error, Result};

/// Go on after `step`; of `metrics.jsonl` only lines that `keep` holds for are meant. From here on
/// the log's lines are tracked too. Without a place for W&B's files a run goes on without them.
pub fn open<C: RunConfig>(
    plan: &Plan<C>,
    folder: &RunFolder,
    step: u64,
    keep: impl Fn(&Value) -> bool,
    log: &mut Log,
) -> Result<Tracker> {
    let name = folder.dir().file_name().unwrap_or(folder.dir().as_os_str());
    let mut config = Map::new();
    for (key, value) in flatten(&plan.table()?) {
        config.insert(key, serde_json::to_value(value).unwrap_or(Value::Null));
    }
    let (id, name) = (folder.id()?, name.to_string_lossy());
    let run = Identity { id: &id, name: &name, step, config: &config };
    let wandb = match wandb::root().map(|root| Wandb::create(&root, &run)).transpose() {
        Ok(wandb) => wandb,
        Err(e) => {
            log.say(&format!("warning: no W&B run is written: {e}"))?;
            None
        }
    };
    let tracker = Tracker::open(&folder.metrics(), keep, &folder.events(), step, wandb)?;
    log.also(tracker.output());
    Ok(tracker)
}

/// How all parts of the run's W&B files are sent, if there are any.
pub fn sync_line(folder: &RunFolder) -> Result<Option<String>> {
    let Some(root) = wandb::root() else { return Ok(None) };
    let id = folder.id()?;
    let parts = wandb::parts(&root, &id).unwrap_or(0);
    Ok((parts > 0).then(|| {
        let (root, parts) = (root.display(), count(parts, "part"));
        format!("W&B, all of it ({parts}): wandb sync {root}/offline-run-*-{id}")
    }))
}

/// What the process will end with.
pub fn exit_code<T>(outcome: &Result<T>) -> i32 {
    match outcome {
        Ok(_) => 0,
        Err(Error::Interrupted(_)) => EXIT_INTERRUPTED as i32,
        Err(_) => 1,
    }
}
