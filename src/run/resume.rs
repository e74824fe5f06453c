//! Going on from a run folder's newest checkpoint: what must agree, what may differ.

use super::checkpoint::{Named, Reader, State};
use super::plan::Plan;
use crate::config::RunConfig;
use crate::{Error, Result};

/// Load `reader` into a trainer's `tensors`. Another model or other data is refused with the list
/// of what differs, and so is another value of a key that `is_binding`; other differences between
/// the plans come back as lines to show.
pub fn resume<C: RunConfig>(
    reader: &Reader,
    plan: &Plan<C>,
    data_digest: &str,
    tensors: &[Named],
    is_binding: fn(&str) -> bool,
) -> Result<(State, Vec<String>)> {
    let state = reader.meta.state.clone();
    let differences = plan.differences(&reader.meta.plan)?;
    let mut refused: Vec<String> =
        differences.iter().filter(|d| is_binding(&d.key)).map(|d| d.to_string()).collect();
    if state.data_digest != data_digest {
        refused.push(format!("data digest: {} -> {data_digest}", state.data_digest));
    }
    if state.seed != plan.config.seed() {
        refused.push(format!("train.seed: {} -> {}", state.seed, plan.config.seed()));
    }
    refused.extend(reader.differences(tensors));
    if !refused.is_empty() {
        return Err(Error::invalid(format!(
            "{}: cannot go on from this checkpoint, it is of another run:\n  {}\n\
             use its own settings, another --run-dir, or --fresh",
            reader.path().display(),
            refused.join("\n  ")
        )));
    }
    reader.load(tensors)?;
    Ok((state, differences.iter().map(|d| d.to_string()).collect()))
}
