//! Against plain f64 loops, finite differences, and itself on other numbers of threads.

use super::*;
use crate::backend::cpu::dropout::Mask;
use crate::dtype::bf16;
use crate::rng::{philox, unit_f32};

const MASK: Mask = Mask { seed: 1 << 40 | 5, stream: 3, number: 9, prob: 0.25, scale: 1.0 / 0.75 };
const SIGHTS: [Sight; 4] = [
    Sight { causal: false, dropout: None },
    Sight { causal: true, dropout: None },
    Sight { causal: false, dropout: Some(MASK) },
    Sight { causal: true, dropout: Some(MASK) },
];

fn values<E: Float>(len: usize, seed: u32) -> Vec<E> {
    let mut state = seed.wrapping_mul(0x9E37_79B9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 * 4.0 - 2.0
    };
    (0..len).map(|_| E::from_f32(next())).collect()
}

/// Rows in slots, heads of some width, and where positions are.
struct Case {
    starts: Vec<usize>,
    lengths: Vec<i32>,
    heads: usize,
    head_dim: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
    places: Vec<i32>,
    sight: Sight,
}

impl Case {
    /// `rows`: positions of each slot, and how many of them its row has.
    fn of(rows: &[(usize, usize)], heads: usize, head_dim: usize) -> Self {
        let ends = rows.iter().scan(0, |end, (room, _)| {
            *end += room;
            Some(*end)
        });
        let starts: Vec<usize> = std::iter::once(0).chain(ends).collect();
        let n = starts[rows.len()];
        // Places go up in leaps, as those of a window on a canvas do.
        let places = rows.iter().flat_map(|&(room, t)| {
            (0..room).map(move |i| if i < t { i + i / 5 * 3 } else { 0 } as i32)
        });
        let places: Vec<i32> = places.collect();
        let angle = |i: usize| {
            let (t, j) = (i / head_dim, i % head_dim % (head_dim / 2).max(1));
            t as f32 * 10_000f32.powf(-2.0 * j as f32 / head_dim as f32)
        };
        let angles: Vec<f32> = (0..2 * n * head_dim).map(angle).collect();
        let lengths = rows.iter().map(|&(_, t)| t as i32).collect();
        let [cos, sin] = [f32::cos, f32::sin].map(|f| angles.iter().map(|&a| f(a)).collect());
        let sight = Sight::default();
        Self { starts, lengths, heads, head_dim, cos, sin, places, sight }
    }

    fn seen_by(self, sight: Sight) -> Self {
        Self { sight, ..self }
    }

    /// What position i (among all), head h makes of the probability of key n of its row.
    fn factor(&self, i: usize, h: usize, n: usize) -> f64 {
        let Some(mask) = self.sight.dropout else { return 1.0 };
        let largest = self.starts.windows(2).map(|slot| slot[1] - slot[0]).max().unwrap();
        let block = (i * self.heads + h) * largest.div_ceil(4) + n / 4;
        let words = philox(mask.seed, [block as u32, mask.stream, mask.number as u32, 0]);
        if unit_f32(words[n % 4]) < mask.prob { 0.0 } else { mask.scale as f64 }
    }

    /// Keys that query i of a row of t sees.
    fn seen(&self, i: usize, t: usize) -> usize {
        if self.sight.causal { i + 1 } else { t }
    }

    fn dims(&self) -> Dims<'_> {
        let Self { starts, lengths, heads, head_dim, sight, .. } = self;
        Dims { starts, lengths, heads: *heads, head_dim: *head_dim, sight: *sight }
    }

    fn rope(&self) -> Rope<'_> {
        Rope { cos: &self.cos, sin: &self.sin, places: &self.places }
    }

    /// N
    fn positions(&self) -> usize {
        self.places.len()
    }

    fn c(&self) -> usize {
        self.heads * self.head_dim
    }

    /// First position, room and length of each row, and each head.
    fn parts(&self) -> impl Iterator<Item = (usize, usize, usize, usize)> {
        let rows = self.starts.windows(2).zip(&self.lengths);
        rows.flat_map(|(slot, &t)| {
            (0..self.heads).map(move |h| (slot[0], slot[1] - slot[0], t as usize, h))
        })
    }

    fn name(&self) -> String {
        let Self { starts, lengths, heads, head_dim, sight, .. } = self;
        format!("{lengths:?} of {starts:?}, {heads} x {head_dim}, {sight:?}")
    }
}

