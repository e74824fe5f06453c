//! The parameters' names, in the order of the state_dict. Its buffer `pos_encoding.pe` is a formula
//! (`nn/sinusoids.rs`) and not among them.

use super::Config;
use crate::nn::encoder::{EncoderLayer, Linear, Norm};
use crate::nn::init::Init;
use crate::nn::params::Spec;

pub const TOKEN_EMBEDDING: &str = "token_embedding.weight";
pub const H_TO_L: &str = "h_to_l";
pub const L_TO_H: &str = "l_to_h";
pub const HALT_PREDICTOR: &str = "halt_predictor";
pub const OUTPUT: &str = "output";
pub const H_NORM: &str = "h_norm";
pub const L_NORM: &str = "l_norm";

pub fn h_layer(i: usize) -> String {
    format!("h_layers.{i}")
}

pub fn l_layer(i: usize) -> String {
    format!("l_layers.{i}")
}

/// `v`: V, the number of tokens.
pub fn specs(config: &Config, v: usize) -> Vec<Spec> {
    let (c, f) = (config.hidden_size, config.mlp_width());
    let init = Init::Normal { std: 1.0 };
    let mut specs = vec![Spec::new(TOKEN_EMBEDDING, [v, c], init).embedding()];
    for prefix in (0..config.h_layers).map(h_layer).chain((0..config.l_layers).map(l_layer)) {
        specs.extend(EncoderLayer::specs(&prefix, c, f));
    }
    specs.extend(Linear::hidden_specs(H_TO_L, c, c));
    specs.extend(Linear::hidden_specs(L_TO_H, c, c));
    specs.extend(Linear::specs(HALT_PREDICTOR, 1, 2 * c));
    specs.extend(Linear::specs(OUTPUT, v, c));
    specs.extend(Norm::specs(H_NORM, c));
    specs.extend(Norm::specs(L_NORM, c));
    specs
}
