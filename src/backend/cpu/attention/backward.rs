//! dqkv from dy, with the weights computed anew from qkv and lse.
//!
//! ```text
//! p[i, j]  = e^(s[i, j] - lse[i])            delta[i] = dy[i] . y[i]
//! ds[i, j] = p[i, j] (dy[i] . v[j] - delta[i]) / sqrt(HD)
//! dv = p^T dy     dk = ds^T q     dq = ds k      then dq, dk back through rope
//! ```
//!
//! With dropout p in dv, and dy . v in ds, are 0 where a weight is dropped and scaled where it is
//! kept. Blocks of scores of which nothing is seen are left out.
//!
//! Scores are computed transposed, a row per key, so that two of the three products read them as
//! they lie. Sums over blocks are f32 and in a fixed order.

use super::{Dims, Head, Part, Rope, Shared, rows};
use crate::backend::Mode;
use crate::backend::cpu::gemm::{self, Mat, MatMut};
use crate::backend::cpu::{par, scratch};
use crate::dtype::Float;

/// Scores of a block of keys against a block of queries, with their gradients, fill about 100 KiB.
const QUERIES: usize = 128;
const KEYS: usize = 56;

/// dqkv (N, 3*C) set or added to; `y` and `lse` as `forward` left them.
#[allow(clippy::too_many_arguments)]
pub fn backward<E: Float>(
    dims: Dims,
    qkv: &[E],
    rope: Option<Rope>,
    y: &[E],
    lse: &[f32],
    dy: &[E],
    mode: Mode,
    dqkv: &mut [E],
) {
    dims.check(qkv.len(), rope, y.len(), lse.len());
    assert!(dy.len() == y.len() && dqkv.len() == qkv.len(), "attention dy and dqkv");
    let dqkv = Shared::new(dqkv);
    par::tasks(dims.lengths.len() * dims.heads, |task| {
        let head = Head::nth(dims, task);
        let (t, hd) = (head.t, dims.head_dim);
        if mode == Mode::Set {
            clear_filling(head, dqkv);
        }
        if t == 0 {
            return;
        }
        scratch::split(&[t * hd; 3], |[dq, dk, dv]| {
            head_backward(head, qkv, rope, y, lse, dy, [&mut *dq, &mut *dk, &mut *dv]);
            if let Some(rope) = rope {
                let rope = rope.from(head.start);
                rows::rotate_back(hd, rope, dq);
                rows::rotate_back(hd, rope, dk);
            }
            let kept = dims.sight.scale();
            for (part, d, factor) in [(Part::Q, dq, 1.0), (Part::K, dk, 1.0), (Part::V, dv, kept)] {
                let start = head.qkv_start(part);
                rows::store(
                    d,
                    hd,
                    |_| factor,
                    mode,
                    |i| {
                        // SAFETY: rows of this head, which no other task touches.
                        unsafe { dqkv.piece(start + i * 3 * dims.c(), hd) }
                    },
                );
            }
        });
    });
}

/// No gradient where the slot has no row.
fn clear_filling<E: Float>(head: Head, dqkv: Shared<E>) {
    let (stride, hd) = (3 * head.dims.c(), head.dims.head_dim);
    for start in [Part::Q, Part::K, Part::V].map(|part| head.qkv_start(part)) {
        for position in head.t..head.room {
            // SAFETY: rows of this head and slot, which no other task touches.
            unsafe { dqkv.piece(start + position * stride, hd) }.fill(E::from_f32(0.0));
        }
    }
}

