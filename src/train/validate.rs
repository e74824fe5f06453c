//! Validation during training: the test split through the model as it is, like `hrm eval`.

use std::sync::Arc;

use super::metrics::Sums;
use super::trainer::{Report, Trainer};
use crate::data::{DataSet, RowLayout};
use crate::eval::{Evaluation, Evaluator, Halt, Request, select};
use crate::io::progress::Progress;
use crate::{Error, Result};

pub const SPLIT: &str = "test";
/// Examples that a run's closing scores are of, at most, unless more take only seconds; `hrm eval`
/// answers all.
pub const CLOSING_EXAMPLES: usize = 1_000;
/// Matrix products of training steps over as many examples: answers take about a third.
const CLOSING_FLOPS: f64 = 5e12;

/// Examples that closing scores are of, where a training step over one example takes so much.
pub fn closing_examples(flops_per_example: f64) -> usize {
    ((CLOSING_FLOPS / flops_per_example.max(1.0)) as usize).max(CLOSING_EXAMPLES)
}

/// Memory for one evaluation batch, allocated once, and the examples to answer.
pub struct Validator {
    data: Arc<DataSet>,
    evaluator: Evaluator,
    examples: Vec<u32>,
    layout: RowLayout,
}

impl Validator {
    /// At most `max_examples` of the split, tasks as published first; 0: all of it. Hidden test
    /// inputs are not asked: nothing can be said of their answers.
    ///
    /// `None`: there is nothing else.
    pub fn new(
        trainer: &Trainer,
        data: Arc<DataSet>,
        max_examples: u64,
        layout: RowLayout,
    ) -> Result<Option<Self>> {
        let shard = data.split(SPLIT)?;
        let known = |i: u32| match shard.is_hidden(i as usize) {
            Ok(hidden) => (!hidden).then_some(Ok(i)),
            Err(e) => Some(Err(e)),
        };
        let all = select(&data, SPLIT, 0)?.into_iter().filter_map(known);
        let most = if max_examples == 0 { usize::MAX } else { max_examples as usize };
        let examples: Vec<u32> = all.take(most).collect::<Result<_>>()?;
        if examples.is_empty() {
            return Ok(None);
        }
        let evaluator = Evaluator::new(&*trainer.model, examples.len());
        Ok(Some(Self { evaluator, examples, data, layout }))
    }

    /// `stop` ends it between batches, and then there is no result.
    pub fn run(
        &self,
        trainer: &Trainer,
        stop: impl Fn() -> bool,
    ) -> Result<Option<(Sums, Evaluation)>> {
        trainer.with_evaluation_weights(|model| {
            let request = Request {
                data: &self.data,
                split: SPLIT,
                examples: &self.examples,
                layout: self.layout,
                halt: Halt::Last,
                progress: Progress::Quiet,
            };
            let answers = self.evaluator.run(model, request, None, stop)?;
            let Some(answers) = answers else { return Ok(None) };
            let mut sums = Sums::default();
            sums.add(&Report {
                sums: answers.sums(),
                rows: self.examples.len(),
                ..Report::default()
            });
            match sums.lm_loss().is_finite() {
                true => Ok(Some((sums, answers))),
                false => Err(Error::NonFinite {
                    step: trainer.step,
                    what: format!("validation loss is {}", sums.lm_loss()),
                }),
            }
        })
    }
}
