//! The products of kernels/matmul.cu, or of the device's library where it has one.
//!
//! Tile and number of parts are functions of the shape alone, not of the card: neither bits nor
//! memory depend on it. Library and kernels get the same workspace, so a plan holds for either.

use super::Dims;
use crate::Result;
use crate::backend::gemm::{Gemm, Layout};
use crate::backend::{
    Arg, Cost, Kernel, Launch, Mode, Param, Purpose, by_dtype, kernel, kernel_pair,
};
use crate::dtype::DType;
use crate::ops::traffic;
use crate::tensor::Tensor;

/// out a b bias m n k k_per_part add
const PRODUCT: &[Param] = {
    use Param::*;
    &[Out, In, In, In, U32, U32, U32, U32, U32]
};

/// One layout's kernels.
struct Product {
    layout: Layout,
    /// f32 and bf16, 128 x 128 outputs a block.
    large: [Kernel; 2],
    /// 64 x 64.
    small: [Kernel; 2],
    /// bf16, 64 x 64, rows that are no multiple of 16 bytes.
    any: Kernel,
}

macro_rules! product {
    ($layout:expr, $pass:literal) => {{
        const fn named(name: &'static str) -> Kernel {
            Kernel { op: "matmul", name, params: PRODUCT }
        }
        Product {
            layout: $layout,
            large: [
                named(concat!("matmul_", $pass, "_f32_t128")),
                named(concat!("matmul_", $pass, "_bf16_t128")),
            ],
            small: [
                named(concat!("matmul_", $pass, "_f32_t64")),
                named(concat!("matmul_", $pass, "_bf16_t64")),
            ],
            any: named(concat!("matmul_", $pass, "_bf16_any")),
        }
    }};
}

static FWD: Product = product!(Layout::Nt, "fwd");
static BWD_DX: Product = product!(Layout::Nn, "bwd_dx");
static BWD_DW: Product = product!(Layout::Tn, "bwd_dw");
static BWD_DB: [Kernel; 2] = kernel_pair!("matmul", "matmul_bwd_db", [Out, In, U32, U32, U32]);
static SUM_PARTS: Kernel = kernel!("matmul", "matmul_sum_parts_f32", [Out, In, U32, U32, U32]);

/// y gate_up x w m f k
static SWIGLU: Kernel = kernel!("matmul", "matmul_swiglu_bf16", [Out, Out, In, In, U32, U32, U32]);

/// Multiprocessors that the rule counts on: an RTX 4090 has 128, an H100 132.
const MULTIPROCESSORS: usize = 128;
/// Blocks of a large tile that one multiprocessor holds.
const RESIDENT_BLOCKS: usize = 2;
/// Multiprocessors with a block, averaged over a launch's waves, that are busy enough.
const GOOD_BUSY_FRAC: f64 = 0.9;
/// Speed of a small tile relative to a large one, by count: it reads each operand twice as often.
const SMALL_TILE_RATE: f64 = 0.85;
/// Shorter parts of a sum would be mostly start-up and store.
const MIN_K_PER_PART: usize = 256;
/// Parts are whole slices of shared memory.
const SLICE_K: usize = 32;
const MAX_WORKSPACE_BYTES: usize = 32 << 20;
/// f32 copies of the output that the library may use to split a sum.
const LIBRARY_PARTS: usize = 4;

pub fn forward(d: Dims, x: &Tensor, w: &Tensor, b: Option<&Tensor>, y: &Tensor) -> Result<()> {
    product(&FWD, d, [x, w], b, y, Mode::Set)
}

pub fn backward_x(d: Dims, dy: &Tensor, w: &Tensor, dx: &Tensor, mode: Mode) -> Result<()> {
    product(&BWD_DX, d, [dy, w], None, dx, mode)
}

pub fn backward_w(d: Dims, dy: &Tensor, x: &Tensor, dw: &Tensor, mode: Mode) -> Result<()> {
    product(&BWD_DW, d, [dy, x], None, dw, mode)
}

