//! Graphs of ONNX: files that say what is computed. Which graph a model is, the models say.
//!
//! `proto.rs` the messages · `body.rs` nodes · `graph.rs` functions, weights, the file ·
//! `inline.rs` the functions in place of their calls · `stack.rs`, `blocks.rs` layers as functions.

pub mod blocks;
pub mod body;
pub mod graph;
mod inline;
pub mod proto;
pub mod stack;

pub use graph::{Encoded, Graph};
