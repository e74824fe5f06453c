//! Two products side by side, gate and up, and what SwiGLU makes of them, panel by panel.

use std::marker::PhantomData;

use super::{PANEL, Panels, Strips, Tile, WIDTH, Work, pack_b, packed_words};
use crate::backend::Mode;
use crate::backend::cpu::gemm::plan::Plan;
use crate::backend::cpu::gemm::{CPtr, Mat, Problem};
use crate::backend::cpu::{par, prefetch, scratch, simd};
use crate::dtype::Float;

/// `p.c` (m, n) = silu(g) * u, where [g | u] = `p.a` `b` (m, 2n), kept in `gate_up` if that is
/// given.
///
/// # Safety
/// The CPU has the features of `T`; the operands have these sizes; n is a multiple of [`PANEL`].
pub(in crate::backend::cpu::gemm) unsafe fn run_gated<T: Tile, E: Float>(
    p: &Problem<E, E>,
    b: Mat<E>,
    gate_up: Option<CPtr<E>>,
) {
    let plan = Plan::new(T::ROWS, p.m, p.n, p.k, size_of::<f32>());
    scratch::with(packed_words(p.k, 2 * p.n), |words: &mut [u32]| {
        // SAFETY: CPU features by this function's contract.
        unsafe { pack_b::<T, E>(b, words) };
        let b = Panels::new(words, WIDTH);
        par::tasks(plan.tasks(), |task| {
            let task = Task { tile: PhantomData::<T>, p, plan: &plan, task, b, gate_up };
            // SAFETY: by this function's contract; each task has a number of its own.
            unsafe { T::compiled(task) };
        });
    });
}

/// One task of a plan: see [`run_gated`]. No other task runs that is given the same number.
struct Task<'a, T, E> {
    tile: PhantomData<T>,
    p: &'a Problem<'a, E, E>,
    plan: &'a Plan,
    task: usize,
    b: Panels<'a>,
    gate_up: Option<CPtr<E>>,
}

impl<T: Tile, E: Float> Work for Task<'_, T, E> {
    #[inline(always)]
    unsafe fn run(self) {
        let Self { p, plan, b, gate_up, .. } = self;
        let (strips, panels) = plan.task(self.task);
        let rows = plan.row(strips.start)..plan.row(strips.end);
        let mut buffer = scratch::take(Strips::buffer_len::<T, E>(p.a, strips.len(), p.k));
        // SAFETY: CPU features by this task's promise.
        let a = unsafe { Strips::new::<T, E>(p.a, plan, strips.clone(), p.k, &mut buffer) };
        // Where the sums go: some columns of gate, then of up.
        let kept_len = if gate_up.is_some() { 0 } else { rows.len() * 2 * T::COLUMNS };
        let mut kept = scratch::take::<E>(kept_len);
        let kept = CPtr { start: kept.as_mut_ptr(), stride: 2 * T::COLUMNS };
        let sums = Problem { c: gate_up.unwrap_or(kept), bias: None, mode: Mode::Set, ..*p };
        for from in (panels.start * PANEL..p.n.min(panels.end * PANEL)).step_by(T::COLUMNS) {
            let (first, halves) = match gate_up {
                Some(_) => (rows.start, [from, p.n + from]),
                None => (0, [0, T::COLUMNS]),
            };
            for (half, column) in halves.into_iter().enumerate() {
                let b = b.columns(half * p.n + from, p.k);
                for strip in strips.clone() {
                    let row = first + plan.row(strip) - rows.start;
                    let columns = column..column + T::COLUMNS;
                    // SAFETY: the strip has k elements in each row (checked when the matrix was
                    // made, or packed), the panel k rows; rows and columns are inside `sums.c`,
                    // and this task's alone.
                    unsafe { T::product(&sums, a.strip(strip), b, row, columns) };
                    if half == 1 {
                        for row in plan.row(strip)..plan.row(strip + 1) {
                            // SAFETY: inside y by `run_gated`'s contract.
                            prefetch::line(unsafe { p.c.at(row, from) });
                        }
                    }
                }
            }
            for r in 0..rows.len() {
                // SAFETY: as for the products, which wrote gate and up; y is another matrix.
                unsafe {
                    let [gate, up] = [halves[0], halves[1]];
                    let gate = std::slice::from_raw_parts(sums.c.at(first + r, gate), T::COLUMNS);
                    let up = std::slice::from_raw_parts(sums.c.at(first + r, up), T::COLUMNS);
                    let y = p.c.at(rows.start + r, from);
                    simd::swiglu(gate, up, std::slice::from_raw_parts_mut(y, T::COLUMNS));
                }
            }
        }
    }
}
