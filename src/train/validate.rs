//! Validation during training: the test split through the model as it is, no gradient. Always runs
//! `halt_max_steps` segments per batch, as the official evaluation does.

use std::sync::Arc;

use super::metrics::Sums;
use super::trainer::{Report, Trainer};
use crate::data::{BatchOptions, DataSet, Loader};
use crate::models::hrm::{Carry, DeviceBatch, Workspace};
use crate::{Error, Result};

pub const SPLIT: &str = "test";
const AHEAD: usize = 2;

/// Buffers for one evaluation batch, allocated once.
pub struct Validator {
    data: Arc<DataSet>,
    carry: Carry,
    batch: DeviceBatch,
    space: Workspace,
    /// Batches per validation at most.
    max_batches: usize,
}

impl Validator {
    /// `max_batches` 0: the whole split.
    pub fn new(trainer: &Trainer, data: Arc<DataSet>, max_batches: u64) -> Result<Self> {
        let model = &trainer.model;
        let (b, s) = (model.config.batch_size, model.config.seq_len);
        Ok(Self {
            data,
            carry: Carry::new(model)?,
            batch: DeviceBatch::new(model.device(), b, s)?,
            space: Workspace::new(model, b)?,
            max_batches: if max_batches == 0 { usize::MAX } else { max_batches as usize },
        })
    }

    /// Sums over the split; `stop` ends it early, and then there is no result.
    pub fn run(&self, trainer: &Trainer, stop: impl Fn() -> bool) -> Result<Option<Sums>> {
        let rows = trainer.model.config.batch_size;
        let options = BatchOptions::default();
        let loader = Loader::eval(self.data.clone(), SPLIT, rows, options, AHEAD)?;
        trainer.with_evaluation_weights(|model| {
            let mut all = Sums::default();
            for loaded in loader.take(self.max_batches) {
                if stop() {
                    return Ok(None);
                }
                let batch = loaded?.batch;
                self.batch.upload(&batch.inputs, &batch.labels, &batch.puzzle_ids)?;
                self.carry.halt_all()?;
                for _ in 0..model.config.halt_max_steps {
                    model.eval_segment(&self.carry, &self.batch, &self.space)?;
                }
                let mut report = Report { rows: batch.real_rows, ..Report::default() };
                let sums = self.space.metrics.download::<f32>()?;
                report.sums.iter_mut().zip(sums).for_each(|(all, one)| *all = one as f64);
                all.add(&report);
            }
            if !all.lm_loss().is_finite() {
                return Err(Error::NonFinite {
                    step: trainer.step,
                    what: format!("validation loss is {}", all.lm_loss()),
                });
            }
            Ok(Some(all))
        })
    }
}
