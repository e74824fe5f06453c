//! The product on machines without AVX-512 BF16: the `gemm` crate in f32, one thread a task, on a
//! partition of ours. bf16 operands are widened first, so both kernels round alike.

use std::ops::Range;

use super::{Mat, Problem};
use crate::backend::Mode;
use crate::backend::cpu::{par, scratch};
use crate::dtype::{DType, Float};

pub(super) fn run<E: Float, C: Float>(p: &Problem<E, C>, b: Mat<E>) {
    with_f32(b, |b| {
        // Rows a task: few enough for an even end, enough to pay for packing B again in each.
        let rows_per_task = p.m.div_ceil(16).clamp(32, 256);
        par::tasks(p.m.div_ceil(rows_per_task), |task| {
            let from = task * rows_per_task;
            run_rows(p, b, from..p.m.min(from + rows_per_task));
        });
    });
}

pub(super) fn pack_b<E: Float>(b: Mat<E>, words: &mut [u32]) {
    let (k, n) = b.dims();
    for (row, words) in words.chunks_exact_mut(n.max(1)).enumerate().take(k) {
        for (col, word) in words.iter_mut().enumerate() {
            *word = b.elems[b.offset(row, col)].to_f32().to_bits();
        }
    }
}

pub(super) fn run_packed<E: Float, C: Float>(p: &Problem<E, C>, b: &[u32]) {
    run_rows(p, Mat::new(bytemuck::cast_slice(b), p.k, p.n), 0..p.m);
}

fn run_rows<E: Float, C: Float>(p: &Problem<E, C>, b: Mat<f32>, rows: Range<usize>) {
    with_f32(p.a.rows(rows.clone()), |a| {
        scratch::with(rows.len() * p.n, |sums: &mut [f32]| {
            product(a, b, sums, rows.len(), p.n, p.k);
            for (row, sums) in rows.zip(sums.chunks_exact(p.n.max(1))) {
                // SAFETY: this row of C, which no other task touches.
                let c = unsafe { std::slice::from_raw_parts_mut(p.c.at(row, 0), p.n) };
                write(p, sums, c);
            }
        });
    });
}

/// C (+)= alpha * sums + bias, one row.
fn write<E: Float, C: Float>(p: &Problem<E, C>, sums: &[f32], c: &mut [C]) {
    for (col, (c, &sum)) in c.iter_mut().zip(sums).enumerate() {
        let bias = p.bias.map_or(0.0, |bias| bias[col].to_f32());
        let before = if p.mode == Mode::Add { c.to_f32() } else { 0.0 };
        *c = C::from_f32(before + (sum * p.alpha + bias));
    }
}

fn product(a: Mat<f32>, b: Mat<f32>, sums: &mut [f32], m: usize, n: usize, k: usize) {
    let steps = |x: &Mat<f32>| {
        let stride = x.stride as isize;
        if x.transposed { (stride, 1) } else { (1, stride) }
    };
    let ((a_cs, a_rs), (b_cs, b_rs)) = (steps(&a), steps(&b));
    if k == 0 {
        return sums.fill(0.0);
    }
    // SAFETY: `Mat` checked that a and b hold m x k and k x n at these strides; sums is m x n.
    unsafe {
        let (dst, lhs, rhs) = (sums.as_mut_ptr(), a.elems.as_ptr(), b.elems.as_ptr());
        let n_i = n as isize;
        ::gemm::gemm(
            m,
            n,
            k,
            dst,
            1,
            n_i,
            false,
            lhs,
            a_cs,
            a_rs,
            rhs,
            b_cs,
            b_rs,
            0.0,
            1.0,
            false,
            false,
            false,
            ::gemm::Parallelism::None,
        );
    }
}

/// The same matrix in f32: itself, or a widened copy of its rows as stored.
fn with_f32<E: Float>(x: Mat<E>, f: impl FnOnce(Mat<f32>)) {
    let (rows, cols, transposed) = (x.rows, x.cols, x.transposed);
    if E::DTYPE == DType::F32 {
        let elems = bytemuck::cast_slice(x.elems);
        return f(Mat { elems, rows, cols, stride: x.stride, transposed });
    }
    scratch::with(rows * cols, |wide: &mut [f32]| {
        for (r, wide) in wide.chunks_exact_mut(cols.max(1)).enumerate() {
            for (w, e) in wide.iter_mut().zip(&x.elems[r * x.stride..][..cols]) {
                *w = e.to_f32();
            }
        }
        f(Mat { elems: wide, rows, cols, stride: cols, transposed });
    });
}
