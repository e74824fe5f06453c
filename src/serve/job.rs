//! A task that was handed in, from waiting to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;

use crate::data::Task;
use crate::solve::Outcome;

pub struct Job {
    pub id: String,
    pub task: Arc<Task>,
    pub budget: Duration,
    pub phase: Phase,
    pub used: Instant,
    /// Handlers that wait for the end.
    pub waited: usize,
}

pub enum Phase {
    Waiting,
    Running { since: Instant, part: Part, part_since: Instant },
    Done(Box<Outcome>),
    Failed(String),
}

/// How far a part of the work is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Progress")]
pub struct Part {
    pub phase: &'static str,
    pub done: usize,
    pub of: usize,
}

impl Job {
    pub fn ended(&self) -> bool {
        matches!(self.phase, Phase::Done(_) | Phase::Failed(_))
    }
}
