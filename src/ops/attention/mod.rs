//! RoPE and multi-head self-attention in one, within each row of a [`Layout`].
//!
//! ```text
//!   q, k, v = qkv cut per token into NH heads of HD each, in this order
//!   q, k    = x cos[p] + rotate_half(x) sin[p],  rotate_half(x) = (-x[HD/2..], x[..HD/2]),
//!             p the place of the position
//!   P       = softmax(q k^T / sqrt(HD))  over the positions of a row, causal: up to the query's
//!   y       = drop(P) v;  0 in filling
//! ```
//!
//! qkv (N, 3*NH*HD), cos, sin (places, HD) f32 with halves alike, or none (learned positions),
//! y (N, NH*HD).
//! f32, or bf16 with rotated q, k and the probabilities rounded to bf16 and f32 sums. No T x T
//! matrix is stored: saved are qkv, y and lse (N NH) f32, a slot's (NH, T) end to end, and backward
//! recomputes the probabilities. Filling gets no gradient. HD is any multiple of 4. Reference:
//! `Attention` and `RotaryEmbedding` of the official HRM.
//!
//! Dropout is that of [`dropout`](super::dropout) on P: head h, query i (its number among all N
//! positions) and key j (its number in the row) have word j % 4 of the Philox block
//! (i NH + h) ceil(T / 4) + j / 4, T the positions of the largest slot. lse knows nothing of it. In
//! bf16 the probabilities are rounded, then dropped; the scale of what is kept multiplies f32 sums.

mod cpu;
mod cuda;
pub mod reference;

use super::dropout::Site;
use super::layout::Layout;
use super::{by_float, dispatch, refuse, traffic, written};
use crate::Result;
use crate::backend::Cost;
use crate::dtype::DType;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

/// How the positions of a row see each other. By default all see all.
#[derive(Clone, Copy, Default)]
pub struct Sight<'a> {
    /// A position sees itself and those before it.
    pub causal: bool,
    /// Drop probabilities, as in training, by the words of a [`Draw`](super::draw::Draw), (4) i32.
    pub dropout: Option<(Site, &'a Tensor)>,
}

/// Heads and rows of one call; the letters of the contract.
#[derive(Clone)]
struct Call {
    layout: Layout,
    nh: usize,
    hd: usize,
    causal: bool,
    dropout: Option<(Site, Tensor)>,
}

impl Call {
    /// Scores of a head of a slot of `t` positions, filling counted.
    fn of_slot(&self, t: usize) -> usize {
        if self.causal { t * (t + 1) / 2 } else { t * t }
    }

    fn cost(&self, products: f64, bytes: usize) -> Cost {
        let of_slots: usize = self.layout.positions().sizes().map(|t| self.of_slot(t)).sum();
        let scores = (of_slots * self.nh) as f64;
        let matmul_flops = products * 2.0 * scores * self.hd as f64;
        Cost { matmul_flops, ..traffic(bytes) }
    }

    /// Philox blocks that a query of a head has.
    fn blocks_of_a_query(&self) -> usize {
        self.layout.largest().div_ceil(4)
    }

    fn check_dropout(&self) -> Result<()> {
        let Some((site, draw)) = &self.dropout else { return Ok(()) };
        site.check("attention", draw)?;
        let n = self.layout.positions().total();
        if n * self.nh * self.blocks_of_a_query() > u32::MAX as usize {
            let (nh, t) = (self.nh, self.layout.largest());
            let what = format!(
                "dropout in {n} positions of {nh} heads, slots of up to {t}: more than 2^34 \
                 probabilities; make the batch smaller"
            );
            return Err(refuse("attention", what));
        }
        Ok(())
    }
}

/// Rotation tables, (places, HD) f32 each.
#[derive(Clone)]
pub struct Rope {
    pub cos: Tensor,
    pub sin: Tensor,
}

impl Rope {
    /// Refuse tables that are not (`places`, `hd`) f32.
    pub(super) fn check(&self, op: &str, places: usize, hd: usize) -> Result<()> {
        for (name, table) in [("cos", &self.cos), ("sin", &self.sin)] {
            let what = format!("{op} {name} (T, HD)");
            table.expect_dims(&what, &[places, hd])?;
            table.expect_dtype(&what, DType::F32)?;
        }
        Ok(())
    }

    /// Rows of the tables.
    pub(super) fn places(&self) -> usize {
        self.cos.shape().rows()
    }
}

fn bytes_of(rope: Option<&Rope>) -> usize {
    rope.map_or(0, |Rope { cos, sin }| cos.bytes() + sin.bytes())
}

/// All positions of a row see all of it.
pub fn forward(
    tape: &mut Tape,
    qkv: &Var,
    heads: usize,
    rope: Option<&Rope>,
    layout: &Layout,
) -> Result<Var> {
    forward_with(tape, qkv, heads, rope, layout, Sight::default())
}

pub fn forward_with(
    tape: &mut Tape,
    qkv: &Var,
    heads: usize,
    rope: Option<&Rope>,
    layout: &Layout,
    sight: Sight,
) -> Result<Var> {
    let x = &qkv.tensor;
    let c3 = layout.width("attention qkv (N, 3*NH*HD)", x)?;
    if heads == 0 || c3 % (3 * heads) != 0 || !(c3 / (3 * heads)).is_multiple_of(4) {
        return Err(refuse(
            "attention",
            format!(
                "qkv is {} with {heads} heads: the head width must be a multiple of 4",
                x.shape()
            ),
        ));
    }
    // Nothing is dropped at p = 0, and nothing drawn.
    let dropout = sight.dropout.filter(|(site, _)| site.prob != 0.0);
    let d = Call {
        layout: layout.clone(),
        nh: heads,
        hd: c3 / (3 * heads),
        causal: sight.causal,
        dropout: dropout.map(|(site, draw)| (site, draw.clone())),
    };
    d.check_dropout()?;
    if let Some(rope) = rope {
        // A batch of whole canvases has all places.
        let places = layout.uniform().map_or(rope.places(), |t| t.max(rope.places()));
        rope.check("attention", places, d.hd)?;
    }
    let y = tape.alloc(x.dtype(), layout.shape(c3 / 3))?;
    let lse = tape.alloc(DType::F32, [layout.positions().total() * heads])?;
    dispatch(
        tape.device(),
        d.cost(2.0, x.bytes() + bytes_of(rope) + y.bytes() + lse.bytes()),
        || {
            by_float!(x.dtype(), "attention", E => {
                cpu::forward::<E>(&d, &x.read()?, rope, &mut y.write()?, &mut lse.write()?)
            })
        },
        |cost| cuda::forward(cost, &d, x, rope, &y, &lse),
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

struct Backward {
    id: VarId,
    d: Call,
    qkv: Tensor, // (N, 3*NH*HD)
    y: Tensor,   // (N, NH*HD)
    lse: Tensor, // (N * NH)
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
                    let saved = (&x.read::<E>()?[..], &self.y.read::<E>()?[..], &self.lse.read()?[..]);
                    let rope = self.rope.as_ref();
                    cpu::backward::<E>(&self.d, saved, rope, &dy.read()?, &mut dx.write()?, mode)
                })
            },
            |cost| {
                let saved = [x, &self.y, &self.lse];
                cuda::backward(cost, &self.d, saved, self.rope.as_ref(), &dy, &dx, mode)
            },
        )
    }
}
