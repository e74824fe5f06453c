//! Launches of real kernels with one thing wrong, and a graph that outlives its memory.

use hrm::Result;
use hrm::backend::{Arg, Cost, Device, Graph, Kernel, Launch, Mode, Param, Purpose};
use hrm::dtype::DType;
use hrm::ops::layout::Layout;
use hrm::tensor::Tensor;

use super::{Planted, Scene};
use crate::mutation::Caught;
use Param::{F32, In, Out, U32};

static RMS_FWD: Kernel = kernel("rms_norm_fwd_f32", &[Out, Out, In, In, U32, U32, F32]);
static RMS_BWD: Kernel = kernel("rms_norm_bwd_f32", &[Out, In, In, U32, U32]);
static ADD: Kernel = kernel("add_fwd_f32", &[Out, In, In, In, U32]);
static SWIGLU: Kernel = kernel("swiglu_bwd_f32", &[Out, In, In, U32, U32, U32]);
static PRODUCT: Kernel = kernel("matmul_fwd_f32_t64", &[Out, In, In, In, U32, U32, U32, U32, U32]);
static ATTENTION: Kernel =
    kernel("attention_fwd_f32", &[Out, Out, In, In, In, In, In, In, In, U32, F32, U32, U32]);

const fn kernel(name: &'static str, params: &'static [Param]) -> Kernel {
    Kernel { op: "mutations", name, params }
}

