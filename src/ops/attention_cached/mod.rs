//! Attention of one new position for each of R sequences that go on one by one, as in decoding:
//! what came before lies in a [`Cache`].
//!
//! ```text
//!   q, k, v  = qkv[r] cut into NH heads of HD each; q, k turned by places[r], as in attention
//!   n        = cache.lengths[r];  cache.k[r, n] = k,  cache.v[r, n] = v
//!   y[r]     = softmax(q cache.k[r]^T / sqrt(HD)) cache.v[r]  over 0..=n
//! ```
//!
//! qkv (R, 3*NH*HD), y (R, NH*HD), lengths, places (R) i32; f32 or bf16, rounded where
//! [`attention`](super::attention) rounds: step by step it is that op, causal. A sequence with a
//! negative length is idle: y is 0, its cache stays. `lengths` are for the caller to count up; one
//! that has no room left is refused, on CUDA its y is NaN. Each y depends on its own sequence
//! alone. There is no gradient.

mod cpu;
mod cuda;
pub mod reference;

use super::attention::Rope;
use super::{by_float, dispatch, refuse, traffic};
use crate::Result;
use crate::backend::{Cost, Device, Purpose};
use crate::dtype::DType;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// Keys, rotated, and values of R sequences of up to CAP positions.
#[derive(Clone)]
pub struct Cache {
    pub k: Tensor, // (R, CAP, NH*HD)
    pub v: Tensor, // (R, CAP, NH*HD)
    /// Positions that each sequence has in the cache; negative: it is idle.
    pub lengths: Tensor, // (R) i32
}

impl Cache {
    /// Room for `r` sequences, all idle; `c` is NH*HD.
    pub fn new(device: &Device, dtype: DType, r: usize, cap: usize, c: usize) -> Result<Self> {
        let zeros = || Tensor::zeros(device, dtype, [r, cap, c], Purpose::Carry);
        let lengths = Tensor::from_slice(device, &vec![-1; r], [r], Purpose::Carry)?;
        Ok(Self { k: zeros()?, v: zeros()?, lengths })
    }
}

/// Sizes of one call; the letters of the contract.
#[derive(Clone, Copy)]
struct Dims {
    r: usize,
    cap: usize,
    nh: usize,
    hd: usize,
}

fn check(
    qkv: &Tensor,
    cache: &Cache,
    rope: Option<&Rope>,
    places: &Tensor,
    heads: usize,
) -> Result<Dims> {
    let [r, cap, c] = cache.k.dims("attention_cached k (R, CAP, NH*HD)")?;
    if heads == 0 || !c.is_multiple_of(heads) || !(c / heads).is_multiple_of(4) {
        let what = format!(
            "the cache is {} with {heads} heads: the head width must be a multiple of 4",
            cache.k.shape()
        );
        return Err(refuse("attention_cached", what));
    }
    let hd = c / heads;
    qkv.expect_dims("attention_cached qkv (R, 3*NH*HD)", &[r, 3 * c])?;
    cache.v.expect_dims("attention_cached v (R, CAP, NH*HD)", &[r, cap, c])?;
    for (what, x) in [("attention_cached k", &cache.k), ("attention_cached v", &cache.v)] {
        x.expect_dtype(what, qkv.dtype())?;
    }
    for (what, x) in [("lengths", &cache.lengths), ("places", places)] {
        let what = format!("attention_cached {what} (R)");
        x.expect_dims(&what, &[r])?;
        x.expect_dtype(&what, DType::I32)?;
    }
    if let Some(rope) = rope {
        rope.check("attention_cached", rope.places(), hd)?;
    }
    Ok(Dims { r, cap, nh: heads, hd })
}

/// y, and the cache with one more position of every sequence that is not idle. The cost is that of
/// full caches: how full they are only the device knows.
pub fn forward(
    tape: &mut Tape,
    qkv: &Var,
    cache: &Cache,
    rope: Option<&Rope>,
    places: &Tensor,
    heads: usize,
) -> Result<Var> {
    if qkv.id.is_some() {
        return Err(refuse("attention_cached", "it has no gradient: detach qkv".into()));
    }
    let x = &qkv.tensor;
    let d = check(x, cache, rope, places, heads)?;
    let y = tape.alloc(x.dtype(), [d.r, d.nh * d.hd])?;
    let matmul_flops = (2 * 2 * d.r * d.cap * d.nh * d.hd) as f64;
    let bytes = x.bytes() + cache.k.bytes() + cache.v.bytes() + y.bytes();
    dispatch(
        tape.device(),
        Cost { matmul_flops, ..traffic(bytes) },
        || {
            by_float!(x.dtype(), "attention_cached", E => {
                cpu::forward::<E>(d, &x.read()?, cache, rope, &places.read()?, &mut y.write()?)
            })
        },
        |cost| cuda::forward(cost, d, x, cache, rope, places, &y),
    )?;
    Ok(Var::constant(y))
}
