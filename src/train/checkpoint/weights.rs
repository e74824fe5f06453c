//! The model in a checkpoint, without what only training needs.

use super::{Named, Reader};
use crate::config::{Arch, Config};
use crate::models::{self, Model, act, hrm_seed, io, transformer};
use crate::train::setup;
use crate::{Error, Result};

/// The model's shape as it was trained, for batches of its own size.
pub fn model_config(reader: &Reader, config: &Config) -> Result<models::Config> {
    let (prefix, token_table) = match config.model.arch {
        Arch::Hrm | Arch::Trm => (act::PREFIX, io::EMBED_TOKENS),
        Arch::HrmSeed => ("", hrm_seed::names::TOKEN_EMBEDDING),
        Arch::Transformer => ("", transformer::names::TOKEN_EMBEDDING),
    };
    let rows = |name: &str| {
        let shape = reader.shape(&format!("{prefix}{name}"));
        shape.and_then(|s| s.dims().first().copied()).ok_or_else(|| {
            let what = format!("tensor {name} is missing: no checkpoint of this kind of model");
            Error::corrupt(reader.path(), what)
        })
    };
    let num_puzzle_ids = match config.model.puzzle_emb_ndim {
        0 => 1,
        _ => rows(act::PUZZLE_TABLE)?,
    };
    let seq_len = config.data.canvas * config.data.canvas;
    Ok(setup::model_of(config, seq_len, rows(token_table)?, num_puzzle_ids))
}

/// Fill `model` with the weights that evaluation uses: the averaged ones where the run kept them.
pub fn load_model(reader: &Reader, model: &dyn Model) -> Result<()> {
    let averaged = |name: &str| {
        let name = format!("ema.{}", name.strip_prefix(model.name_prefix())?);
        reader.shape(&name).map(|_| name)
    };
    let tensors: Vec<Named> = model
        .tensors()?
        .into_iter()
        .map(|(name, tensor)| (averaged(&name).unwrap_or(name), tensor))
        .collect();
    reader.load_part(&tensors)?;
    model.refresh()
}