pub const SCENES: &[Scene] = &[
    Scene {
        name: "grid rounded down",
        play: |device, planted| {
            let blocks = if planted == Planted::Yes { ROWS / 4 } else { ROWS.div_ceil(4) };
            rms_norm(device, [blocks, 128], [ROWS, WIDTH])
        },
        caught: Caught::Finding {
            kinds: &["uninitialised"],
            kernel: "rms_norm_bwd_f32",
            at: &[("rms_norm.cu", "const float scale = rstd[row];")],
        },
    },
    Scene {
        name: "a block of half the warps",
        play: |device, planted| {
            let threads = if planted == Planted::Yes { 64 } else { 128 };
            rms_norm(device, [ROWS.div_ceil(4), threads], [ROWS, WIDTH])
        },
        caught: Caught::Finding {
            kinds: &["uninitialised"],
            kernel: "rms_norm_bwd_f32",
            at: &[("rms_norm.cu", "const float scale = rstd[row];")],
        },
    },
    Scene {
        name: "more threads than the kernel is bound to",
        play: |device, planted| {
            let threads = if planted == Planted::Yes { 256 } else { 128 };
            rms_norm(device, [ROWS.div_ceil(4), threads], [ROWS, WIDTH])
        },
        caught: Caught::Finding { kinds: &["launch"], kernel: "rms_norm_fwd_f32", at: &[] },
    },
    Scene {
        name: "a row more than there are",
        play: |device, planted| {
            let rows = if planted == Planted::Yes { ROWS + 1 } else { ROWS };
            rms_norm(device, [ROWS.div_ceil(4), 128], [rows, WIDTH])
        },
        caught: Caught::Finding {
            kinds: &["out_of_bounds"],
            kernel: "rms_norm_fwd_f32",
            at: &[(
                "rms_norm.cu",
                "const T s = r ? from_f32<T>(to_f32(x[i]) + to_f32(r[i])) : x[i];",
            )],
        },
    },
    Scene {
        name: "m and k exchanged",
        play: |device, planted| {
            let (m, n, k) = (40, 24, 17);
            let (out, a, b) = (empty(device, m * n)?, ones(device, m * k)?, ones(device, n * k)?);
            let (m, k) = if planted == Planted::Yes { (k, m) } else { (m, k) };
            let sizes = [m, n, k, k, 0].map(Arg::from);
            let pointers = [(&out).into(), (&a).into(), (&b).into(), Arg::Null];
            let args = [&pointers[..], &sizes].concat();
            launch(device, &PRODUCT, [1, 1, 1], 64, 0, &args)
        },
        caught: Caught::Finding {
            kinds: &["out_of_bounds"],
            kernel: "matmul_fwd_f32_t64",
            at: &[("matmul.cu", "cp_async_4(&to[kk][e], from +")],
        },
    },
    Scene {
        name: "input and output exchanged",
        play: |device, planted| {
            let (a, b, y) = (ones(device, ELEMS)?, ones(device, ELEMS)?, empty(device, ELEMS)?);
            let (y, a) = if planted == Planted::Yes { (&a, &y) } else { (&y, &a) };
            let args = [y.into(), a.into(), (&b).into(), Arg::Null, ELEMS.into()];
            launch(device, &ADD, [1, 1, 1], 256, 0, &args)
        },
        caught: Caught::Finding {
            kinds: &["uninitialised"],
            kernel: "add_fwd_f32",
            at: &[("add.cu", "load_f32<T, W>(a + i, sum);")],
        },
    },
    Scene {
        name: "Add where nothing was Set",
        play: |device, planted| {
            let (n, f) = (5, 24);
            let (dx, x, dy) =
                (empty(device, 2 * n * f)?, ones(device, 2 * n * f)?, ones(device, n * f)?);
            let mode = if planted == Planted::Yes { Mode::Add } else { Mode::Set };
            let pointers = [(&dx).into(), (&x).into(), (&dy).into()];
            let args = [&pointers[..], &[(n * f).into(), f.into(), mode.into()]].concat();
            launch(device, &SWIGLU, [1, 1, 1], 256, 0, &args)
        },
        caught: Caught::Finding {
            kinds: &["uninitialised"],
            kernel: "swiglu_bwd_f32",
            at: &[("swiglu.cu", "load_f32<T, W>(dx + at, dg);")],
        },
    },
    Scene {
        name: "too little dynamic shared memory",
        play: |device, planted| {
            let spare = if planted == Planted::Yes { 0 } else { 4 * TILE };
            attention(device, HEADS, SHARED_BYTES - 4 * TILE + spare)
        },
        caught: Caught::Finding {
            kinds: &["shared_out_of_bounds"],
            kernel: "attention_fwd_f32",
            at: &[("attention_any.cu", "if (lane == 0) factor[row] = shrink;")],
        },
    },
    Scene {
        name: "a head more than there are",
        play: |device, planted| {
            attention(device, if planted == Planted::Yes { HEADS + 1 } else { HEADS }, SHARED_BYTES)
        },
        caught: Caught::Finding {
            kinds: &["out_of_bounds"],
            kernel: "attention_fwd_f32",
            at: &[("attention_any.cu", "v = to_f32(from[i]);")],
        },
    },
    Scene {
        name: "a captured step replayed after its input was freed",
        play: |device, planted| {
            let (graph, y, a) = captured_sum(device)?;
            let kept = (planted == Planted::No).then_some(a);
            graph.replay()?;
            device.synchronize()?;
            drop((kept, y));
            Ok(())
        },
        caught: Caught::Finding {
            kinds: &["use_after_free", "out_of_bounds"],
            kernel: "add_fwd_f32",
            at: &[("add.cu", "load_f32<T, W>(a + i, sum);")],
        },
    },
    Scene {
        name: "a captured step replayed when its input is another's memory",
        play: |device, planted| {
            let (graph, y, a) = captured_sum(device)?;
            let kept = (planted == Planted::No).then_some(a);
            let next = empty(device, ELEMS)?;
            graph.replay()?;
            device.synchronize()?;
            drop((kept, next, y));
            Ok(())
        },
        caught: Caught::Finding {
            kinds: &["uninitialised"],
            kernel: "add_fwd_f32",
            at: &[("add.cu", "load_f32<T, W>(a + i, sum);")],
        },
    },
];

const ELEMS: usize = 100;

