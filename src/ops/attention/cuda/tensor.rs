//! bf16 on tensor cores. A warp owns 16 positions; a block has as many warps as share a row evenly.

use super::Call;
use crate::Result;
use crate::backend::{Cost, Kernel, kernel};
use crate::dtype::DType;
use crate::ops::tiles::{Cut, SHORT, STEP};
use crate::tensor::Tensor;

pub struct Kernels {
    pub fwd: Pass,
    pub bwd_dq: Pass,
    pub bwd_dkv: Pass,
    pub bwd_short: Pass,
}

pub struct Pass {
    kernel: Kernel,
    /// Slots and tiles of this pass. Two blocks of the most warps fit a multiprocessor's registers.
    cut: Cut,
    /// Dynamic shared memory for each of a block's rows.
    row_bytes: usize,
    /// Products that are executed, recomputed scores included.
    executed: f64,
    /// Instructions for a score outside products, as counted in the SASS at HD 64.
    lane_ops: f64,
}

// Pointers in the order of the kernels' headers, then the layout, nh, scale and add.
macro_rules! kernels {
    ($hd:literal, $fwd:literal, $dq:literal, $dkv:literal, $short:literal) => {
        Kernels {
            fwd: Pass {
                kernel: kernel!(
                    "attention_fwd",
                    $fwd,
                    [Out, Out, In, In, In, In, In, In, In, U32, F32]
                ),
                cut: Cut::Steps(8),
                row_bytes: 0,
                executed: 2.0,
                lane_ops: 13.0,
            },
            bwd_dq: Pass {
                kernel: kernel!(
                    "attention_bwd",
                    $dq,
                    [Out, Out, In, In, In, In, In, In, In, In, In, In, U32, F32, U32]
                ),
                cut: Cut::LongSteps(8),
                row_bytes: 0,
                executed: 3.0,
                lane_ops: 15.0,
            },
            bwd_dkv: Pass {
                kernel: kernel!(
                    "attention_bwd",
                    $dkv,
                    [Out, In, In, In, In, In, In, In, In, In, In, U32, F32, U32]
                ),
                cut: Cut::LongSteps(6),
                row_bytes: 0,
                executed: 4.0,
                lane_ops: 16.0,
            },
            bwd_short: Pass {
                kernel: kernel!(
                    "attention_bwd",
                    $short,
                    [Out, In, In, In, In, In, In, In, In, In, In, U32, F32, U32]
                ),
                cut: Cut::ShortSteps(SHORT / STEP),
                row_bytes: 4 * $hd * 2 + 8, // q, dy, k, v; lse and delta
                executed: 7.0,
                lane_ops: 27.0,
            },
        }
    };
}

static HD_16: Kernels = kernels!(
    16,
    "attention_fwd_hd16_bf16",
    "attention_bwd_dq_hd16_bf16",
    "attention_bwd_dkv_hd16_bf16",
    "attention_bwd_short_hd16_bf16"
);
static HD_32: Kernels = kernels!(
    32,
    "attention_fwd_hd32_bf16",
    "attention_bwd_dq_hd32_bf16",
    "attention_bwd_dkv_hd32_bf16",
    "attention_bwd_short_hd32_bf16"
);
static HD_64: Kernels = kernels!(
    64,
    "attention_fwd_hd64_bf16",
    "attention_bwd_dq_hd64_bf16",
    "attention_bwd_dkv_hd64_bf16",
    "attention_bwd_short_hd64_bf16"
);

/// The kernels for `qkv`, where there are any.
pub fn kernels(hd: usize, qkv: &Tensor) -> Option<&'static Kernels> {
    match (qkv.dtype(), hd) {
        (DType::Bf16, 16) => Some(&HD_16),
        (DType::Bf16, 32) => Some(&HD_32),
        (DType::Bf16, 64) => Some(&HD_64),
        _ => None,
    }
}

impl Pass {
    pub fn launch(&'static self, mut call: Call) -> Result<()> {
        let Some(tiles) = call.layout.tiles(self.cut) else { return Ok(()) };
        let sizes = call.layout.positions().sizes().filter(|size| self.cut.takes(*size));
        let padded = sizes.map(|t| t.next_multiple_of(STEP));
        let scores = (call.nh * padded.map(|t| t * t).sum::<usize>()) as f64;
        call.cost = Cost {
            tensor_flops: self.executed * 2.0 * scores * call.hd as f64,
            lane_ops: self.lane_ops * scores,
            ..call.share(self.cut)
        };
        let height = tiles.height;
        call.launch(&self.kernel, &tiles.list, 32 * height / STEP, height * self.row_bytes, &[])
    }
}
