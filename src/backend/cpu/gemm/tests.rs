//! Both kernels against plain f64 loops.

use super::*;
use crate::dtype::bf16;

fn values<E: Float>(len: usize, seed: u32) -> Vec<E> {
    let mut state = seed.wrapping_mul(0x9E37_79B9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 * 2.0 - 1.0
    };
    (0..len).map(|_| E::from_f32(next())).collect()
}

/// As `values` for rows of `cols` in rows of `stride`; what lies between is NaN and must not count.
fn stored<E: Float>(rows: usize, cols: usize, stride: usize, seed: u32) -> Vec<E> {
    let mut all = vec![E::from_f32(f32::NAN); rows * stride];
    for (r, row) in all.chunks_mut(stride.max(1)).enumerate() {
        row[..cols].copy_from_slice(&values(cols, seed + r as u32));
    }
    all
}

#[derive(Clone, Copy, Debug)]
struct Case {
    m: usize,
    n: usize,
    k: usize,
    a_t: bool,
    b_t: bool,
    bias: bool,
    mode: Mode,
    pad: usize,
}

fn check_case<E: Float, C: Float>(kernel: Kernel, case: Case) -> Vec<C> {
    let Case { m, n, k, a_t, b_t, bias, mode, pad } = case;
    let (a_rows, a_cols) = if a_t { (k, m) } else { (m, k) };
    let (b_rows, b_cols) = if b_t { (n, k) } else { (k, n) };
    let a = stored::<E>(a_rows, a_cols, a_cols + pad, 1);
    let b = stored::<E>(b_rows, b_cols, b_cols + pad, 1000);
    let bias = bias.then(|| values::<E>(n, 7));
    let before = stored::<C>(m, n, n + pad, 5000);
    let mut c = before.clone();
    let alpha = 0.75;

    let a_mat = Mat::strided(&a, a_rows, a_cols, a_cols + pad);
    let b_mat = Mat::strided(&b, b_rows, b_cols, b_cols + pad);
    gemm_with(
        kernel,
        alpha,
        if a_t { a_mat.t() } else { a_mat },
        if b_t { b_mat.t() } else { b_mat },
        bias.as_deref(),
        mode,
        MatMut::strided(&mut c, m, n, n + pad),
    );

    let (a_mat, b_mat) = (
        |r: usize, i: usize| {
            let (r, i) = if a_t { (i, r) } else { (r, i) };
            a[r * (a_cols + pad) + i].to_f32() as f64
        },
        |i: usize, j: usize| {
            let (i, j) = if b_t { (j, i) } else { (i, j) };
            b[i * (b_cols + pad) + j].to_f32() as f64
        },
    );
    for r in 0..m {
        for j in 0..n {
            let terms = (0..k).map(|i| a_mat(r, i) * b_mat(i, j));
            let (sum, size) = terms.fold((0.0, 0.0), |(s, z), t| (s + t, z + t.abs()));
            let at = r * (n + pad) + j;
            let mut want = sum * alpha as f64;
            want += bias.as_ref().map_or(0.0, |bias| bias[j].to_f32() as f64);
            if mode == Mode::Add {
                want += before[at].to_f32() as f64;
            }
            let ulp = if size_of::<C>() == 2 { 1.0 / 256.0 } else { 1e-6 };
            let close =
                (c[at].to_f32() as f64 - want).abs() <= 1e-6 * (size + 1.0) + ulp * want.abs();
            assert!(close, "{kernel:?} {case:?} [{r},{j}]: {} {want}", c[at].to_f32());
        }
        let between = &c[r * (n + pad) + n..(r + 1) * (n + pad)];
        let untouched = between.iter().all(|c| c.to_f32().is_nan());
        assert!(untouched, "{kernel:?} {case:?}: wrote between rows");
    }
    c
}

fn kernels() -> Vec<Kernel> {
    let mut kernels = vec![Kernel::Portable];
    if Kernel::detect() != Kernel::Portable {
        kernels.push(Kernel::detect());
    }
    kernels
}

fn check_everywhere(case: Case) {
    for kernel in kernels() {
        check_case::<f32, f32>(kernel, case);
        check_case::<bf16, f32>(kernel, case);
        check_case::<bf16, bf16>(kernel, case);
    }
}

