//! Each op on every device against its `reference.rs`, and each reference against finite differences.

#[path = "../common/mod.rs"]
mod common;

mod check;

mod add;
mod attention;
mod bce_logits;
mod cross_entropy;
mod embedding;
mod matmul;
mod rms_norm;
mod swiglu;
mod take_first;
