//! The official names of the level's parameters, in the order of the flat buffers; the others are
//! in [`io`](crate::models::io) and [`act`](crate::models::act).

use super::Config;
use crate::nn::params::Spec;
use crate::nn::{block, level};

pub const L_LEVEL: &str = "L_level";

/// `positions`: T.
pub fn level(config: &Config, positions: usize) -> Vec<Spec> {
    let &Config { hidden_size: c, expansion, .. } = config;
    (0..config.layers)
        .map(|i| level::layer(L_LEVEL, i))
        .flat_map(|prefix| match config.mlp_t {
            true => block::mlp_t_specs(&prefix, positions, c, expansion),
            false => block::specs(&prefix, c, expansion),
        })
        .collect()
}
