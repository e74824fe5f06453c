//! The first product of a SwiGLU MLP with the gate in its epilogue, so that gate and up need not
//! lie in memory. Bit for bit what a product and the gate after it give.

#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
use super::blocked::{self, Tile};
use super::portable::Portable;
use super::{CPtr, MAX_K, Mat, MatMut, Path, Problem};
use crate::backend::Mode;
use crate::dtype::Float;

/// Whether this path has it for an inner width `f` and sums of `k`.
pub fn is_gated(f: usize, k: usize) -> bool {
    is_gated_on(Path::chosen(), f, k)
}

pub(super) fn is_gated_on(path: Path, f: usize, k: usize) -> bool {
    path != Path::Avx512Bf16 && f.is_multiple_of(blocked::WIDTH) && (1..=MAX_K).contains(&k)
}

/// y (N, F) = silu(g) * u, where [g | u] = x w^T (N, 2F), also put into `gate_up` where that is
/// given. x (N, K), w (2F, K) as stored. Panics where [`is_gated`] says no, and when the shapes do
/// not belong together.
pub fn gated<E: Float>(x: Mat<E>, w: Mat<E>, gate_up: Option<MatMut<E>>, y: MatMut<E>) {
    gated_on(Path::chosen(), x, w, gate_up, y);
}

pub(super) fn gated_on<E: Float>(
    path: Path,
    x: Mat<E>,
    w: Mat<E>,
    gate_up: Option<MatMut<E>>,
    y: MatMut<E>,
) {
    let ((m, k), (n, f)) = (x.dims(), (w.dims().0, y.cols));
    assert!(is_gated_on(path, f, k), "no gated product for inner width {f}, sums of {k}");
    assert_eq!((w.dims(), y.rows), ((2 * f, k), m), "w (2F, K) and y (N, F) of {m}x{k}");
    let gate_up = gate_up.map(|c| {
        assert_eq!((c.rows, c.cols), (m, n), "gate_up (N, 2F) of {m}x{k}");
        CPtr { start: c.elems.as_mut_ptr(), stride: c.stride }
    });
    let c = CPtr { start: y.elems.as_mut_ptr(), stride: y.stride };
    let p = Problem { m, n: f, k, alpha: 1.0, a: x, bias: None, mode: Mode::Set, c };
    if m == 0 || f == 0 {
        return;
    }
    // SAFETY: the CPU has what the path needs, `Path::is_here` saw it; the shapes belong together.
    unsafe {
        match path {
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => run::<Avx2, E>(&p, w.t(), gate_up),
            _ => run::<Portable, E>(&p, w.t(), gate_up),
        }
    }
}

/// # Safety
/// The CPU has the features of `T`; A, B and the outputs have the sizes of `p`, B and `gate_up` 2 n
/// columns.
unsafe fn run<T: Tile, E: Float>(p: &Problem<E, E>, b: Mat<E>, gate_up: Option<CPtr<E>>) {
    // SAFETY: by this function's contract.
    unsafe { blocked::run_gated::<T, E>(p, b, gate_up) }
}