#[test]
fn all_layouts_agree_with_plain_loops() {
    let sizes = [
        (1, 1, 1),
        (1, 2, 3),
        (3, 1, 2),
        (14, 32, 16),
        (15, 33, 17),
        (13, 16, 31),
        (29, 47, 33),
        (5, 12, 128),
        (82, 96, 34),
        (128, 2, 7),
        (200, 65, 63),
    ];
    for (m, n, k) in sizes {
        for bits in 0..16 {
            let bit = |i: usize| bits >> i & 1 == 1;
            let mode = if bit(3) { Mode::Add } else { Mode::Set };
            let pad = if bit(1) { 3 } else { 0 };
            check_everywhere(Case { m, n, k, a_t: bit(0), b_t: bit(1), bias: bit(2), mode, pad });
        }
    }
}

#[test]
fn packed_products_agree_with_whole_ones() {
    for (m, n, k) in [(1, 1, 1), (29, 47, 33), (82, 32, 82), (14, 12, 16)] {
        for a_t in [false, true] {
            let (a, b) = (values::<bf16>(m * k, 3), values::<bf16>(n * k, 4));
            let a = if a_t { Mat::new(&a, k, m).t() } else { Mat::new(&a, m, k) };
            let b = Mat::new(&b, n, k).t();
            for kernel in kernels() {
                let (mut whole, mut packed) = (vec![0.5f32; m * n], vec![0.5f32; m * n]);
                gemm_with(kernel, 2.0, a, b, None, Mode::Add, MatMut::new(&mut whole, m, n));
                with_packed_for(kernel, b, |b| {
                    product(2.0, a, b, Mode::Add, MatMut::new(&mut packed, m, n));
                });
                let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * (1.0 + a.abs());
                assert!(whole.iter().zip(&packed).all(close), "{kernel:?} {m} {n} {k}");
            }
        }
    }
}

#[test]
fn empty_sums_give_the_bias() {
    let case =
        |m, n, k| Case { m, n, k, a_t: false, b_t: true, bias: true, mode: Mode::Set, pad: 0 };
    check_everywhere(case(5, 3, 0));
    check_everywhere(case(0, 3, 4));
    check_everywhere(case(3, 0, 4));
}

#[test]
fn sums_longer_than_a_block_are_complete() {
    for k in [MAX_K, MAX_K + 1, 2 * MAX_K + 3] {
        for mode in [Mode::Set, Mode::Add] {
            check_everywhere(Case {
                m: 9,
                n: 20,
                k,
                a_t: true,
                b_t: false,
                bias: true,
                mode,
                pad: 2,
            });
            check_everywhere(Case {
                m: 3,
                n: 5,
                k,
                a_t: false,
                b_t: true,
                bias: false,
                mode,
                pad: 0,
            });
        }
    }
}

#[test]
fn thread_count_does_not_change_bits() {
    let bits = |threads: usize, kernel: Kernel| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let case = Case {
            m: 301,
            n: 200,
            k: 97,
            a_t: true,
            b_t: true,
            bias: true,
            mode: Mode::Add,
            pad: 0,
        };
        pool.install(|| {
            let f: Vec<u32> =
                check_case::<f32, f32>(kernel, case).iter().map(|x| x.to_bits()).collect();
            let b: Vec<u16> =
                check_case::<bf16, bf16>(kernel, case).iter().map(|x| x.to_bits()).collect();
            (f, b)
        })
    };
    for kernel in kernels() {
        assert!(bits(1, kernel) == bits(2, kernel));
        assert!(bits(3, kernel) == bits(2, kernel));
    }
}

#[test]
fn infinities_and_nan_reach_the_result() {
    for kernel in kernels() {
        let mut a = vec![bf16::ONE; 3 * 5];
        a[5] = bf16::NAN;
        a[10] = bf16::INFINITY;
        let (b, mut c) = (vec![bf16::ONE; 5 * 4], vec![0f32; 3 * 4]);
        let (a, b) = (Mat::new(&a, 3, 5), Mat::new(&b, 5, 4));
        gemm_with(kernel, 1.0, a, b, None, Mode::Set, MatMut::new(&mut c, 3, 4));
        assert!(c[..4].iter().all(|&x| x == 5.0));
        assert!(c[4..8].iter().all(|x| x.is_nan()));
        assert!(c[8..].iter().all(|&x| x == f32::INFINITY));
    }
}

#[test]
#[should_panic(expected = "A is 2x3, B is 4x2")]
fn shapes_that_do_not_belong_together_are_refused() {
    let x = [0f32; 8];
    let (a, b) = (Mat::new(&x, 2, 3), Mat::new(&x, 4, 2));
    gemm(1.0, a, b, None, Mode::Set, MatMut::new(&mut [0f32; 4], 2, 2));
}
