//! The first product of a SwiGLU MLP with the gate in its epilogue, so that gate and up need not
//! lie in memory. Bit for bit what a product and the gate after it give.

use super::blocked::{self, Tile};
#[cfg(target_arch = "aarch64")]
use super::neon::Neon;
use super::portable::Portable;
use super::{CPtr, MAX_K, Mat, MatMut, PANEL, Path, Problem};
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};
use crate::backend::Mode;
use crate::dtype::Float;

/// Whether this path has it for an inner width `f` and sums of `k`.
pub fn is_gated(f: usize, k: usize) -> bool {
    is_gated_on(Path::chosen(), f, k)
}

pub(super) fn is_gated_on(path: Path, f: usize, k: usize) -> bool {
    !path.multiplies_bf16() && f.is_multiple_of(PANEL) && (1..=MAX_K).contains(&k)
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
            Path::Avx512 => run::<Avx512, E>(&p, w.t(), gate_up),
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => run::<Avx2, E>(&p, w.t(), gate_up),
            #[cfg(target_arch = "aarch64")]
            Path::Neon => run::<Neon, E>(&p, w.t(), gate_up),
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

#[cfg(test)]
mod tests {
    use super::super::gemm_with;
    use super::*;
    use crate::backend::cpu::simd;
    use crate::dtype::bf16;

    fn values<E: Float>(len: usize, step: usize) -> Vec<E> {
        (0..len).map(|i| E::from_f32((i * step % 31) as f32 / 8.0 - 1.9)).collect()
    }

    fn check<E: Float>(path: Path, [m, f, k]: [usize; 3]) {
        if !is_gated_on(path, f, k) {
            return;
        }
        let (n, x_stride, y_stride) = (2 * f, k + 3, f + 5);
        let (x, w) = (values::<E>(m * x_stride, 7), values::<E>(n * k, 11));
        let x = Mat::strided(&x, m, k, x_stride);
        let w = Mat::new(&w, n, k);
        let mut want = values::<E>(m * n, 1);
        gemm_with(path, 1.0, x, w.t(), None, Mode::Set, MatMut::new(&mut want, m, n));
        let before = values::<E>(m * y_stride, 3);
        let mut want_y = before.clone();
        for (y, want) in want_y.chunks_mut(y_stride).zip(want.chunks(n)) {
            simd::swiglu(&want[..f], &want[f..], &mut y[..f]);
        }
        for keep in [false, true] {
            let (mut y, mut gate_up) = (before.clone(), values::<E>(m * n, 5));
            let kept = keep.then(|| MatMut::new(&mut gate_up, m, n));
            gated_on(path, x, w, kept, MatMut::strided(&mut y, m, f, y_stride));
            let same = |a: &[E], b: &[E]| {
                bytemuck::cast_slice::<E, u8>(a) == bytemuck::cast_slice::<E, u8>(b)
            };
            assert!(same(&y, &want_y), "{path:?} {} {m}x{f}x{k} keep {keep}", E::DTYPE);
            assert!(!keep || same(&gate_up, &want), "{path:?} {} {m}x{f}x{k}", E::DTYPE);
        }
    }

    #[test]
    fn its_bits_are_those_of_the_product_and_the_gate_after_it() {
        for path in Path::here() {
            for sizes in [[1, 32, 1], [7, 64, 5], [50, 96, 33], [200, 160, 64], [0, 32, 8]] {
                check::<f32>(path, sizes);
                check::<bf16>(path, sizes);
            }
        }
        assert!(is_gated_on(Path::Portable, 32, 1), "something was compared");
        assert!(!is_gated_on(Path::Portable, 33, 8) && !is_gated_on(Path::Portable, 32, 0));
    }
}
