//! Launches: tensor cores for bf16 at the head sizes of `TENSOR`, plain kernels for the rest.
//!
//! Backward is two launches, dq with delta and then dk with dv. Each computes the scores anew: 7
//! products where 5 would do, but no block waits for another and sums keep a fixed order.

use super::{Dims, Rope};
use crate::Result;
use crate::backend::{Arg, Cost, Kernel, Launch, Mode, Purpose, by_dtype, kernel, kernel_pair};
use crate::dtype::DType;
use crate::ops::refuse;
use crate::tensor::Tensor;

/// The passes, in the order of the tables below.
const FWD: usize = 0;
const BWD_DQ: usize = 1;
const BWD_DKV: usize = 2;

//   fwd      y lse       qkv cos sin             t nh scale        [hd rows]
//   bwd_dq   dqkv delta  qkv y dy lse cos sin    t nh scale add    [hd rows]
//   bwd_dkv  dqkv        qkv dy lse delta cos sin t nh scale add   [hd rows]
macro_rules! tensor {
    ($fwd:literal, $dq:literal, $dkv:literal) => {
        [
            kernel!("attention_fwd", $fwd, [Out, Out, In, In, In, U32, U32, F32]),
            kernel!("attention_bwd", $dq, [Out, Out, In, In, In, In, In, In, U32, U32, F32, U32]),
            kernel!("attention_bwd", $dkv, [Out, In, In, In, In, In, In, U32, U32, F32, U32]),
        ]
    };
}

/// HD and its kernels.
static TENSOR: [(usize, [Kernel; 3]); 3] = [
    (
        16,
        tensor!(
            "attention_fwd_hd16_bf16",
            "attention_bwd_dq_hd16_bf16",
            "attention_bwd_dkv_hd16_bf16"
        ),
    ),
    (
        32,
        tensor!(
            "attention_fwd_hd32_bf16",
            "attention_bwd_dq_hd32_bf16",
            "attention_bwd_dkv_hd32_bf16"
        ),
    ),
    (
        64,
        tensor!(
            "attention_fwd_hd64_bf16",
            "attention_bwd_dq_hd64_bf16",
            "attention_bwd_dkv_hd64_bf16"
        ),
    ),
];

static ANY: [[Kernel; 2]; 3] = [
    kernel_pair!("attention_any", "attention_fwd", [Out, Out, In, In, In, U32, U32, F32, U32, U32]),
    kernel_pair!(
        "attention_any",
        "attention_bwd_dq",
        [Out, Out, In, In, In, In, In, In, U32, U32, F32, U32, U32, U32]
    ),
    kernel_pair!(
        "attention_any",
        "attention_bwd_dkv",
        [Out, In, In, In, In, In, In, U32, U32, F32, U32, U32, U32]
    ),
];

pub fn forward(d: Dims, qkv: &Tensor, rope: Option<&Rope>, y: &Tensor, lse: &Tensor) -> Result<()> {
    let (cos, sin) = tables(rope);
    let args = [
        y.into(),
        lse.into(),
        qkv.into(),
        cos.into(),
        sin.into(),
        d.t.into(),
        d.nh.into(),
        d.scale().into(),
    ];
    launch(FWD, d, qkv, &args, cost(FWD, d, qkv, [Some(qkv), Some(y), Some(lse), cos]))
}

/// `saved`: qkv, y, lse.
pub fn backward(
    d: Dims,
    saved: [&Tensor; 3],
    rope: Option<&Rope>,
    dy: &Tensor,
    dqkv: &Tensor,
    mode: Mode,
) -> Result<()> {
    let [qkv, y, lse] = saved;
    let (cos, sin) = tables(rope);
    let both: [Arg; 2] = [cos.into(), sin.into()];
    let delta = &Tensor::uninit(qkv.device(), DType::F32, *lse.shape(), Purpose::Workspace)?;
    let sizes: [Arg; 4] = [d.t.into(), d.nh.into(), d.scale().into(), mode.into()];
    // Parts of dqkv are as large as y, and read too where they are added to.
    let parts = |n: usize| if mode == Mode::Add { 2 * n * y.bytes() } else { n * y.bytes() };

    let args = [&[dqkv, delta, qkv, y, dy, lse].map(Arg::from)[..], &both, &sizes].concat();
    let mut work =
        cost(BWD_DQ, d, qkv, [Some(qkv), Some(y), Some(dy), Some(lse), Some(delta), cos]);
    work.bytes += parts(1) as f64;
    launch(BWD_DQ, d, qkv, &args, work)?;

    let args = [&[dqkv, qkv, dy, lse, delta].map(Arg::from)[..], &both, &sizes].concat();
    let mut work = cost(BWD_DKV, d, qkv, [Some(qkv), Some(dy), Some(lse), Some(delta), cos]);
    work.bytes += parts(2) as f64;
    launch(BWD_DKV, d, qkv, &args, work)
}

fn tables(rope: Option<&Rope>) -> (Option<&Tensor>, Option<&Tensor>) {
    (rope.map(|r| &r.cos), rope.map(|r| &r.sin))
}

