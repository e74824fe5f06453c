//! The official names of the levels' parameters, in the order of the flat buffers; the others are
//! in [`io`](crate::models::io) and [`act`](crate::models::act).

use super::Config;
use crate::nn::params::Spec;
use crate::nn::{block, level};

pub const H_LEVEL: &str = "H_level";
pub const L_LEVEL: &str = "L_level";

pub fn levels(config: &Config) -> Vec<Spec> {
    let layers = |name: &'static str, n: usize| (0..n).map(move |i| level::layer(name, i));
    layers(H_LEVEL, config.h_layers)
        .chain(layers(L_LEVEL, config.l_layers))
        .flat_map(|prefix| block::specs(&prefix, config.hidden_size, config.expansion))
        .collect()
}
