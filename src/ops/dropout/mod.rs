//! y\[i\] = kept(i) ? x\[i\] * scale : 0 with scale = 1 / (1 - p), for 0 <= p < 1, as in training.
//!
//! kept(i): unit(word i % 4 of Philox(seed, [i / 4, Dropout + 256 * site, number])) >= p. Seed and
//! number are a [`Draw`] in device memory, which changes from step to step; `site` tells the
//! dropouts of one network apart. The mask is the same on every device, bit for bit. x, y any
//! shape, f32 or bf16; the product is f32, rounded once. dx = kept(i) ? dy * scale : 0: backward
//! draws the mask again, nothing is saved but the draw, which must not change in between.
//! Reference: `torch.nn.Dropout` (another generator).

mod cpu;
mod cuda;
pub mod reference;

use super::draw::Draw;
use super::{add, by_float, dispatch, refuse, traffic};
use crate::Result;
use crate::backend::cpu::dropout::Mask;
use crate::rng::Stream;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

/// One dropout of a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Site {
    /// Below 2^24.
    pub number: u32,
    pub prob: f32,
}

impl Site {
    /// What is kept is multiplied by this.
    pub(super) fn scale(self) -> f32 {
        (1.0 / (1.0 - self.prob as f64)) as f32
    }

    /// The second word of the counter.
    pub(super) fn stream(self) -> u32 {
        Stream::Dropout as u32 + (self.number << 8)
    }

    pub(super) fn mask(self, draw: &Tensor) -> Result<Mask> {
        let Draw { seed, number } = Draw::read(draw)?;
        Ok(Mask { seed, number, stream: self.stream(), prob: self.prob, scale: self.scale() })
    }

    /// Whether `op` can drop here by these words.
    pub(super) fn check(self, op: &str, draw: &Tensor) -> Result<()> {
        if !(0.0..1.0).contains(&self.prob) || self.number >= 1 << 24 {
            return Err(refuse(op, format!("p in [0, 1) and site below 2^24, not {self:?}")));
        }
        Draw::check(op, draw)
    }
}

/// `draw` (4) i32 holds [`Draw::words`].
pub fn forward(tape: &mut Tape, x: &Var, site: Site, draw: &Tensor) -> Result<Var> {
    site.check("dropout", draw)?;
    let y = tape.alloc(x.tensor.dtype(), *x.tensor.shape())?;
    dispatch(
        tape.device(),
        traffic(2 * y.bytes()),
        || {
            by_float!(y.dtype(), "dropout", E => {
                let mut y = y.write()?;
                y.copy_from_slice(&x.tensor.read()?);
                cpu::apply::<E>(&mut y, site.mask(draw)?);
                Ok(())
            })
        },
        |cost| cuda::apply(cost, &y, &x.tensor, site, draw),
    )?;
    tape.output("dropout", y, &[x], |y| Box::new(Backward { y, x: x.id, site, draw: draw.clone() }))
}

struct Backward {
    y: VarId,
    x: Option<VarId>,
    site: Site,
    draw: Tensor, // (4)
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.y)? else { return Ok(()) };
        let dx = grads.into_own(dy)?;
        dispatch(
            dx.device(),
            traffic(2 * dx.bytes()),
            || {
                by_float!(dx.dtype(), "dropout", E => {
                    cpu::apply::<E>(&mut dx.write()?, self.site.mask(&self.draw)?);
                    Ok(())
                })
            },
            |cost| cuda::apply(cost, &dx, &dx, self.site, &self.draw),
        )?;
        add::pass(grads, self.x, &dx)
    }
}
