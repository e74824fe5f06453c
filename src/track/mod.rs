//! What a run reports about itself, in formats that other programs read: `metrics.jsonl` for scripts,
//! TensorBoard events, a Weights & Biases offline run. [`Tracker`] writes every line to all of them.

pub mod jsonl;
pub mod system;
pub mod tensorboard;
pub mod wandb;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use serde_json::{Map, Value};

use crate::Result;
use jsonl::Jsonl;
use system::System;
use tensorboard::Events;
use wandb::Wandb;

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
            system: System::new(),
        })
    }

    /// One line of metrics; it has a `step`.
    pub fn write(&mut self, line: Map<String, Value>) -> Result<()> {
        let step = line.get("step").and_then(Value::as_u64).unwrap_or(0);
        let scalars = line.iter().filter_map(|(key, value)| Some((tag(key)?, value.as_f64()?)));
        let scalars: Vec<(String, f64)> = scalars.collect();
        self.events.scalars(step, scalars.iter().map(|(tag, x)| (tag.as_str(), *x)))?;
        if let Some(wandb) = &self.wandb {
            let mut wandb = wandb.borrow_mut();
            wandb.history(step, &line)?;
            if let Some(load) = self.system.due() {
                wandb.system(&load)?;
            }
        }
        self.jsonl.write(line)
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
