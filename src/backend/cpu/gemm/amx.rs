//! The product of bf16 on AMX tiles; f32 stays with `avx512bf16.rs`, whose packed B both read.
//!
//! A strip of up to 32 rows times a panel of up to 32 columns is four tiles of sums, kept in tile
//! registers over all of k. A is read where it lies, unless it is transposed: then it is packed
//! into rows. What k has beyond whole blocks of 32 goes through copies filled up with zeros.
//!
//! It has run on an emulated CPU (`tools/cpu-emulator`) and was never timed on a real one: it is
//! taken only where `HRM_CPU=amx` asks for it.
//!
//! A task configures the tiles of its thread and releases them at its end; nothing in between hands
//! work to other threads.

pub(in crate::backend::cpu) mod tiles;

use std::arch::x86_64::*;
use std::ops::Range;

use super::pack::{self, LANES, is_bf16, lanes, per_unit};
use super::plan::Plan;
use super::{CPtr, Mat, PANEL, Problem, avx512bf16};
use crate::backend::Mode;
use crate::backend::cpu::{par, scratch};
use crate::dtype::Float;
use tiles::{Operands, ROW_BYTES, ROWS, Tiles, UNITS};

/// Rows of a strip, at most.
const STRIP: usize = 2 * ROWS;

/// Columns of A in a tile.
const BLOCK: usize = 2 * UNITS;

/// # Safety
/// The CPU has what `Path::Amx` needs.
pub(super) unsafe fn run<E: Float, C: Float>(p: &Problem<E, C>, b: Mat<E>) {
    if !is_bf16::<E>() {
        // SAFETY: such a CPU has the features of that path.
        return unsafe { avx512bf16::run(p, b) };
    }
    let plan = Plan::new(STRIP, p.m, p.n, p.k, size_of::<E>());
    scratch::with(avx512bf16::packed_words::<E>(p.k, p.n), |words: &mut [u32]| {
        // SAFETY: by this function's contract.
        unsafe {
            avx512bf16::pack_b(b, words);
            run_plan(p, &plan, words);
        }
    });
}

/// # Safety
/// The CPU has what `Path::Amx` needs; `b` was filled by `avx512bf16::pack_b`.
pub(super) unsafe fn run_packed<E: Float, C: Float>(p: &Problem<E, C>, b: &[u32]) {
    // SAFETY: by this function's contract.
    unsafe {
        if is_bf16::<E>() {
            run_plan(p, &Plan::whole(STRIP, p.m, p.n), b);
        } else {
            avx512bf16::run_packed(p, b);
        }
    }
}

/// # Safety
/// The contract of `run_packed`, and bf16 operands.
unsafe fn run_plan<E: Float, C: Float>(p: &Problem<E, C>, plan: &Plan, b: &[u32]) {
    let stride = if p.a.transposed { p.k.next_multiple_of(BLOCK) } else { p.a.stride };
    let packed_elems = if p.a.transposed { p.m * stride } else { 0 };
    scratch::with(packed_elems, |packed: &mut [E]| {
        if p.a.transposed {
            let rows = par::by_row(packed, stride);
            par::rows(p.m, ROWS, rows, |rows, packed| {
                // SAFETY: CPU features by this function's contract.
                unsafe { pack_rows(p.a, rows, p.k, packed, stride) }
            });
        }
        let a = if p.a.transposed { &*packed } else { p.a.elems };
        par::tasks(plan.tasks(), |task| {
            // SAFETY: by this function's contract; A has rows of `p.k` elements at this stride.
            unsafe { run_task(p, plan, task, a, stride, b) }
        });
    });
}

/// Sixteen or fewer rows of a transposed A, k filled up with zeros to whole blocks.
///
/// # Safety
/// The CPU has AVX-512 F, BW and VL.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn pack_rows<E: Float>(
    a: Mat<E>,
    rows: Range<usize>,
    k: usize,
    packed: &mut [E],
    stride: usize,
) {
    for k0 in (0..k).step_by(BLOCK) {
        let units = std::array::from_fn(|unit| {
            // SAFETY: CPU features by this function's contract.
            unsafe { pack::unit_of(a, k0 + 2 * unit, rows.start, lanes(rows.len()), k) }
        });
        for (row, turned) in pack::transpose_16x16(units).into_iter().enumerate().take(rows.len()) {
            let to = &mut packed[row * stride + k0..][..BLOCK];
            // SAFETY: `to` is 64 bytes long.
            unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), turned) };
        }
    }
}