/// (y, lse) in f64, from the definition; lse is NaN where there is no query.
fn plain(d: &Case, qkv: &[f64], rope: Option<Rope>) -> (Vec<f64>, Vec<f64>) {
    let (hd, c) = (d.head_dim, d.c());
    let mut y = vec![0.0; d.positions() * c];
    let mut lse = vec![f64::NAN; d.positions() * d.heads];
    for (start, room, t, h) in d.parts() {
        let x = |part: usize, t: usize, j: usize| qkv[((start + t) * 3 + part) * c + h * hd + j];
        let turned = |part: usize, t: usize, j: usize| match rope {
            None => x(part, t, j),
            Some(rope) => {
                let other =
                    if j < hd / 2 { -x(part, t, j + hd / 2) } else { x(part, t, j - hd / 2) };
                let at = rope.places[start + t] as usize * hd + j;
                x(part, t, j) * rope.cos[at] as f64 + other * rope.sin[at] as f64
            }
        };
        let rows = |part| -> Vec<Vec<f64>> {
            (0..t).map(|i| (0..hd).map(|j| turned(part, i, j)).collect()).collect()
        };
        let (q, k) = (rows(0), rows(1));
        for i in 0..t {
            let score = |k: &Vec<f64>| {
                q[i].iter().zip(k).map(|(q, k)| q * k).sum::<f64>() / (hd as f64).sqrt()
            };
            let s: Vec<f64> = k[..d.seen(i, t)].iter().map(score).collect();
            let max = s.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let l = max + s.iter().map(|s| (s - max).exp()).sum::<f64>().ln();
            lse[start * d.heads + h * room + i] = l;
            for (n, s) in s.iter().enumerate() {
                for j in 0..hd {
                    let p = (s - l).exp() * d.factor(start + i, h, n);
                    y[(start + i) * c + h * hd + j] += p * x(2, n, j);
                }
            }
        }
    }
    (y, lse)
}

