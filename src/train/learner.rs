//! What the loop needs of whatever learns: its steps, its state, how it is validated, what is said
//! of it.

use serde_json::{Map, Value};

use crate::Result;
use crate::config::RunConfig;
use crate::data::Position;
use crate::run::checkpoint::{Named, State};
use crate::run::ledger::Policy;
use crate::run::log::Log;
use crate::track::Picture;

/// Steps count from 1; a `step` that is no argument's number is the last one that was booked.
pub trait Learner {
    type Config: RunConfig;
    /// What a picture of a validation is drawn from.
    type Answers;

    /// The metric that validations are compared by, as it is called in `metrics.jsonl`.
    const VALIDATION_KEY: &'static str;

    /// Whether another value of this key of the plan is another run.
    fn is_binding(key: &str) -> bool;

    fn policy(config: &Self::Config) -> Policy;

    /// Settings, as they are typed, under which a run may go on that came to numbers beyond all
    /// bounds.
    fn calmer(config: &Self::Config) -> Vec<String>;

    fn data_digest(&self) -> String;

    /// Steps of the whole run.
    fn total_steps(&self) -> u64;

    /// The last step of the phase that `step` belongs to: a line of metrics never spans two.
    fn phase_end(&self, _step: u64) -> u64 {
        self.total_steps()
    }

    /// All tensors that the run goes on from, by name.
    fn state(&self) -> Result<Vec<Named>>;

    /// Sums since the last line of metrics, as a checkpoint keeps them.
    fn pending(&self) -> Vec<f64>;

    /// Before the first step of this process: the tensors are those of `state`.
    fn begin(&mut self, state: &State, log: &mut Log) -> Result<()>;

    /// Queue step number `step`; it may still be running when this returns.
    fn submit(&mut self, step: u64) -> Result<()>;

    /// Steps submitted and not finished.
    fn in_flight(&self) -> usize;

    /// Steps that may be in flight while the host goes on.
    fn may_run_ahead(&self) -> usize {
        0
    }

    /// Wait for the oldest step in flight and add it to what is pending; `None` if there is none.
    fn finish(&mut self) -> Result<Option<Done>>;

    /// Step and progress at the beginning of a line of metrics.
    fn line_head(&self, state: &State) -> Map<String, Value>;

    /// Put what is pending into a line of metrics, and begin anew.
    fn write_metrics(&mut self, step: u64, line: &mut Map<String, Value>) -> Words;

    /// A speed in its unit.
    fn speed(rows_per_s: f64) -> String;

    /// Memory in use, where lines of metrics hold it.
    fn mem_bytes(&self) -> Option<usize> {
        None
    }

    fn validates_after(&self, step: u64) -> bool;

    /// `None`: `stop` ended it.
    fn validate(&mut self, stop: fn() -> bool) -> Result<Option<Validated<Self::Answers>>>;

    /// What stays in memory of the best model's answers until the run ends.
    fn keep(_answers: Self::Answers) -> Option<Self::Answers> {
        None
    }

    /// A picture of a validation, and its key among the metrics.
    fn picture(&self, answers: &Self::Answers) -> Result<(&'static str, Picture)>;
}

/// A tenth of a learning rate, as it is typed.
pub fn tenth(key: &str, lr: f64) -> String {
    format!("{key}={:.1e}", lr / 10.0).replace(".0e", "e")
}

/// A step that was made.
pub struct Done {
    pub rows: usize,
    /// Where the data goes on after it.
    pub next: Position,
    /// How long the step waited for data, where that is measured.
    pub wait_ms: Option<f64>,
}

/// Metrics as a person reads them.
#[derive(Default)]
pub struct Words {
    /// Beside the bar.
    pub short: String,
    /// In a line of the log.
    pub long: String,
}

/// What a validation found.
pub struct Validated<A> {
    pub loss: f64,
    /// The loss as a person reads it.
    pub loss_words: String,
    /// All of it as a person reads it.
    pub words: String,
    pub metrics: Map<String, Value>,
    pub answers: A,
}
