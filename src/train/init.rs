//! A run that starts from the weights of a checkpoint instead of random ones: fine-tuning. Only
//! weights are taken (those that evaluation uses); moments, counters and the order of the data are
//! a new run's.

use std::path::Path;

use super::trainer::Trainer;
use crate::data::DataSet;
use crate::run::checkpoint::{self, Reader};
use crate::run::plan::Plan;
use crate::run::trained::Trained;
use crate::{Error, Result};

/// Returns lines for the log.
pub fn start_from(
    path: &Path,
    plan: &Plan,
    trainer: &Trainer,
    data: &DataSet,
) -> Result<Vec<String>> {
    let Trained { reader, .. } = <Trained>::open(path)?;
    check_puzzles(&reader, plan, trainer, data)?;
    checkpoint::fill(&reader, &*trainer.model)?;
    trainer.weights_were_set()?;
    let mut lines = vec![format!("starting from the weights of {}", path.display())];
    let differences = plan.differences(&reader.meta.plan)?;
    let of_model = differences.iter().filter(|d| d.key.starts_with("model."));
    lines.extend(of_model.map(|d| format!("other than in that checkpoint: {d}")));
    Ok(lines)
}

/// A row of the puzzle table belongs to a puzzle of the data that it was trained on.
fn check_puzzles(reader: &Reader, plan: &Plan, trainer: &Trainer, data: &DataSet) -> Result<()> {
    let arch = plan.config.model.arch();
    let (name, ids) = arch.puzzle_table();
    let table = reader.shape(&format!("{}{name}", arch.name_prefix()));
    let Some(table) = table.filter(|_| trainer.model.dims().knows_puzzles()) else {
        return Ok(());
    };
    let trained_on = &reader.meta.state.data_digest;
    let same = trained_on.is_empty() || *trained_on == data.digest();
    if same && table.rows() * ids == data.row_ids(plan.config.data.layout)? {
        return Ok(());
    }
    let (path, dir) = (reader.path().display(), data.dir().display());
    if trainer.model.puzzle_table().is_none() {
        return Err(Error::invalid(format!(
            "{path}: was trained on other data than {dir}, and its embeddings belong to those \
             tasks: --data names that data set"
        )));
    }
    Err(Error::invalid(format!(
        "{path}: was trained on other data than {dir}, and its puzzle embeddings belong to those \
         puzzles. To take the weights only:\n  hrm export {path} --output e.safetensors\n  hrm import \
         e.safetensors --data {dir} --puzzles reset --output init.safetensors\nthen --init \
         init.safetensors"
    )))
}
