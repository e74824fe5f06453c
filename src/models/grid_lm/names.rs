//! The parameters' names, in the order of the flat buffers.

use super::Config;
use crate::nn::init::Init;
use crate::nn::params::{ATTENTION_DECAY, Spec};
use crate::sequence::{TURNS, VOCABULARY};

pub const TOKENS: &str = "embed_tokens.weight";
pub const TASKS: &str = "embed_task.weight";
pub const TURN: &str = "embed_turn.weight";
pub const HEAD: &str = "lm_head.weight";

/// Standard deviation of initial weights, as in GPT-2; what adds to the residual stream begins
/// smaller, by the root of the number of such additions.
const STD: f64 = 0.02;

pub fn layer(i: usize) -> String {
    format!("layers.{i}")
}

/// `tasks`: rows of the embedding of tasks.
pub fn specs(config: &Config, tasks: usize) -> Vec<Spec> {
    let (c, f) = (config.hidden_size, config.mlp_width());
    let normal = |std| Init::Normal { std };
    let added = normal(STD / (2.0 * config.layers as f64).sqrt());
    let table = |name, rows| Spec::new(name, [rows, c], normal(STD)).embedding();
    let tasks = table(TASKS, tasks).of_tasks();
    let mut specs = vec![table(TOKENS, VOCABULARY), tasks, table(TURN, TURNS)];
    for layer in (0..config.layers).map(layer) {
        let matrix = |name: &str, shape: [usize; 2], init| {
            Spec::new(format!("{layer}.{name}.weight"), shape, init)
        };
        specs.extend([
            matrix("self_attn.qkv_proj", [3 * c, c], normal(STD)).hidden(3, ATTENTION_DECAY),
            matrix("self_attn.o_proj", [c, c], added).hidden(1, ATTENTION_DECAY),
            matrix("mlp.gate_up_proj", [2 * f, c], normal(STD)).hidden(2, 1.0),
            matrix("mlp.down_proj", [c, f], added).hidden(1, 1.0),
        ]);
    }
    specs.push(Spec::new(HEAD, [VOCABULARY, c], normal(STD)));
    specs
}
