//! A model as a graph of ONNX: one supervision segment of `hrm` and `trm`, the whole answer of
//! `hrm_seed` and `transformer`. All in f32, for batches of any size.
//!
//! `proto.rs` the messages · `body.rs` nodes · `graph.rs` functions, weights, the file · `stack.rs`,
//! `blocks.rs`, `encoder.rs` the layers · `reasoner.rs` input and heads of `hrm.rs` and `trm.rs` · `hrm_seed.rs`,
//! `transformer.rs`. Weights keep their official names and shapes; the graph transposes them, which a
//! runtime does once when it loads the file.

mod blocks;
mod body;
mod encoder;
mod graph;
mod hrm;
mod hrm_seed;
mod proto;
mod reasoner;
mod stack;
mod transformer;
mod trm;

use super::StateDict;
use crate::models::Config;
use crate::{Error, PROGRAM, Result};
pub use graph::Encoded;
use graph::Graph;

pub const EXTENSION: &str = "onnx";

const OF_REASONERS: &str = "One supervision segment. Start with reset all true (z_h and z_l of any \
    content), then hand z_h_next and z_l_next back as z_h and z_l with reset false, halt_max_steps \
    times (see the metadata); the logits of the last segment are the answer. A row may start anew at \
    any segment: reset it alone.";
const OF_CYCLES: &str = "The whole answer: cycles run until their number is reached or, from the \
    second on, the mean halting probability of the batch is above 0.9. q_halt is the last cycle's \
    logit, cycles how many there were.";
const OF_TRANSFORMER: &str = "The whole answer in one pass.";

/// The whole file; `about` is metadata beside the model's shape. With `data_name`, weights of some size
/// go to a file of that name in the same folder.
pub fn encode(
    config: &Config,
    weights: StateDict,
    about: Vec<(&'static str, String)>,
    data_name: Option<&str>,
) -> Result<Encoded> {
    let mut graph = Graph::new(weights.tensors);
    let dims = config.dims();
    let (arch, doc, built) = match config {
        Config::Hrm(c) => ("hrm", OF_REASONERS, hrm::build(&mut graph, c)),
        Config::Trm(c) => ("trm", OF_REASONERS, trm::build(&mut graph, c)),
        Config::HrmSeed(c) => ("hrm_seed", OF_CYCLES, hrm_seed::build(&mut graph, c)),
        Config::Transformer(c) => {
            ("transformer", OF_TRANSFORMER, transformer::build(&mut graph, c))
        }
    };
    let mut all = vec![("arch", arch.to_owned()), ("program", PROGRAM.to_owned())];
    for (key, n) in [
        ("vocab_size", dims.vocab_size),
        ("seq_len", dims.seq_len),
        ("positions", dims.positions()),
        ("hidden_size", dims.hidden_size),
        ("num_puzzle_ids", dims.num_puzzle_ids),
        ("halt_max_steps", dims.segments),
    ] {
        all.push((key, n.to_string()));
    }
    all.extend(about);
    all.extend(weights.meta.map(|meta| (super::META_KEY, meta)));
    let all = all.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let file = built.and_then(|()| graph.encode(arch, doc, all, data_name));
    file.map_err(|what| Error::invalid(format!("{EXTENSION} file: {what}")))
}
