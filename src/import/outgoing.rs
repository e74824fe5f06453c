//! A model as a checkpoint of the official programs: what `evaluate.py` and `load_checkpoint` take.

use super::official;
use crate::config::{Precision, Settings};
use crate::formats::{Program, StateDict, pt};
use crate::models::act::{H_INIT, L_INIT, PUZZLE_TABLE};
use crate::{Error, Result};

/// Goes before each name where the program compiles its model.
const COMPILED: &str = "_orig_mod.";

/// A checkpoint, and the settings that belong beside it.
pub struct Outgoing {
    pub weights: Vec<u8>,
    pub settings: String,
}

/// `data` is where the program will look for the data set.
pub fn checkpoint(
    program: Program,
    config: &Settings,
    weights: StateDict,
    compiled: bool,
    data: &str,
) -> Result<Outgoing> {
    let arch = config.model.arch();
    if arch.official().is_none_or(|(own, _)| own != program) {
        return Err(Error::invalid(format!(
            "holds a model of kind {}, which is none of the program that --for names",
            arch.word()
        )));
    }
    let is = |name: &str, own: &str| name.strip_prefix(arch.name_prefix()) == Some(own);
    if !weights.tensors.iter().any(|(name, _)| is(name, PUZZLE_TABLE)) {
        return Err(Error::invalid(
            "has no puzzle embeddings (model.puzzle_emb_ndim=0), and the official programs load no \
             model without: leave --for out",
        ));
    }
    let is_start = |name: &str| [H_INIT, L_INIT].iter().any(|start| is(name, start));
    let tensors = weights.tensors.into_iter().map(|(name, tensor)| {
        // The states take the type of what they start from, and the model computes in it.
        let tensor = match is_start(&name) && config.train.precision == Precision::Bf16 {
            true => tensor.rounded(),
            false => tensor,
        };
        (if compiled { format!("{COMPILED}{name}") } else { name }, tensor)
    });
    let weights = pt::encode_bare(&tensors.collect::<Vec<_>>());
    let weights = weights.map_err(|what| Error::invalid(format!("pt file: {what}")))?;
    Ok(Outgoing { weights, settings: official::write(program, config, data)? })
}