/// y = a + a as a graph, run once before, when its kernel was loaded.
fn captured_sum(device: &Device) -> Result<(Graph, Tensor, Tensor)> {
    let (y, a) = (empty(device, ELEMS)?, ones(device, ELEMS)?);
    let step = || {
        let args = [(&y).into(), (&a).into(), (&a).into(), Arg::Null, ELEMS.into()];
        launch(device, &ADD, [1, 1, 1], 256, 0, &args)
    };
    step()?;
    let graph = device.capture(step)?;
    Ok((graph, y, a))
}

const ROWS: usize = 7;
const WIDTH: usize = 13;

/// Forward as asked for, then backward of all rows.
fn rms_norm(device: &Device, [blocks, threads]: [usize; 2], [n, c]: [usize; 2]) -> Result<()> {
    let elems = ROWS * WIDTH;
    let (x, r, dy) = (ones(device, elems)?, ones(device, elems)?, ones(device, elems)?);
    let (y, rstd) = (empty(device, elems)?, empty(device, ROWS)?);
    let pointers = [(&y).into(), (&rstd).into(), (&x).into(), (&r).into()];
    let args = [&pointers[..], &[n.into(), c.into(), 1e-5.into()]].concat();
    launch(device, &RMS_FWD, [blocks, 1, 1], threads, 0, &args)?;
    let pointers = [(&dy).into(), (&y).into(), (&rstd).into()];
    let args = [&pointers[..], &[ROWS.into(), WIDTH.into()]].concat();
    launch(device, &RMS_BWD, [ROWS.div_ceil(4), 1, 1], 128, 0, &args)?;
    device.synchronize()
}

const HEADS: usize = 2;
/// Rows of a tile and their width in memory: 12 / 4 | 1 pieces of 16 bytes.
const TILE: usize = 8;
const HEAD_WIDTH: usize = 12;
const ROW_BYTES: usize = 3 * 16;
/// Four tiles, the weights, and a number for each row.
const SHARED_BYTES: usize = 4 * TILE * ROW_BYTES + 4 * TILE * (TILE + 8) + 4 * TILE;

fn attention(device: &Device, grid_heads: usize, shared_bytes: usize) -> Result<()> {
    let (t, c) = (19, HEADS * HEAD_WIDTH);
    let qkv = ones(device, t * 3 * c)?;
    let (y, lse) = (empty(device, t * c)?, empty(device, HEADS * t)?);
    let layout = Layout::padded(device, 1, 0, t)?;
    let firsts: Vec<i32> = (0..t).step_by(TILE).flat_map(|first| [0, first as i32]).collect();
    let blocks = firsts.len() / 2;
    let tiles = Tensor::from_slice(device, &firsts, [blocks, 2], Purpose::Activations)?;
    let starts = &layout.positions().device;
    let pointers = [(&y).into(), (&lse).into(), (&qkv).into(), Arg::Null, Arg::Null];
    let rows = [&tiles, starts, &layout.lengths, &layout.places].map(Arg::from);
    let sizes = [HEADS.into(), 0.3.into(), HEAD_WIDTH.into(), TILE.into()];
    let args = [&pointers[..], &rows, &sizes].concat();
    launch(device, &ATTENTION, [blocks, grid_heads, 1], 128, shared_bytes, &args)?;
    device.synchronize()
}

fn launch(
    device: &Device,
    kernel: &'static Kernel,
    grid: [usize; 3],
    threads: usize,
    shared_bytes: usize,
    args: &[Arg],
) -> Result<()> {
    let block = [threads, 1, 1];
    device.launch(&Launch { kernel, grid, block, shared_bytes, args, cost: Cost::default() })
}

fn ones(device: &Device, elems: usize) -> Result<Tensor> {
    Tensor::from_slice(device, &vec![1.0_f32; elems], [elems], Purpose::Activations)
}

fn empty(device: &Device, elems: usize) -> Result<Tensor> {
    Tensor::uninit(device, DType::F32, [elems], Purpose::Activations)
}
