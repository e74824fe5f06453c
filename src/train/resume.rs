//! Going on from a run folder's newest checkpoint: what must agree, what may differ.

use super::checkpoint::{Named, Reader, State};
use super::plan::Plan;
use super::trainer::Trainer;
use crate::{Error, Result};

/// Model keys that change neither a shape nor what the weights mean.
const FREE_MODEL_KEYS: &[&str] = &["model.halt_exploration_prob", "model.dropout"];

/// Load `reader` into `trainer`. Another model or other data is refused with the list of what
/// differs; other differences between the plans come back as lines to show.
pub fn resume(
    reader: &Reader,
    plan: &Plan,
    data_digest: &str,
    trainer: &mut Trainer,
) -> Result<(State, Vec<String>)> {
    let state = reader.meta.state.clone();
    let differences = plan.differences(&reader.meta.plan)?;
    let binding = |key: &str| key.starts_with("model.") && !FREE_MODEL_KEYS.contains(&key);
    let tensors: Vec<Named> = trainer.state()?;
    let mut refused: Vec<String> =
        differences.iter().filter(|d| binding(&d.key)).map(|d| d.to_string()).collect();
    if state.data_digest != data_digest {
        refused.push(format!("data digest: {} -> {data_digest}", state.data_digest));
    }
    if state.seed != plan.config.train.seed {
        refused.push(format!("train.seed: {} -> {}", state.seed, plan.config.train.seed));
    }
    refused.extend(reader.differences(&tensors));
    if !refused.is_empty() {
        return Err(Error::invalid(format!(
            "{}: cannot go on from this checkpoint, it is of another run:\n  {}\n\
             use its own settings, another --run-dir, or --fresh",
            reader.path().display(),
            refused.join("\n  ")
        )));
    }
    reader.load(&tensors)?;
    drop(tensors);
    trainer.loaded(state.step)?;
    Ok((state, differences.iter().map(|d| d.to_string()).collect()))
}
