//! The products of kernels/matmul.cu, or of the device's library where it has one.
//!
//! Library and kernels get the same workspace, so that a plan holds for either.

use super::Dims;
use super::cut::{Cut, T64, T96, T128, Tile};
use crate::Result;
use crate::backend::gemm::{Gemm, Layout};
use crate::backend::{
    Arg, Cost, Kernel, Launch, Mode, Param, Purpose, by_dtype, kernel, kernel_pair,
};
use crate::dtype::DType;
use crate::ops::{refuse, traffic};
use crate::tensor::Tensor;

/// out a b bias m n k k_per_part add
const PRODUCT: &[Param] = {
    use Param::*;
    &[Out, In, In, In, U32, U32, U32, U32, U32]
};

/// A kernel and the outputs that its block computes.
struct Variant {
    kernel: Kernel,
    tile: Tile,
    threads: usize,
}

/// One layout's kernels, the preferred ones first.
struct Product {
    layout: Layout,
    f32: &'static [Variant],
    bf16: &'static [Variant],
    /// bf16 with rows that are no multiple of 16 bytes.
    any: &'static [Variant],
}

macro_rules! variant {
    ($pass:literal, $name:literal, $tile:ident, $threads:literal) => {
        Variant {
            kernel: Kernel {
                op: "matmul",
                name: concat!("matmul_", $pass, "_", $name),
                params: PRODUCT,
            },
            tile: $tile,
            threads: $threads,
        }
    };
}

macro_rules! product {
    ($layout:ident, $pass:literal, [$($more:expr),*]) => {
        Product {
            layout: Layout::$layout,
            f32: &[variant!($pass, "f32_t128", T128, 256), variant!($pass, "f32_t64", T64, 64)],
            bf16: &[
                variant!($pass, "bf16_t128", T128, 128),
                $($more,)*
                variant!($pass, "bf16_t64", T64, 128),
            ],
            any: &[variant!($pass, "bf16_any", T64, 128)],
        }
    };
}

static FWD: Product = product!(Nt, "fwd", [variant!("fwd", "bf16_t96", T96, 128)]);
static BWD_DX: Product = product!(Nn, "bwd_dx", [variant!("bwd_dx", "bf16_t96", T96, 128)]);
static BWD_DW: Product = product!(Tn, "bwd_dw", []);
static BWD_DB: [Kernel; 2] = kernel_pair!("matmul", "matmul_bwd_db", [Out, In, U32, U32, U32]);
static SUM_PARTS: Kernel = kernel!("matmul", "matmul_sum_parts_f32", [Out, In, U32, U32, U32]);

/// d_gate_up gate_up dy v m f k
static SWIGLU_BWD: Kernel =
    kernel!("matmul", "matmul_swiglu_bwd_bf16", [Out, In, In, In, U32, U32, U32]);
/// y gate_up x w m f k
static SWIGLU: Kernel = kernel!("matmul", "matmul_swiglu_bf16", [Out, Out, In, In, U32, U32, U32]);

pub fn forward(
    cost: Cost,
    d: Dims,
    x: &Tensor,
    w: &Tensor,
    b: Option<&Tensor>,
    y: &Tensor,
) -> Result<()> {
    product(&FWD, cost, d, [x, w], b, y, Mode::Set)
}

pub fn backward_x(
    cost: Cost,
    d: Dims,
    dy: &Tensor,
    w: &Tensor,
    dx: &Tensor,
    mode: Mode,
) -> Result<()> {
    product(&BWD_DX, cost, d, [dy, w], None, dx, mode)
}

pub fn backward_w(
    cost: Cost,
    d: Dims,
    dy: &Tensor,
    x: &Tensor,
    dw: &Tensor,
    mode: Mode,
) -> Result<()> {
    product(&BWD_DW, cost, d, [dy, x], None, dw, mode)
}

/// Whether the gated products have kernels, and their large tile is the better one. d: m rows, n =
/// 2F gate and up columns, k = K; x (m, K), w (2F, K), v (O, F).
pub fn gated_suits(d: Dims, operands: [&Tensor; 3]) -> bool {
    let speed = |tile| Cut::new(d, Layout::Nt, tile).speed();
    operands.iter().all(|t| {
        t.dtype() == DType::Bf16 && starts_aligned(t) && t.shape().last().is_multiple_of(8)
    }) && operands[2].shape().rows().is_multiple_of(8)
        && speed(T128) >= speed(T64)
}

/// y (m, n / 2) and, where given, gate_up (m, n).
pub fn gated(
    cost: Cost,
    d: Dims,
    x: &Tensor,
    w: &Tensor,
    gate_up: Option<&Tensor>,
    y: &Tensor,
) -> Result<()> {
    let Dims { m, n, k } = d;
    let cut = Cut::new(d, Layout::Nt, T128);
    y.device().launch(&Launch {
        kernel: &SWIGLU,
        grid: [cut.tiles(), 1, 1],
        block: [128, 1, 1],
        shared_bytes: 0,
        args: &[y.into(), gate_up.into(), x.into(), w.into(), m.into(), (n / 2).into(), k.into()],
        cost: Cost { tensor_flops: cut.executed_flops(), ..cost },
    })
}