/// Products of the formula that a pass is charged with, and those it executes.
const PRODUCTS: [f64; 3] = [2.0, 1.0, 4.0];
const EXECUTED: [f64; 3] = [2.0, 3.0, 4.0];
/// Instructions for a score outside products at HD 64, as counted in the SASS for sm_89.
const LANE_OPS: [f64; 3] = [13.0, 15.0, 16.0];

/// `cos` stands for both tables, of which the tensor-core kernels read half.
fn cost<const N: usize>(pass: usize, d: Dims, x: &Tensor, touched: [Option<&Tensor>; N]) -> Cost {
    let scores = |t: usize| (d.b * d.nh * t * t) as f64;
    let flops = |scores: f64| 2.0 * scores * d.hd as f64;
    let executed = scores(d.t.next_multiple_of(STEP));
    let mut cost = Cost {
        matmul_flops: PRODUCTS[pass] * flops(scores(d.t)),
        bytes: touched.iter().flatten().map(|t| t.bytes() as f64).sum(),
        launches: 1.0,
        ..Cost::default()
    };
    if tensor_kernels(d, x).is_some() {
        cost.tensor_flops = EXECUTED[pass] * flops(executed);
        cost.lane_ops = LANE_OPS[pass] * executed;
    }
    cost
}

fn tensor_kernels(d: Dims, x: &Tensor) -> Option<&'static [Kernel; 3]> {
    let known = TENSOR.iter().find(|(hd, _)| x.dtype() == DType::Bf16 && *hd == d.hd);
    known.map(|(_, kernels)| kernels)
}

fn launch(pass: usize, d: Dims, x: &Tensor, args: &[Arg], cost: Cost) -> Result<()> {
    if d.t * 3 * d.nh * d.hd > u32::MAX as usize {
        return Err(refuse(
            "attention",
            format!("{} x {} elements of one row of the batch", d.t, 3 * d.nh * d.hd),
        ));
    }
    let (kernel, blocks, threads, shared_bytes, more) = match tensor_kernels(d, x) {
        Some(kernels) => {
            let (blocks, warps) = share(d.t.div_ceil(STEP), WARPS[pass]);
            (&kernels[pass], blocks, 32 * warps, 0, vec![])
        }
        None => {
            let (rows, shared_bytes) = plain_tile(pass, d.hd)?;
            let more = vec![d.hd.into(), rows.into()];
            (by_dtype(x.dtype(), &ANY[pass])?, d.t.div_ceil(rows), 128, shared_bytes, more)
        }
    };
    x.device().launch(&Launch {
        kernel,
        grid: [blocks, d.nh, d.b],
        block: [threads, 1, 1],
        shared_bytes,
        args: &[args, &more].concat(),
        cost,
    })
}

/// Rows that a warp owns on tensor cores.
const STEP: usize = 16;
/// Most warps of a block, for each pass: two such blocks fit a multiprocessor's registers.
const WARPS: [usize; 3] = [8, 8, 6];

/// Blocks, and warps of each, so that as few warps as possible have nothing to do.
fn share(steps: usize, most_warps: usize) -> (usize, usize) {
    let blocks = steps.div_ceil(most_warps);
    (blocks, steps.div_ceil(blocks))
}

/// Shared memory that a block may have on every supported card.
const SHARED_BYTES: usize = 99 * 1024;

/// Rows of a tile of the plain kernels, the most that fit, and the bytes they take.
fn plain_tile(pass: usize, hd: usize) -> Result<(usize, usize)> {
    // Tiles of rows, matrices of weights, and numbers per row: as the kernels lay them out.
    let (tiles, weights, numbers) = [(4, 1, 1), (5, 1, 2), (6, 2, 0)][pass];
    let bytes = |rows: usize| {
        tiles * rows * ((hd / 4) | 1) * 16 + weights * rows * (rows + 8) * 4 + numbers * rows * 4
    };
    [32, 16, 8]
        .into_iter()
        .map(|rows| (rows, bytes(rows)))
        .find(|x| x.1 <= SHARED_BYTES)
        .ok_or_else(|| {
            refuse(
                "attention",
                format!("head width {hd} needs {} bytes of shared memory", bytes(8)),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warps_are_shared_evenly() {
        assert_eq!(share(1, 8), (1, 1));
        assert_eq!(share(82usize.div_ceil(STEP), 8), (1, 6)); // Sudoku
        assert_eq!(share(901usize.div_ceil(STEP), 8), (8, 8)); // ARC
        assert_eq!(share(901usize.div_ceil(STEP), 6), (10, 6));
        assert_eq!(share(9, 8), (2, 5));
    }

    #[test]
    fn plain_tiles_shrink_with_the_head_and_end_in_a_refusal() {
        let rows = |hd| plain_tile(BWD_DKV, hd).map(|x| x.0);
        assert_eq!([8, 64, 128, 256].map(|hd| rows(hd).unwrap()), [32, 32, 16, 8]);
        let error = rows(1024).unwrap_err().to_string();
        assert!(error.contains("head width 1024") && error.contains("shared memory"), "{error}");
    }
}
