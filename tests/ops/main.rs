//! Each op on every device against its `reference.rs`, each reference against finite differences,
//! and all of them against PyTorch (`witness`).

#[path = "../common/mod.rs"]
mod common;

mod check;
mod comparators;
mod tape;

mod act_halt;
mod adam;
mod add;
mod attention;
mod attention_cached;
mod batch_norm;
mod bce_logits;
mod bias_relu;
mod cast;
mod conv2d;
mod conv_transpose2d;
mod cross_entropy;
mod depthwise_conv2d;
mod dropout;
mod ema;
mod embedding;
mod gauss_sample;
mod global_norm;
mod halt_head;
mod kl_gauss;
mod layer_norm;
mod matmul;
mod max_pool2d;
mod mse;
mod normuon;
mod packed;
mod pointwise;
mod puzzle_emb;
mod reshape;
mod rms_norm;
mod row_embedding;
mod sign_sgd_rows;
mod state_noise;
mod swiglu;
mod take_first;
mod transpose;
mod witness;
