//! The ops. Each folder holds one: `mod.rs` is the contract, the cost, the dispatch and the tape
//! rule, `reference.rs` the specification in plain loops (tests only), `cpu.rs` the fast CPU path,
//! `cuda.rs` the launches of its kernels. `pointwise` is a family: an op of one formula is a file.
//!
//! Shared: `layout.rs` whose positions are whose · `tiles.rs` slots cut for blocks of a launch ·
//! `launch.rs` shapes of launches · `conv.rs`, `conv_launch.rs` what the two convolutions have in
//! common, on both devices · `draw.rs` where random numbers come from · `real.rs` the number types
//! of references · `reshape.rs` a view with a gradient · `workloads.rs` real sizes, for benches.

pub mod act_halt;
pub mod adam;
pub mod add;
pub mod attention;
pub mod attention_cached;
pub mod batch_norm;
pub mod bce_logits;
pub mod bias_relu;
pub mod cast;
pub mod conv;
pub mod conv2d;
mod conv_launch;
pub mod conv_transpose2d;
pub mod cross_entropy;
pub mod depthwise_conv2d;
pub mod draw;
pub mod dropout;
pub mod ema;
pub mod embedding;
pub mod gauss_sample;
pub mod global_norm;
pub mod halt_head;
pub mod kl_gauss;
mod launch;
pub mod layer_norm;
pub mod layout;
pub mod matmul;
pub mod max_pool2d;
pub mod mse;
pub mod normuon;
pub mod pointwise;
pub mod puzzle_emb;
pub mod real;
pub mod reshape;
pub mod rms_norm;
pub mod row_embedding;
pub mod sign_sgd_rows;
pub mod state_noise;
pub mod swiglu;
pub mod take_first;
mod tiles;
pub mod transpose;
pub mod workloads;

use std::panic::Location;

use crate::backend::{Cost, Device, DeviceKind, Mode};
use crate::tensor::Tensor;
use crate::{Error, Result};

/// Rows (or elements) that one CPU task handles. Fixed, so that results do not depend on the
/// number of threads.
pub(crate) const ROWS_PER_TASK: usize = 32;
pub(crate) const ELEMS_PER_TASK: usize = 16 * 1024;

/// Run a floating-point op's CPU function for the dtype at hand.
macro_rules! by_float {
    ($dtype:expr, $op:literal, $E:ident => $body:expr) => {
        match $dtype {
            $crate::dtype::DType::F32 => {
                type $E = f32;
                $body
            }
            $crate::dtype::DType::Bf16 => {
                type $E = $crate::dtype::bf16;
                $body
            }
            other => Err($crate::Error::Tensor {
                op: $op.into(),
                tensor: "x".into(),
                got: other.to_string(),
                want: "f32 or bf16".into(),
            }),
        }
    };
}
pub(crate) use by_float;

/// Run an op where its memory is. `cost` is a read of each input, a write of each output and a read
/// of an output that is added to; the few numbers of a guard, draw or factor are left out. CUDA's
/// launches carry it, and what their workspaces add; a CPU without memory only counts it.
#[track_caller]
fn dispatch(
    device: &Device,
    cost: Cost,
    cpu: impl FnOnce() -> Result<()>,
    cuda: impl FnOnce(Cost) -> Result<()>,
) -> Result<()> {
    match device.kind() {
        DeviceKind::Cuda => cuda(cost),
        DeviceKind::Cpu if device.is_shape_only() => {
            device.count(cost);
            Ok(())
        }
        DeviceKind::Cpu => device.timed(Location::caller(), cpu),
    }
}

/// Cost of an op bound by memory traffic.
fn traffic(bytes: usize) -> Cost {
    Cost { bytes: bytes as f64, launches: 1.0, ..Cost::default() }
}

/// Bytes that writing an output moves: it is read too where it is added to.
fn written(out: &Tensor, mode: Mode) -> usize {
    match mode {
        Mode::Set => out.bytes(),
        Mode::Add => 2 * out.bytes(),
    }
}

/// Bytes that writing a gradient moves, if it is wanted.
fn written_if(slot: Option<&(Tensor, Mode)>) -> usize {
    slot.map_or(0, |(out, mode)| written(out, *mode))
}

fn expect_same_shape(what: &str, a: &Tensor, b: &Tensor) -> Result<()> {
    b.expect_dims(what, a.shape().dims())?;
    b.expect_dtype(what, a.dtype())
}

fn refuse(op: &str, why: String) -> Error {
    Error::invalid(format!("{op}: {why}"))
}