/// Work memory of a task.
#[repr(C, align(64))]
struct Buffers {
    sums: [f32; STRIP * PANEL],
    rest_a: [[u8; ROW_BYTES]; STRIP],
    rest_b: [u32; UNITS * PANEL],
}

/// # Safety
/// The contract of `run_plan`; `a` holds the rows of A, `stride` elements apart.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
unsafe fn run_task<E: Float, C: Float>(
    p: &Problem<E, C>,
    plan: &Plan,
    task: usize,
    a: &[E],
    stride: usize,
    b: &[u32],
) {
    let (strips, panels) = plan.task(task);
    let (units, blocks, rest) = (p.k.div_ceil(per_unit::<E>()), p.k / BLOCK, p.k % BLOCK);
    let mut buffers = Buffers {
        sums: [0.0; STRIP * PANEL],
        rest_a: [[0; ROW_BYTES]; STRIP],
        rest_b: [0; UNITS * PANEL],
    };
    // SAFETY: by this function's contract.
    let mut tiles = unsafe { Tiles::new() };
    for panel in panels {
        let col = panel * PANEL;
        let cols = (p.n - col).min(PANEL);
        let vectors = cols.div_ceil(LANES);
        let b = &b[panel * PANEL * units..][..units * vectors * LANES];
        let (whole, rest_of_b) = b.split_at(blocks * UNITS * vectors * LANES);
        buffers.rest_b[..rest_of_b.len()].copy_from_slice(rest_of_b);
        buffers.rest_b[rest_of_b.len()..].fill(0);
        for strip in strips.clone() {
            let (row, end) = (plan.row(strip), plan.row(strip + 1));
            let rows = end - row;
            if rest > 0 {
                for (to, row) in buffers.rest_a.iter_mut().zip(row..end) {
                    let from = bytemuck::cast_slice(&a[row * stride + blocks * BLOCK..][..rest]);
                    to[..from.len()].copy_from_slice(from);
                }
            }
            let operands = Operands {
                a: a[(row * stride).min(a.len())..].as_ptr().cast(),
                a_row_bytes: stride * size_of::<E>(),
                b: whole.as_ptr(),
                blocks,
                rest_a: if rest > 0 { buffers.rest_a.as_ptr().cast() } else { std::ptr::null() },
                rest_b: buffers.rest_b.as_ptr(),
            };
            let sums = buffers.sums.as_mut_ptr();
            tiles.set_rows(rows);
            // SAFETY: A has `rows` rows of `blocks` blocks and B as many; the rest lies in buffers
            // for two tiles each way, as do the sums.
            unsafe {
                match (rows > ROWS, vectors > 1) {
                    (false, false) => tiles.multiply::<1, 1>(&operands, sums),
                    (false, true) => tiles.multiply::<1, 2>(&operands, sums),
                    (true, false) => tiles.multiply::<2, 1>(&operands, sums),
                    (true, true) => tiles.multiply::<2, 2>(&operands, sums),
                }
                // These rows and columns of C belong to this task.
                let c = CPtr { start: p.c.at(row, col), stride: p.c.stride };
                write(p, &buffers.sums, c, rows, col..col + cols);
            }
        }
    }
}

/// C (+)= alpha * sums (+ bias), for `rows` rows from `c` and some columns of the product.
///
/// # Safety
/// CPU features; C holds these rows and columns.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
unsafe fn write<E: Float, C: Float>(
    p: &Problem<E, C>,
    sums: &[f32],
    c: CPtr<C>,
    rows: usize,
    cols: Range<usize>,
) {
    let alpha = _mm512_set1_ps(p.alpha);
    let vectors = cols.len().div_ceil(LANES);
    for v in 0..vectors {
        let mask = lanes(cols.len() - v * LANES);
        let bias = match p.bias {
            // SAFETY: the mask ends with the columns.
            Some(bias) => unsafe {
                avx512bf16::load(bias[cols.start + v * LANES..].as_ptr(), mask)
            },
            None => _mm512_setzero_ps(),
        };
        for (row, sums) in sums.chunks_exact(vectors * LANES).enumerate().take(rows) {
            // SAFETY: by contract; the sums of a row are whole vectors.
            unsafe {
                let sum = _mm512_loadu_ps(sums[v * LANES..].as_ptr());
                let c = c.at(row, v * LANES);
                let mut sum = _mm512_fmadd_ps(sum, alpha, bias);
                if p.mode == Mode::Add {
                    sum = _mm512_add_ps(avx512bf16::load(c, mask), sum);
                }
                avx512bf16::store(c, mask, sum);
            }
        }
    }
}