/// Whether the gated product has a kernel, and its large tile is the better one.
pub fn gated_suits(d: Dims, x: &Tensor, w: &Tensor) -> bool {
    [x, w].iter().all(|t| t.dtype() == DType::Bf16)
        && d.n.is_multiple_of(16)
        && rows_are_aligned(Layout::Nt, d, [x, w])
        && Cut::new(d, Layout::Nt, true).tile == 128
}

/// y (m, n / 2) and, where given, gate_up (m, n).
pub fn gated(d: Dims, x: &Tensor, w: &Tensor, gate_up: Option<&Tensor>, y: &Tensor) -> Result<()> {
    let Dims { m, n, k } = d;
    let cut = Cut { tile: 128, parts: 1, k_per_part: k };
    let written = y.bytes() + gate_up.map_or(0, Tensor::bytes);
    y.device().launch(&Launch {
        kernel: &SWIGLU,
        grid: [cut.tiles(d), 1, 1],
        block: [128, 1, 1],
        shared_bytes: 0,
        args: &[y.into(), gate_up.into(), x.into(), w.into(), m.into(), (n / 2).into(), k.into()],
        cost: cost(d, cut.executed_flops(d), x.bytes() + w.bytes() + written),
    })
}

fn cost(d: Dims, tensor_flops: f64, bytes: usize) -> Cost {
    let Dims { m, n, k } = d;
    Cost {
        matmul_flops: 2.0 * m as f64 * n as f64 * k as f64,
        tensor_flops,
        bytes: bytes as f64,
        launches: 1.0,
        ..Cost::default()
    }
}

/// Rows are summed in up to 64 parts, and these in order.
pub fn backward_b(dy: &Tensor, db: &Tensor, mode: Mode) -> Result<()> {
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
        cost: traffic(dy.bytes() + sums.bytes()),
    })?;
    sum_parts(&sums, parts, db, mode)
}

fn sum_parts(parts: &Tensor, count: usize, out: &Tensor, mode: Mode) -> Result<()> {
    let elems = out.elems();
    let read = count * elems * DType::F32.size_bytes();
    out.device().launch(&Launch {
        kernel: &SUM_PARTS,
        grid: [elems.div_ceil(256), 1, 1],
        block: [256, 1, 1],
        shared_bytes: 0,
        args: &[out.into(), parts.into(), elems.into(), count.into(), mode.into()],
        cost: traffic(read + written_bytes(out, mode)),
    })
}

fn written_bytes(out: &Tensor, mode: Mode) -> usize {
    out.bytes() * if mode == Mode::Add { 2 } else { 1 }
}

fn product(
    product: &'static Product,
    d: Dims,
    [a, b]: [&Tensor; 2],
    bias: Option<&Tensor>,
    out: &Tensor,
    mode: Mode,
) -> Result<()> {
    let Dims { m, n, k } = d;
    let device = out.device();
    let aligned = rows_are_aligned(product.layout, d, [a, b]);
    let cut = Cut::new(d, product.layout, aligned || a.dtype() == DType::F32);
    let workspace =
        Tensor::uninit(device, DType::F32, [cut.workspace_elems(d)], Purpose::Workspace)?;
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
    let written = if whole { written_bytes(out, mode) } else { 4 * cut.parts * m * n };
    let tensor_flops = if a.dtype() == DType::Bf16 { cut.executed_flops(d) } else { 0.0 };
    let (kernel, threads) = cut.kernel(product, a.dtype(), aligned)?;
    device.launch(&Launch {
        kernel,
        grid: [cut.tiles(d), 1, cut.parts],
        block: [threads, 1, 1],
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
        cost: cost(
            d,
            tensor_flops,
            a.bytes() + b.bytes() + bias.map_or(0, Tensor::bytes) + written,
        ),
    })?;
    if whole { Ok(()) } else { sum_parts(&workspace, cut.parts, out, mode) }
}

/// How the work is cut into blocks.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cut {
    /// Outputs of a block: tile x tile.
    tile: usize,
    /// Parts of the sum over k; more than one only where the output is f32 anyway.
    parts: usize,
    k_per_part: usize,
}