/// Where `want` is NaN, nothing is said.
fn expect_close<E: Float>(what: &str, got: &[E], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    let scale = want.iter().fold(1e-12, |a: f64, w| a.max(w.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate().filter(|(_, (_, w))| !w.is_nan()) {
        let g = g.to_f32() as f64;
        assert!((g - w).abs() <= tolerance * scale, "{what}[{i}]: {g} {w} (scale {scale})");
    }
}

/// Positions of each slot and of the row in it; heads; width of a head.
type Sizes = (&'static [(usize, usize)], usize, usize);

const CASES: &[Sizes] = &[
    (&[(1, 1)], 1, 4),
    (&[(3, 3), (3, 3)], 1, 8),
    (&[(17, 17)], 3, 8),
    (&[(29, 29), (29, 29)], 2, 12),
    (&[(50, 50)], 2, 16),
    (&[(82, 82), (82, 82)], 4, 32),
    (&[(97, 97)], 2, 64),
    (&[(256, 256)], 1, 20),
    (&[(257, 257)], 1, 36),
    (&[(541, 541)], 2, 32),
    (&[(90, 82), (17, 17), (5, 1), (64, 33)], 2, 32),
    (&[(300, 270), (1, 1), (130, 129)], 1, 16),
    (&[(2, 0), (7, 6)], 2, 8),
];

fn check_forward<E: Float>(tolerance: f64, lse_tolerance: f64) {
    for (&(rows, nh, hd), sight) in CASES.iter().flat_map(|case| SIGHTS.map(|s| (case, s))) {
        let d = &Case::of(rows, nh, hd).seen_by(sight);
        let qkv = values::<E>(d.positions() * 3 * d.c(), 1);
        let wide: Vec<f64> = qkv.iter().map(|x| x.to_f32() as f64).collect();
        for rope in [None, Some(d.rope())] {
            let (want_y, want_lse) = plain(d, &wide, rope);
            let mut y = vec![E::from_f32(f32::NAN); want_y.len()];
            let mut lse = vec![f32::NAN; want_lse.len()];
            forward(d.dims(), &qkv, rope, &mut y, &mut lse);
            expect_close(&format!("{} y", d.name()), &y, &want_y, tolerance);
            expect_close(&format!("{} lse", d.name()), &lse, &want_lse, lse_tolerance);
        }
    }
}

#[test]
fn forward_agrees_with_plain_loops_f32() {
    check_forward::<f32>(3e-6, 1e-6);
}

#[test]
fn forward_agrees_with_plain_loops_bf16() {
    check_forward::<bf16>(0.015, 0.003);
}

/// dqkv in f64 by the formulas of the contract, through central differences of `plain`.
fn differences(d: &Case, qkv: &[f64], rope: Option<Rope>, dy: &[f64]) -> Vec<f64> {
    let loss =
        |qkv: &[f64]| -> f64 { plain(d, qkv, rope).0.iter().zip(dy).map(|(y, dy)| y * dy).sum() };
    let (mut x, step) = (qkv.to_vec(), 1e-4);
    (0..x.len())
        .map(|i| {
            x[i] = qkv[i] + step;
            let above = loss(&x);
            x[i] = qkv[i] - step;
            let below = loss(&x);
            x[i] = qkv[i];
            (above - below) / (2.0 * step)
        })
        .collect()
}

fn gradient<E: Float>(d: &Case, qkv: &[E], rope: Option<Rope>, dy: &[E], mode: Mode) -> Vec<E> {
    let (mut y, mut lse) = (dy.to_vec(), vec![f32::NAN; d.heads * d.positions()]);
    let d = d.dims();
    forward(d, qkv, rope, &mut y, &mut lse);
    let before = if mode == Mode::Add { 1.0 } else { f32::NAN };
    let mut dqkv = vec![E::from_f32(before); qkv.len()];
    backward(d, qkv, rope, &y, &lse, dy, mode, &mut dqkv);
    dqkv
}

#[test]
fn backward_agrees_with_differences() {
    const SMALL: [Sizes; 5] = [
        (&[(1, 1)], 1, 4),
        (&[(5, 5), (5, 5)], 2, 4),
        (&[(17, 17)], 1, 8),
        (&[(30, 30)], 1, 6),
        (&[(6, 5), (4, 4), (3, 1)], 2, 4),
    ];
    for ((rows, nh, hd), sight) in SMALL.iter().flat_map(|case| SIGHTS.map(|s| (*case, s))) {
        let d = &Case::of(rows, nh, hd).seen_by(sight);
        let n = d.positions();
        let (qkv, dy) = (values::<f32>(n * 3 * d.c(), 1), values::<f32>(n * d.c(), 2));
        let wide = |x: &[f32]| -> Vec<f64> { x.iter().map(|&x| x as f64).collect() };
        for rope in [None, Some(d.rope())] {
            let want = differences(d, &wide(&qkv), rope, &wide(&dy));
            expect_close("set", &gradient(d, &qkv, rope, &dy, Mode::Set), &want, 2e-6);
            let want: Vec<f64> = want.iter().map(|w| w + 1.0).collect();
            expect_close("add", &gradient(d, &qkv, rope, &dy, Mode::Add), &want, 2e-6);
        }
    }
}

/// Gradient of the definition, written out in f64 without rope.
fn plain_backward(d: &Case, qkv: &[f64], dy: &[f64]) -> Vec<f64> {
    let (hd, c) = (d.head_dim, d.c());
    let (y, lse) = plain(d, qkv, None);
    let mut dqkv = vec![0.0; qkv.len()];
    for (start, room, t, h) in d.parts() {
        let at = |part: usize, i: usize| ((start + i) * 3 + part) * c + h * hd;
        let out = |i: usize| (start + i) * c + h * hd;
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        for i in 0..t {
            let q = &qkv[at(0, i)..][..hd];
            let dy = &dy[out(i)..][..hd];
            let delta = dot(dy, &y[out(i)..][..hd]);
            for j in 0..d.seen(i, t) {
                let factor = d.factor(start + i, h, j);
                let (k, v) = (&qkv[at(1, j)..][..hd], &qkv[at(2, j)..][..hd]);
                let scale = 1.0 / (hd as f64).sqrt();
                let p = (dot(q, k) * scale - lse[start * d.heads + h * room + i]).exp();
                let ds = p * (factor * dot(dy, v) - delta) * scale;
                for n in 0..hd {
                    dqkv[at(0, i) + n] += ds * k[n];
                    dqkv[at(1, j) + n] += ds * q[n];
                    dqkv[at(2, j) + n] += factor * p * dy[n];
                }
            }
        }
    }
    dqkv
}

fn check_backward<E: Float>(tolerance: f64) {
    for (&(rows, nh, hd), sight) in CASES.iter().flat_map(|case| SIGHTS.map(|s| (case, s))) {
        let d = &Case::of(rows, nh, hd).seen_by(sight);
        let n = d.positions();
        let (qkv, dy) = (values::<E>(n * 3 * d.c(), 1), values::<E>(n * d.c(), 2));
        let wide = |x: &[E]| -> Vec<f64> { x.iter().map(|x| x.to_f32() as f64).collect() };
        let want = plain_backward(d, &wide(&qkv), &wide(&dy));
        expect_close(&d.name(), &gradient(d, &qkv, None, &dy, Mode::Set), &want, tolerance);
    }
}

#[test]
fn backward_agrees_with_plain_loops_f32() {
    check_backward::<f32>(5e-6);
}

#[test]
fn backward_agrees_with_plain_loops_bf16() {
    check_backward::<bf16>(0.02);
}

#[test]
fn thread_count_does_not_change_bits() {
    SIGHTS.into_iter().for_each(thread_count_does_not_change_bits_of);
}

fn thread_count_does_not_change_bits_of(sight: Sight) {
    let d = &Case::of(&[(541, 530), (40, 33)], 3, 16).seen_by(sight);
    let n = d.positions();
    let (qkv, dy) = (values::<bf16>(n * 3 * d.c(), 5), values::<bf16>(n * d.c(), 6));
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let rope = Some(d.rope());
        pool.install(|| {
            let (mut y, mut lse) = (dy.clone(), vec![0.0; d.heads * n]);
            forward(d.dims(), &qkv, rope, &mut y, &mut lse);
            (y, lse, gradient(d, &qkv, rope, &dy, Mode::Set))
        })
    };
    assert!(run(1) == run(2));
    assert!(run(3) == run(2));
}

/// Later positions do not change a bit of the earlier ones, whatever they are.
#[test]
fn causal_positions_know_nothing_of_later_ones() {
    const T: usize = 300;
    let d = &Case::of(&[(T, T)], 2, 16).seen_by(SIGHTS[1]);
    let mut qkv = values::<bf16>(T * 3 * d.c(), 1);
    let run = |qkv: &[bf16]| {
        let (mut y, mut lse) = (vec![bf16::default(); T * d.c()], vec![0.0; d.heads * T]);
        forward(d.dims(), qkv, Some(d.rope()), &mut y, &mut lse);
        y
    };
    let before = run(&qkv);
    for from in [299, 131, 128, 27, 1] {
        qkv[from * 3 * d.c()..].fill(bf16::from_f32(3.0));
        let after = run(&qkv);
        assert!(before[..from * d.c()] == after[..from * d.c()], "from {from}");
        assert!(before[from * d.c()..] != after[from * d.c()..], "from {from}");
    }
}

#[test]
fn large_scores_do_not_overflow_and_nan_is_not_hidden() {
    let case = &Case::of(&[(40, 40)], 1, 4);
    let (d, t) = (case.dims(), 40);
    let mut qkv = values::<f32>(t * 12, 3);
    qkv.iter_mut().for_each(|x| *x *= 300.0);
    let (mut y, mut lse) = (vec![0.0; t * 4], vec![0.0; t]);
    forward(d, &qkv, None, &mut y, &mut lse);
    let wide: Vec<f64> = qkv.iter().map(|&x| x as f64).collect();
    expect_close("lse", &lse, &plain(case, &wide, None).1, 1e-6);
    qkv[12 + 4] = f32::NAN;
    forward(d, &qkv, None, &mut y, &mut lse);
    assert!(y.iter().all(|y| y.is_nan()) && lse.iter().all(|l| l.is_nan()));
}

#[test]
#[should_panic(expected = "attention lse")]
fn wrong_lengths_are_refused() {
    let d = Case::of(&[(2, 2)], 1, 4);
    forward(d.dims(), &[0f32; 24], None, &mut [0.0; 8], &mut [0.0; 3]);
}
