//! bf16 on tensor cores. A warp owns 16 positions; a block has as many warps as share a row evenly.

use super::Call;
use crate::Result;
use crate::backend::{Kernel, kernel};
use crate::dtype::DType;
use crate::tensor::Tensor;

/// Positions that a warp owns.
const STEP: usize = 16;
/// Positions of a slot up to which a block of `bwd_short` holds a whole head.
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
                warps: 8,
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
                warps: 8,
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
                warps: 6,
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
        let warps = warps(call.sizes(), self.warps);
        let padded = call.sizes().map(|t| t.next_multiple_of(STEP));
        let scores = (call.nh * padded.map(|t| t * t).sum::<usize>()) as f64;
        call.cost.tensor_flops = self.executed * 2.0 * scores * call.hd as f64;
        call.cost.lane_ops = self.lane_ops * scores;
        let rows = warps * STEP;
        call.launch(&self.kernel, rows, 32 * warps, rows * self.row_bytes, &[])
    }
}

/// Warps of a block: those that make the fewest blocks for slots of these sizes, and of them the
/// fewest, so that few have nothing to do.
fn warps(sizes: impl Iterator<Item = usize>, most: usize) -> usize {
    let steps: Vec<usize> = sizes.map(|t| t.div_ceil(STEP)).collect();
    let blocks = |warps| steps.iter().map(|steps| steps.div_ceil(warps)).sum::<usize>();
    let fewest = blocks(most);
    (1..=most).find(|&warps| blocks(warps) == fewest).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warps_are_shared_evenly() {
        let alike = |t, most| warps([t, t].into_iter(), most);
        assert_eq!(alike(1, 8), 1);
        assert_eq!(alike(82, 8), 6); // Sudoku
        assert_eq!(alike(901, 8), 8); // ARC
        assert_eq!(alike(901, 6), 6);
        assert_eq!(alike(130, 8), 5);
        assert_eq!(warps([82, 130, 17].into_iter(), 8), 6);
        assert_eq!(warps([901, 17].into_iter(), 8), 8);
    }
}
