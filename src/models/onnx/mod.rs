//! A model as a graph of ONNX: one supervision segment of those that have such, the whole answer of
//! the others. All in f32, for batches of any size.
//!
//! Each model's folder has its body; `reasoner.rs` has input and heads of `hrm` and `trm`,
//! `encoder.rs` the layers of `hrm_seed` and `transformer`. Weights keep their official names;
//! those of linear layers are turned to (IN, OUT), the right factor of a product, as which
//! quantisers look for them.

pub(super) mod encoder;
pub(super) mod reasoner;
#[cfg(test)]
mod tests;

use super::ModelShape;
use crate::formats::onnx::{Encoded, Graph};
use crate::formats::{META_KEY, StateDict};
use crate::{Error, PROGRAM, Result};

pub const EXTENSION: &str = "onnx";

/// The whole file; `about` is metadata beside the model's shape. `packed`: for rows of any cells of
/// the canvas, else of all. With `data_name`, weights of some size go to a file of that name in the
/// same folder.
pub fn encode(
    shape: &ModelShape,
    weights: StateDict,
    about: Vec<(&'static str, String)>,
    packed: bool,
    data_name: Option<&str>,
) -> Result<Encoded> {
    let mut graph = Graph::new(weights.tensors);
    let (arch, dims) = (shape.config.arch(), shape.dims());
    if packed {
        graph.pack(dims.prefix);
    }
    let built = shape.config.onnx(&mut graph, &dims);
    let mut all = vec![("arch", arch.word().to_owned()), ("program", PROGRAM.to_owned())];
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
    all.extend(weights.meta.map(|meta| (META_KEY, meta)));
    let all = all.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let file = built.and_then(|()| graph.encode(arch.word(), arch.onnx_doc(), all, data_name));
    file.map_err(|what| Error::invalid(format!("{EXTENSION} file: {what}")))
}
