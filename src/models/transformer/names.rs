//! The parameters' names, in the order of the state_dict.

use super::Config;
use crate::nn::encoder::{EncoderLayer, Linear};
use crate::nn::init::Init;
use crate::nn::params::Spec;

pub const TOKEN_EMBEDDING: &str = "token_embedding.weight";
pub const OUTPUT: &str = "output";

pub fn layer(i: usize) -> String {
    format!("transformer.layers.{i}")
}

/// `v`: V, the number of tokens.
pub fn specs(config: &Config, v: usize) -> Vec<Spec> {
    let c = config.hidden_size;
    let init = Init::Normal { std: 1.0 };
    let mut specs = vec![Spec::new(TOKEN_EMBEDDING, [v, c], init).embedding()];
    for i in 0..config.layers {
        specs.extend(EncoderLayer::specs(&layer(i), c, config.mlp_width()));
    }
    specs.extend(Linear::specs(OUTPUT, v, c));
    specs
}
