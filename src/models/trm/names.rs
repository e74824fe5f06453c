//! The official names of the level's parameters, in the order of the flat buffers; the others are in
//! [`io`](crate::models::io) and [`act`](crate::models::act).

use super::Config;
use crate::nn::params::Spec;
use crate::nn::{block, level};

pub const L_LEVEL: &str = "L_level";

pub fn level(config: &Config) -> Vec<Spec> {
    let &Config { hidden_size: c, expansion, .. } = config;
    let t = config.dims().positions();
    (0..config.layers)
        .map(|i| level::layer(L_LEVEL, i))
        .flat_map(|prefix| match config.mlp_t {
            true => block::mlp_t_specs(&prefix, t, c, expansion),
            false => block::specs(&prefix, c, expansion),
        })
        .collect()
}