impl Cut {
    /// The tile that wastes less of the card, if a kernel has both (`large`).
    fn new(d: Dims, layout: Layout, large: bool) -> Self {
        let [small, big] = [64, 128].map(|tile| Self::with_tile(d, layout, tile));
        if large && big.useful_frac(d) >= SMALL_TILE_RATE * small.useful_frac(d) {
            big
        } else {
            small
        }
    }

    /// The fewest parts that keep the multiprocessors busy.
    fn with_tile(d: Dims, layout: Layout, tile: usize) -> Self {
        let Dims { m, n, k } = d;
        let tiles = m.div_ceil(tile) * n.div_ceil(tile);
        let most_parts = match layout {
            Layout::Tn => (k / MIN_K_PER_PART).min(MAX_WORKSPACE_BYTES / (4 * m * n)).max(1),
            Layout::Nt | Layout::Nn => 1,
        };
        let busy_frac = |parts: usize| {
            let blocks = tiles * parts;
            blocks as f64 / blocks.next_multiple_of(MULTIPROCESSORS) as f64
        };
        let enough = GOOD_BUSY_FRAC * (RESIDENT_BLOCKS * MULTIPROCESSORS) as f64;
        let good = |p: usize| (tiles * p) as f64 >= enough && busy_frac(p) >= GOOD_BUSY_FRAC;
        let busiest =
            || (1..=most_parts).rev().max_by(|p, q| busy_frac(*p).total_cmp(&busy_frac(*q)));
        let parts = (1..=most_parts).find(|&p| good(p)).or_else(busiest).unwrap_or(1);
        let k_per_part = k.div_ceil(parts).next_multiple_of(SLICE_K);
        Self { tile, parts: k.div_ceil(k_per_part), k_per_part }
    }

    /// Blocks of one part.
    fn tiles(&self, d: Dims) -> usize {
        d.m.div_ceil(self.tile) * d.n.div_ceil(self.tile)
    }

    /// Of whole tiles and whole slices.
    fn executed_flops(&self, d: Dims) -> f64 {
        let outputs = self.tiles(d) * self.tile.pow(2);
        2.0 * outputs as f64 * d.k.next_multiple_of(SLICE_K) as f64
    }

    /// Wanted outputs among those that the launch's waves have room for.
    fn useful_frac(&self, d: Dims) -> f64 {
        let room =
            (self.tiles(d) * self.parts).next_multiple_of(MULTIPROCESSORS) * self.tile.pow(2);
        (d.m * d.n * self.parts) as f64 / room as f64
    }

    /// At most `MAX_WORKSPACE_BYTES`, and enough for `parts` copies of the output.
    fn workspace_elems(&self, d: Dims) -> usize {
        (self.parts.max(LIBRARY_PARTS) * d.m * d.n).min(MAX_WORKSPACE_BYTES / 4)
    }

    /// The kernel and its threads.
    fn kernel(
        &self,
        of: &'static Product,
        dtype: DType,
        aligned: bool,
    ) -> Result<(&'static Kernel, usize)> {
        let kernels = if self.tile == 128 { &of.large } else { &of.small };
        Ok(match dtype {
            DType::Bf16 if !aligned => (&of.any, 128),
            DType::Bf16 => (by_dtype(dtype, kernels)?, 128),
            _ => (by_dtype(dtype, kernels)?, self.tile * self.tile / 64),
        })
    }
}

/// Whether every row of both operands starts at a multiple of 16 bytes.
fn rows_are_aligned(layout: Layout, d: Dims, operands: [&Tensor; 2]) -> bool {
    let rows = match layout {
        Layout::Nt => [d.k, d.k],
        Layout::Nn => [d.k, d.n],
        Layout::Tn => [d.m, d.n],
    };
    operands.iter().zip(rows).all(|(t, row)| {
        let start_bytes = match Arg::from(*t) {
            Arg::Memory(_, start_bytes) => start_bytes,
            _ => 0,
        };
        [start_bytes, row * t.dtype().size_bytes()].iter().all(|b| b.is_multiple_of(16))
    })
}
