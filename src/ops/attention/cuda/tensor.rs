//! bf16 on tensor cores. A warp owns 16 rows; a block has as many warps as share the rows evenly.

use super::{Call, Dims};
use crate::Result;
use crate::backend::{Cost, Kernel, Launch, kernel};
use crate::dtype::DType;
use crate::tensor::Tensor;

/// Rows that a warp owns.
const STEP: usize = 16;
/// Tokens up to which a block of `bwd_short` holds a whole head.
pub const SHORT_T: usize = 96;

pub struct Kernels {
    pub fwd: Pass,
    pub bwd_dq: Pass,
    pub bwd_dkv: Pass,
    pub bwd_short: Pass,
}

pub struct Pass {
    kernel: Kernel,
    /// Most warps of a block: two such blocks fit a multiprocessor's registers.
    warps: usize,
    /// Dynamic shared memory for each of a block's rows.
    row_bytes: usize,
    /// Products that are executed, recomputed scores included.
    executed: f64,
    /// Instructions for a score outside products, as counted in the SASS at HD 64.
    lane_ops: f64,
}

// Pointers in the order of the kernels' headers, then t, nh, scale and add.
macro_rules! kernels {
    ($hd:literal, $fwd:literal, $dq:literal, $dkv:literal, $short:literal) => {
        Kernels {
            fwd: Pass {
                kernel: kernel!("attention_fwd", $fwd, [Out, Out, In, In, In, U32, U32, F32]),
                warps: 8,
                row_bytes: 0,
                executed: 2.0,
                lane_ops: 13.0,
            },
            bwd_dq: Pass {
                kernel: kernel!(
                    "attention_bwd",
                    $dq,
                    [Out, Out, In, In, In, In, In, In, U32, U32, F32, U32]
                ),
                warps: 8,
                row_bytes: 0,
                executed: 3.0,
                lane_ops: 15.0,
            },
            bwd_dkv: Pass {
                kernel: kernel!(
                    "attention_bwd",
                    $dkv,
                    [Out, In, In, In, In, In, In, U32, U32, F32, U32]
                ),
                warps: 6,
                row_bytes: 0,
                executed: 4.0,
                lane_ops: 16.0,
            },
            bwd_short: Pass {
                kernel: kernel!(
                    "attention_bwd",
                    $short,
                    [Out, In, In, In, In, In, In, U32, U32, F32, U32]
                ),
                warps: SHORT_T / STEP,
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
pub fn kernels(d: Dims, qkv: &Tensor) -> Option<&'static Kernels> {
    match (qkv.dtype(), d.hd) {
        (DType::Bf16, 16) => Some(&HD_16),
        (DType::Bf16, 32) => Some(&HD_32),
        (DType::Bf16, 64) => Some(&HD_64),
        _ => None,
    }
}

impl Pass {
    pub fn launch(&'static self, call: Call) -> Result<()> {
        let d = call.d;
        let (blocks, warps) = share(d.t.div_ceil(STEP), self.warps);
        let padded = d.t.next_multiple_of(STEP);
        let flops = 2.0 * (d.b * d.nh * padded * padded * d.hd) as f64;
        call.x.device().launch(&Launch {
            kernel: &self.kernel,
            grid: [blocks, d.nh, d.b],
            block: [32 * warps, 1, 1],
            shared_bytes: warps * STEP * self.row_bytes,
            args: &call.args,
            cost: Cost {
                tensor_flops: self.executed * flops,
                lane_ops: self.lane_ops * (d.b * d.nh * padded * padded) as f64,
                ..call.cost
            },
        })
    }
}

/// Blocks, and warps of each, so that as few warps as possible have nothing to do.
fn share(steps: usize, most_warps: usize) -> (usize, usize) {
    let blocks = steps.div_ceil(most_warps);
    (blocks, steps.div_ceil(blocks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warps_are_shared_evenly() {
        let steps = |t: usize| t.div_ceil(STEP);
        assert_eq!(share(steps(1), 8), (1, 1));
        assert_eq!(share(steps(82), 8), (1, 6)); // Sudoku
        assert_eq!(share(steps(901), 8), (8, 8)); // ARC
        assert_eq!(share(steps(901), 6), (10, 6));
        assert_eq!(share(steps(130), 8), (2, 5));
    }
}
