//! What a run reports about itself, in formats that other programs read: `metrics.jsonl` for
//! scripts, TensorBoard events, a Weights & Biases offline run. [`Tracker`] writes every line to
//! all of them.

pub mod gpu;
pub mod jsonl;
pub mod system;
pub mod tensorboard;
pub mod wandb;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::Result;
use jsonl::Jsonl;
use system::System;
use tensorboard::Events;
use wandb::Wandb;

/// Time between looks at the machine.
const SYSTEM_EVERY: Duration = Duration::from_secs(10);

/// Takes lines that are shown to the user.
pub type Sink = Box<dyn FnMut(&str) -> Result<()>>;

/// A picture as the trackers take it.
pub struct Picture {
    pub png: Vec<u8>,
    pub width: u32,
    pub height: u32,
}

/// Shared with the log, whose lines are its output.
type SharedWandb = Rc<RefCell<Wandb>>;

pub struct Tracker {
    jsonl: Jsonl,
    events: Events,
    wandb: Option<SharedWandb>,
    system: System,
    sampled: Option<Instant>,
}

impl Tracker {
    /// Go on after `step`: lines of `metrics` that `keep` does not hold for are cut off, events of
    /// later steps are void.
    pub fn open(
        metrics: &Path,
        keep: impl Fn(&Value) -> bool,
        events: &Path,
        step: u64,
        wandb: Option<Wandb>,
    ) -> Result<Self> {
        Ok(Self {
            jsonl: Jsonl::open(metrics, keep)?,
            events: Events::create(events, step)?,
            wandb: wandb.map(|wandb| Rc::new(RefCell::new(wandb))),
            system: System::new(Some(std::process::id())),
            sampled: None,
        })
    }

    /// One line of metrics; it has a `step`.
    pub fn write(&mut self, line: Map<String, Value>) -> Result<()> {
        let step = line.get("step").and_then(Value::as_u64).unwrap_or(0);
        let scalars = line.iter().filter_map(|(key, value)| Some((tag(key)?, value.as_f64()?)));
        let scalars: Vec<(String, f64)> = scalars.collect();
        self.events.scalars(step, scalars.iter().map(|(tag, x)| (tag.as_str(), *x)))?;
        if let Some(wandb) = &self.wandb {
            wandb.borrow_mut().history(step, &line)?;
        }
        self.jsonl.write(line)?;
        self.write_system(step)
    }

    /// The load of the machine, if the last look is long enough ago.
    fn write_system(&mut self, step: u64) -> Result<()> {
        if self.sampled.is_some_and(|at| at.elapsed() < SYSTEM_EVERY) {
            return Ok(());
        }
        self.sampled = Some(Instant::now());
        let load = self.system.sample().metrics();
        let tagged = load.iter().map(|(name, x)| (format!("system/{name}"), *x));
        let tagged: Vec<(String, f64)> = tagged.collect();
        self.events.scalars(step, tagged.iter().map(|(tag, x)| (tag.as_str(), *x)))?;
        self.wandb.as_ref().map_or(Ok(()), |wandb| wandb.borrow_mut().system(&load))
    }

    /// A picture beside the curves; `key` is named as a metric would be.
    pub fn picture(&mut self, step: u64, key: &str, picture: &Picture) -> Result<()> {
        if let Some(tag) = tag(key) {
            self.events.image(step, &tag, picture)?;
        }
        match &self.wandb {
            Some(wandb) => wandb.borrow_mut().image(step, key, picture),
            None => Ok(()),
        }
    }

    /// What is shown to the user goes here too.
    pub fn output(&self) -> Option<Sink> {
        let wandb = self.wandb.clone()?;
        Some(Box::new(move |text| wandb.borrow_mut().output(text)))
    }

    /// Metrics to the disk itself.
    pub fn sync(&self) -> Result<()> {
        self.jsonl.sync()
    }

    /// The run ended, one way or the other.
    pub fn finish(&mut self, exit_code: i32) -> Result<()> {
        self.wandb.as_ref().map_or(Ok(()), |wandb| wandb.borrow_mut().finish(exit_code))
    }
}

/// TensorBoard groups by what stands before the slash. `None`: an axis, not a curve.
fn tag(key: &str) -> Option<String> {
    match key.strip_prefix("val_") {
        _ if key == "step" => None,
        Some(name) => Some(format!("val/{name}")),
        None => Some(format!("train/{key}")),
    }
}