fn head_backward<E: Float>(
    head: Head,
    qkv: &[E],
    rope: Option<Rope>,
    y: &[E],
    lse: &[f32],
    dy: &[E],
    [dq, dk, dv]: [&mut [f32]; 3],
) {
    let (d, t, hd) = (head.dims, head.t, head.dims.head_dim);
    let sight = d.sight;
    let padded_t = t.next_multiple_of(rows::LANES);
    let key_blocks = t.div_ceil(KEYS);
    let block = KEYS * QUERIES;
    let of_factors = if sight.dropout.is_some() { block } else { 0 };
    scratch::split(&[t * hd, t * hd, block, block], |[q, k, p, ds]: [&mut [E]; 4]| {
        let lens = [padded_t, padded_t, block, block, of_factors];
        scratch::split(&lens, |[lse2, delta, s, dp, factors]| {
            head.rotated(qkv, Part::Q, rope, q);
            head.rotated(qkv, Part::K, rope, k);
            let lse = &lse[head.lse_start()..][..t];
            lse2.iter_mut().zip(lse).for_each(|(x, lse)| *x = lse * std::f32::consts::LOG2_E);
            rows::dots(&y[head.y_start()..], &dy[head.y_start()..], d.c(), hd, &mut delta[..t]);

            let (q, k) = (Mat::new(q, t, hd), Mat::new(k, t, hd));
            let v = head.part(qkv, Part::V);
            let dy = Mat::strided(&dy[head.y_start()..], t, hd, d.c());
            for from in (0..t).step_by(QUERIES) {
                let queries = from..t.min(from + QUERIES);
                let n_q = queries.len();
                let width = n_q.next_multiple_of(rows::LANES);
                let (q, dy) = (q.rows(queries.clone()), dy.rows(queries.clone()));
                with_packed_4([q.t(), dy.t(), q, dy], |[q_t, dy_t, q, dy]| {
                    for i in 0..key_blocks {
                        let keys = t * i / key_blocks..t * (i + 1) / key_blocks;
                        if keys.start >= sight.keys(queries.end, t) {
                            break;
                        }
                        let (n_k, row) = (keys.len(), keys.start * hd..keys.end * hd);
                        let (k, v) = (k.rows(keys.clone()), v.rows(keys.clone()));
                        let scores = |x| MatMut::strided(x, n_k, n_q, width);
                        let scale = d.scale() * std::f32::consts::LOG2_E;
                        gemm::product(scale, k, q_t, Mode::Set, scores(s));
                        gemm::product(1.0, v, dy_t, Mode::Set, scores(dp));
                        let (s, dp) = (&s[..n_k * width], &mut dp[..n_k * width]);
                        if let Some(mask) = sight.dropout {
                            head.factors(mask, &queries, keys.clone(), width, factors);
                            rows::multiply(dp, factors);
                        }
                        let (lse2, delta) = (&lse2[queries.start..], &delta[queries.start..]);
                        rows::softmax_backward(s, dp, width, lse2, delta, d.scale(), p, ds);
                        let none = E::from_f32(0.0);
                        sight.hide_transposed(p, width, &queries, keys.clone(), none);
                        sight.hide_transposed(ds, width, &queries, keys.clone(), none);
                        if sight.dropout.is_some() {
                            rows::keep(p, &factors[..n_k * width]);
                        }

                        let p = Mat::strided(p, n_k, n_q, width);
                        let ds = Mat::strided(ds, n_k, n_q, width);
                        let sum = |x| MatMut::new(x, n_k, hd);
                        // The first queries that see these keys.
                        let first = if sight.causal { keys.start } else { 0 } >= queries.start;
                        let mode = if first { Mode::Set } else { Mode::Add };
                        gemm::product(1.0, p, dy, mode, sum(&mut dv[row.clone()]));
                        gemm::product(1.0, ds, q, mode, sum(&mut dk[row]));
                        let mode = if i == 0 { Mode::Set } else { Mode::Add };
                        let dq = MatMut::new(&mut dq[queries.start * hd..], n_q, hd);
                        gemm::with_packed(k, |k| gemm::product(1.0, ds.t(), k, mode, dq));
                    }
                });
            }
        });
    });
}

fn with_packed_4<E: Float>(x: [Mat<E>; 4], f: impl FnOnce([&gemm::Packed<E>; 4])) {
    let [a, b, c, d] = x;
    gemm::with_packed(a, |a| {
        gemm::with_packed(b, |b| {
            gemm::with_packed(c, |c| gemm::with_packed(d, |d| f([a, b, c, d])));
        });
    });
}
