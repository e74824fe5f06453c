//! bf16 on tensor cores. A warp owns 16 positions; a block has as many warps as share a row evenly.

use super::Call;
use crate::Result;
use crate::backend::{Cost, Kernel};
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
    sighted: Kernel,
    /// Slots and tiles of this pass. Two blocks of the most warps fit a multiprocessor's registers.
    cut: Cut,
    /// Dynamic shared memory for each of a block's rows.
    row_bytes: usize,
    /// Products that are executed, recomputed scores included.
    executed: f64,
    /// Instructions for a score outside products, as counted in the SASS at HD 64.
    lane_ops: f64,
}

/// Instructions that dropout adds for a score: ten rounds of eight for four words, their exchange
/// and two comparisons.
const DRAW_LANE_OPS: f64 = 25.0;

// Pointers in the order of the kernels' headers, then the layout, nh, scale and add.
macro_rules! pass {
    (
        $module:literal, $pass:literal, $hd:literal, [$($param:ident),*],
        $cut:expr, $row_bytes:expr, $executed:literal, $lane_ops:literal
    ) => {{
        use crate::backend::Param::{F32, In, Out, U32};
        Pass {
            kernel: Kernel {
                op: $module,
                name: concat!("attention_", $pass, "_hd", $hd, "_bf16"),
                params: &[$($param),*],
            },
            sighted: Kernel {
                op: $module,
                name: concat!("attention_", $pass, "_sight_hd", $hd, "_bf16"),
                params: &[$($param),*, U32, In, U32, U32, F32, F32],
            },
            cut: $cut,
            row_bytes: $row_bytes,
            executed: $executed,
            lane_ops: $lane_ops,
        }
    }};
}

macro_rules! kernels {
    ($hd:literal) => {
        Kernels {
            fwd: pass!(
                "attention_fwd",
                "fwd",
                $hd,
                [Out, Out, In, In, In, In, In, In, In, U32, F32],
                Cut::Steps(8),
                0,
                2.0,
                13.0
            ),
            bwd_dq: pass!(
                "attention_bwd",
                "bwd_dq",
                $hd,
                [Out, Out, In, In, In, In, In, In, In, In, In, In, U32, F32, U32],
                Cut::LongSteps(8),
                0,
                3.0,
                15.0
            ),
            bwd_dkv: pass!(
                "attention_bwd",
                "bwd_dkv",
                $hd,
                [Out, In, In, In, In, In, In, In, In, In, In, U32, F32, U32],
                Cut::LongSteps(6),
                0,
                4.0,
                16.0
            ),
            // q, dy, k, v; lse and delta
            bwd_short: pass!(
                "attention_bwd",
                "bwd_short",
                $hd,
                [Out, In, In, In, In, In, In, In, In, In, In, U32, F32, U32],
                Cut::ShortSteps(SHORT / STEP),
                4 * $hd * 2 + 8,
                7.0,
                27.0
            ),
        }
    };
}

static HD_16: Kernels = kernels!(16);
static HD_32: Kernels = kernels!(32);
static HD_64: Kernels = kernels!(64);

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
        let (of, padded) = (call.of, sizes.map(|t| t.next_multiple_of(STEP)));
        // Steps on the diagonal are computed whole.
        let of_slot = |t: usize| if of.causal { t * (t + STEP) / 2 } else { t * t };
        let scores = (call.nh * padded.map(of_slot).sum::<usize>()) as f64;
        let drawn = if of.dropout.is_some() { DRAW_LANE_OPS } else { 0.0 };
        call.cost = Cost {
            tensor_flops: self.executed * 2.0 * scores * call.hd as f64,
            lane_ops: (self.lane_ops + drawn) * scores,
            ..call.share(self.cut)
        };
        let (height, kernel) =
            (tiles.height, if call.sight.is_some() { &self.sighted } else { &self.kernel });
        call.launch(kernel, &tiles.list, 32 * height / STEP, height * self.row_bytes, &[])
    }
}
