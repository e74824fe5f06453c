//! Every path of this CPU against plain f64 loops.
#![allow(clippy::print_stdout)] // what is skipped is told by name

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

/// Rows of `cols` values in rows of `stride`; what lies between is NaN and must not count.
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

fn check_case<E: Float, C: Float>(path: Path, case: Case) -> Vec<C> {
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
        path,
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
            assert!(close, "{path:?} {case:?} [{r},{j}]: {} {want}", c[at].to_f32());
        }
        let between = &c[r * (n + pad) + n..(r + 1) * (n + pad)];
        let untouched = between.iter().all(|c| c.to_f32().is_nan());
        assert!(untouched, "{path:?} {case:?}: wrote between rows");
    }
    c
}

fn check_everywhere(case: Case) {
    for path in Path::here() {
        check_case::<f32, f32>(path, case);
        check_case::<bf16, f32>(path, case);
        check_case::<bf16, bf16>(path, case);
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
    for path in Path::ALL.into_iter().filter(|path| !path.is_here()) {
        println!("skipped: products on {} (not on this CPU)", path.word());
    }
    for (m, n, k) in sizes {
        for bits in 0..16 {
            let bit = |i: usize| bits >> i & 1 == 1;
            let mode = if bit(3) { Mode::Add } else { Mode::Set };
            let pad = if bit(1) { 3 } else { 0 };
            check_everywhere(Case { m, n, k, a_t: bit(0), b_t: bit(1), bias: bit(2), mode, pad });
        }
    }
}

/// Rows, columns and k beside the borders of AMX tiles: 16 rows, 16 columns, 32 of k, twice.
#[test]
fn tiles_of_every_height_and_width() {
    if !Path::Amx.is_here() {
        println!("skipped: shapes of AMX tiles (no AMX here)");
        return;
    }
    for (m, n) in [(16, 16), (17, 15), (31, 33), (32, 17), (33, 32), (48, 48), (65, 1)] {
        for k in [31, 32, 33, 64, 95, 96] {
            for a_t in [false, true] {
                let (b_t, bias, mode, pad) = (k % 2 == 0, true, Mode::Add, 5);
                check_case::<bf16, f32>(Path::Amx, Case { m, n, k, a_t, b_t, bias, mode, pad });
            }
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
            for path in Path::here() {
                let (mut whole, mut packed) = (vec![0.5f32; m * n], vec![0.5f32; m * n]);
                gemm_with(path, 2.0, a, b, None, Mode::Add, MatMut::new(&mut whole, m, n));
                with_packed_for(path, b, |b| {
                    product(2.0, a, b, Mode::Add, MatMut::new(&mut packed, m, n));
                });
                let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * (1.0 + a.abs());
                assert!(whole.iter().zip(&packed).all(close), "{path:?} {m} {n} {k}");
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
    let bits = |threads: usize, path: Path| {
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
                check_case::<f32, f32>(path, case).iter().map(|x| x.to_bits()).collect();
            let b: Vec<u16> =
                check_case::<bf16, bf16>(path, case).iter().map(|x| x.to_bits()).collect();
            (f, b)
        })
    };
    for path in Path::here() {
        assert!(bits(1, path) == bits(2, path));
        assert!(bits(3, path) == bits(2, path));
    }
}

#[test]
fn infinities_and_nan_reach_the_result() {
    for path in Path::here() {
        let mut a = vec![bf16::ONE; 3 * 5];
        a[5] = bf16::NAN;
        a[10] = bf16::INFINITY;
        let (b, mut c) = (vec![bf16::ONE; 5 * 4], vec![0f32; 3 * 4]);
        let (a, b) = (Mat::new(&a, 3, 5), Mat::new(&b, 5, 4));
        gemm_with(path, 1.0, a, b, None, Mode::Set, MatMut::new(&mut c, 3, 4));
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

/// A copy that starts `shift` bytes behind a cache line, among NaNs, and where it lies.
fn placed<E: Float>(elems: &[E], shift: usize) -> (Vec<E>, std::ops::Range<usize>) {
    let mut moved = vec![E::from_f32(f32::NAN); elems.len() + 2 * 64 / size_of::<E>()];
    let from = moved.as_ptr().align_offset(64) + shift / size_of::<E>();
    let place = from..from + elems.len();
    moved[place.clone()].copy_from_slice(elems);
    (moved, place)
}

/// Bits of a product whose operands start `shift` bytes behind a cache line, B and the bias
/// `60 - shift`.
fn shifted<E: Float, C: Float>(path: Path, a_t: bool, b_t: bool, shift: usize) -> Vec<u32> {
    let (m, n, k) = (37, 45, 67);
    let (a, a_place) = placed(&values::<E>(m * k, 11), shift);
    let (b, b_place) = placed(&values::<E>(k * n, 12), 60 - shift);
    let (bias, bias_place) = placed(&values::<E>(n, 14), 60 - shift);
    let (mut c, c_place) = placed(&values::<C>(m * n, 13), shift);
    let (a, b, c) = (&a[a_place], &b[b_place], &mut c[c_place]);
    let a = if a_t { Mat::new(a, k, m).t() } else { Mat::new(a, m, k) };
    let b = if b_t { Mat::new(b, n, k).t() } else { Mat::new(b, k, n) };
    gemm_with(path, 0.75, a, b, Some(&bias[bias_place]), Mode::Add, MatMut::new(c, m, n));
    c.iter().map(|x| x.to_f32().to_bits()).collect()
}

#[test]
fn where_operands_lie_does_not_change_bits() {
    fn check<E: Float, C: Float>(path: Path) {
        for (a_t, b_t) in [(false, false), (false, true), (true, false), (true, true)] {
            let aligned = shifted::<E, C>(path, a_t, b_t, 0);
            for shift in (size_of::<E>()..=60).step_by(size_of::<E>()) {
                let same = aligned == shifted::<E, C>(path, a_t, b_t, shift);
                assert!(same, "{path:?} {:?} {a_t} {b_t}: {shift} bytes", E::DTYPE);
            }
        }
    }
    for path in Path::here() {
        check::<f32, f32>(path);
        check::<bf16, f32>(path);
        check::<bf16, bf16>(path);
    }
}

#[test]
fn layouts_of_the_same_values_have_the_same_bits() {
    let (m, n, k) = (29, 50, 41);
    let (a, b) = (values::<f32>(m * k, 21), values::<f32>(k * n, 22));
    let turned = |x: &[f32], rows: usize, cols: usize| -> Vec<f32> {
        (0..rows * cols).map(|i| x[i % rows * cols + i / rows]).collect()
    };
    let (a_t, b_t) = (turned(&a, m, k), turned(&b, k, n));
    for path in Path::here() {
        let bits = |a: Mat<f32>, b: Mat<f32>| -> Vec<u32> {
            let mut c = vec![0f32; m * n];
            gemm_with(path, 1.0, a, b, None, Mode::Set, MatMut::new(&mut c, m, n));
            c.iter().map(|x| x.to_bits()).collect()
        };
        let plain = bits(Mat::new(&a, m, k), Mat::new(&b, k, n));
        assert!(plain == bits(Mat::new(&a_t, k, m).t(), Mat::new(&b, k, n)), "{path:?}: A turned");
        assert!(plain == bits(Mat::new(&a, m, k), Mat::new(&b_t, n, k).t()), "{path:?}: B turned");
    }
}
