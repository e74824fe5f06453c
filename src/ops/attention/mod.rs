//! RoPE and multi-head self-attention in one: not causal, not masked.
//!
//! ```text
//!   q, k, v = qkv cut per token into NH heads of HD each, in this order
//!   q, k    = x cos[t] + rotate_half(x) sin[t],  rotate_half(x) = (-x[HD/2..], x[..HD/2])
//!   y       = softmax(q k^T / sqrt(HD)) v
//! ```
//!
//! qkv (B, T, 3*NH*HD), cos, sin (T, HD) f32 with halves alike, or none (learned positions),
//! y (B, T, NH*HD).
//! f32, or bf16 with rotated q, k and the probabilities rounded to bf16 and f32 sums. No T x T
//! matrix is stored: saved are qkv, y and lse (B, NH, T) f32, and backward recomputes the
//! probabilities. HD is any multiple of 4. Reference: `Attention` and `RotaryEmbedding` of the
//! official HRM.

mod cpu;
mod cuda;
pub mod reference;

use super::{by_float, dispatch, refuse, traffic, written};
use crate::Result;
use crate::backend::Cost;
use crate::dtype::DType;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

/// Sizes of one call; the letters of the contract.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dims {
    pub b: usize,
    pub t: usize,
    pub nh: usize,
    pub hd: usize,
}

impl Dims {
    fn scale(self) -> f32 {
        1.0 / (self.hd as f32).sqrt()
    }

    fn cost(self, products: f64, bytes: usize) -> Cost {
        let Dims { b, t, nh, hd } = self;
        Cost { matmul_flops: products * 2.0 * (b * nh * t * t * hd) as f64, ..traffic(bytes) }
    }
}

/// Rotation tables, (T, HD) f32 each.
#[derive(Clone)]
pub struct Rope {
    pub cos: Tensor,
    pub sin: Tensor,
}

fn bytes_of(rope: Option<&Rope>) -> usize {
    rope.map_or(0, |Rope { cos, sin }| cos.bytes() + sin.bytes())
}

pub fn forward(tape: &mut Tape, qkv: &Var, heads: usize, rope: Option<&Rope>) -> Result<Var> {
    let x = &qkv.tensor;
    let [b, t, c3] = x.dims("attention qkv (B, T, 3*NH*HD)")?;
    if heads == 0 || c3 % (3 * heads) != 0 || !(c3 / (3 * heads)).is_multiple_of(4) {
        return Err(refuse(
            "attention",
            format!(
                "qkv is {} with {heads} heads: the head width must be a multiple of 4",
                x.shape()
            ),
        ));
    }
    let d = Dims { b, t, nh: heads, hd: c3 / (3 * heads) };
    if let Some(rope) = rope {
        for (what, table) in
            [("attention cos (T, HD)", &rope.cos), ("attention sin (T, HD)", &rope.sin)]
        {
            table.expect_dims(what, &[t, d.hd])?;
            table.expect_dtype(what, DType::F32)?;
        }
    }
    let y = tape.alloc(x.dtype(), [b, t, c3 / 3])?;
    let lse = tape.alloc(DType::F32, [b, heads, t])?;
    dispatch(
        tape.device(),
        d.cost(2.0, x.bytes() + bytes_of(rope) + y.bytes() + lse.bytes()),
        || {
            by_float!(x.dtype(), "attention", E => {
                let tables = read_tables(rope)?;
                let tables = tables.as_ref().map(|(c, s)| (&c[..], &s[..]));
                cpu::forward::<E>(d, &x.read()?, tables, &mut y.write()?, &mut lse.write()?);
                Ok(())
            })
        },
        |cost| cuda::forward(cost, d, x, rope, &y, &lse),
    )?;
    let saved_y = y.clone();
    tape.output("attention", y, &[qkv], |id| {
        Box::new(Backward {
            id,
            d,
            qkv: x.clone(),
            y: saved_y,
            lse,
            rope: rope.cloned(),
            qkv_id: qkv.id,
        })
    })
}

type Tables<'a> = Option<(crate::tensor::Read<'a, f32>, crate::tensor::Read<'a, f32>)>;

fn read_tables(rope: Option<&Rope>) -> Result<Tables<'_>> {
    rope.map(|r| Ok((r.cos.read()?, r.sin.read()?))).transpose()
}

struct Backward {
    id: VarId,
    d: Dims,
    qkv: Tensor, // (B, T, 3*NH*HD)
    y: Tensor,   // (B, T, NH*HD)
    lse: Tensor, // (B, NH, T)
    rope: Option<Rope>,
    qkv_id: Option<VarId>,
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.id)? else { return Ok(()) };
        let x = &self.qkv;
        let Some((dx, mode)) = grads.slot(self.qkv_id, x.dtype(), x.shape())? else {
            return Ok(());
        };
        let read = [x, &self.y, &self.lse, &dy].map(Tensor::bytes).iter().sum::<usize>();
        dispatch(
            x.device(),
            self.d.cost(5.0, read + bytes_of(self.rope.as_ref()) + written(&dx, mode)),
            || {
                by_float!(x.dtype(), "attention", E => {
                    let tables = read_tables(self.rope.as_ref())?;
                    let tables = tables.as_ref().map(|(c, s)| (&c[..], &s[..]));
                    let saved = (&x.read::<E>()?[..], &self.y.read::<E>()?[..], &self.lse.read()?[..]);
                    cpu::backward::<E>(self.d, saved, tables, &dy.read()?, &mut dx.write()?, mode);
                    Ok(())
                })
            },
            |cost| {
                let saved = [x, &self.y, &self.lse];
                cuda::backward(cost, self.d, saved, self.rope.as_ref(), &dy, &dx, mode)
            },
        )
    }
}