/// d_gate_up from d = dy v: d is m rows, n = F columns, k = O.
pub fn gated_backward(
    cost: Cost,
    d: Dims,
    dy: &Tensor,
    v: &Tensor,
    gate_up: &Tensor,
    d_gate_up: &Tensor,
) -> Result<()> {
    let Dims { m, n, k } = d;
    let cut = Cut::new(d, Layout::Nn, T128);
    dy.device().launch(&Launch {
        kernel: &SWIGLU_BWD,
        grid: [cut.tiles(), 1, 1],
        block: [128, 1, 1],
        shared_bytes: 0,
        args: &[
            d_gate_up.into(),
            gate_up.into(),
            dy.into(),
            v.into(),
            m.into(),
            n.into(),
            k.into(),
        ],
        cost: Cost { tensor_flops: cut.executed_flops(), ..cost },
    })
}

/// Rows are summed in up to 64 parts, and these in order.
pub fn backward_b(cost: Cost, dy: &Tensor, db: &Tensor, mode: Mode) -> Result<()> {
    let (m, n) = (dy.elems() / db.elems(), db.elems());
    let rows_per_part = m.div_ceil(64).max(64);
    let parts = m.div_ceil(rows_per_part);
    let sums = Tensor::uninit(dy.device(), DType::F32, [parts, n], Purpose::Workspace)?;
    dy.device().launch(&Launch {
        kernel: by_dtype(dy.dtype(), &BWD_DB)?,
        grid: [n.div_ceil(32), parts, 1],
        block: [256, 1, 1],
        shared_bytes: 0,
        args: &[(&sums).into(), dy.into(), m.into(), n.into(), rows_per_part.into()],
        cost: cost.and_bytes(sums.bytes()),
    })?;
    sum_parts(&sums, parts, db, mode)
}

fn sum_parts(parts: &Tensor, count: usize, out: &Tensor, mode: Mode) -> Result<()> {
    let elems = out.elems();
    out.device().launch(&Launch {
        kernel: &SUM_PARTS,
        grid: [elems.div_ceil(256), 1, 1],
        block: [256, 1, 1],
        shared_bytes: 0,
        args: &[out.into(), parts.into(), elems.into(), count.into(), mode.into()],
        cost: traffic(count * elems * DType::F32.size_bytes()),
    })
}

fn product(
    product: &'static Product,
    cost: Cost,
    d: Dims,
    [a, b]: [&Tensor; 2],
    bias: Option<&Tensor>,
    out: &Tensor,
    mode: Mode,
) -> Result<()> {
    let Dims { m, n, k } = d;
    let device = out.device();
    let variants = product.variants(d, [a, b])?;
    let cuts = variants.iter().map(|v| (v, Cut::new(d, product.layout, v.tile)));
    // the last of equals: the first variant
    let best = cuts.rev().max_by(|(_, p), (_, q)| p.speed().total_cmp(&q.speed()));
    let (variant, cut) = best.expect("every list has a variant");
    let workspace =
        Tensor::uninit(device, DType::F32, [cut.workspace_elems()], Purpose::Workspace)?;
    let gemm = Gemm {
        layout: product.layout,
        m,
        n,
        k,
        dtype: a.dtype(),
        out_dtype: out.dtype(),
        out: out.into(),
        a: a.into(),
        b: b.into(),
        bias: bias.into(),
        mode,
        workspace: (&workspace).into(),
        workspace_bytes: workspace.bytes(),
    };
    if device.gemm(&gemm)? {
        return Ok(());
    }
    let whole = cut.parts == 1;
    let (to, to_mode) = if whole { (out, mode) } else { (&workspace, Mode::Set) };
    let parts_bytes = if whole { 0 } else { cut.parts * m * n * DType::F32.size_bytes() };
    let tensor_flops = if a.dtype() == DType::Bf16 { cut.executed_flops() } else { 0.0 };
    device.launch(&Launch {
        kernel: &variant.kernel,
        grid: [cut.tiles(), 1, cut.parts],
        block: [variant.threads, 1, 1],
        shared_bytes: 0,
        args: &[
            to.into(),
            a.into(),
            b.into(),
            bias.into(),
            m.into(),
            n.into(),
            k.into(),
            cut.k_per_part.into(),
            to_mode.into(),
        ],
        cost: Cost { tensor_flops, ..cost.and_bytes(parts_bytes) },
    })?;
    if whole { Ok(()) } else { sum_parts(&workspace, cut.parts, out, mode) }
}

impl Product {
    fn variants(&self, d: Dims, operands: [&Tensor; 2]) -> Result<&'static [Variant]> {
        match operands[0].dtype() {
            DType::F32 => Ok(self.f32),
            DType::Bf16 if rows_are_aligned(self.layout, d, operands) => Ok(self.bf16),
            DType::Bf16 => Ok(self.any),
            other => Err(refuse("matmul", format!("x is {other}, not f32 or bf16"))),
        }
    }
}

/// Whether every row of both operands starts at a multiple of 16 bytes.
fn rows_are_aligned(layout: Layout, d: Dims, operands: [&Tensor; 2]) -> bool {
    let rows = match layout {
        Layout::Nt => [d.k, d.k],
        Layout::Nn => [d.k, d.n],
        Layout::Tn => [d.m, d.n],
    };
    operands
        .iter()
        .zip(rows)
        .all(|(t, row)| starts_aligned(t) && (row * t.dtype().size_bytes()).is_multiple_of(16))
}

fn starts_aligned(t: &Tensor) -> bool {
    match Arg::from(t) {
        Arg::Memory(_, start_bytes) => start_bytes.is_multiple_of(16),
        _ => false,
    }
}
