//! The halting head of `hrm_seed`: a probability from the two levels' states, averaged over
//! positions.
//!
//! ```text
//!   pooled[b] = [mean_t h[b,t], mean_t l[b,t]]          (2C)
//!   rows[b,0] = z = sum_i w[i] pooled[b,i] + bias       the logit
//!   rows[b,1] = 1 / (1 + exp(-z))                       the probability
//! ```
//!
//! h, l (B, T, C), w (1, 2C), bias (1), all f32 or all bf16; rows (B, 2) f32, all sums f32 in a
//! fixed order. Saved: pooled (B, 2C) f32, rows, w. With dz = drows\[b,0\] + drows\[b,1\] p (1 -
//! p): dh\[b,t\] = dz w[..C] / T for every t, dl likewise with w[C..]; dw = sum_b dz pooled\[b\],
//! dbias = sum_b dz, both f32.

mod cpu;
mod cuda;
pub mod reference;

use super::{by_float, dispatch, expect_same_shape, traffic, written, written_if};
use crate::Result;
use crate::dtype::DType;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

/// Width of a row of results: logit, probability.
pub const ROW: usize = 2;

/// Sizes of one call; the letters of the contract.
#[derive(Clone, Copy, Debug)]
pub struct Dims {
    pub b: usize,
    pub t: usize,
    pub c: usize,
}

pub fn forward(tape: &mut Tape, h: &Var, l: &Var, w: &Var, bias: &Var) -> Result<Var> {
    let (ht, lt) = (&h.tensor, &l.tensor);
    let [b, t, c] = ht.dims("halt_head h (B, T, C)")?;
    expect_same_shape("halt_head l (B, T, C)", ht, lt)?;
    for (what, x, dims) in
        [("halt_head w (1, 2*C)", w, &[1, 2 * c][..]), ("halt_head bias (1)", bias, &[1])]
    {
        x.tensor.expect_dims(what, dims)?;
        x.tensor.expect_dtype(what, ht.dtype())?;
    }
    let d = Dims { b, t, c };
    let pooled = tape.alloc(DType::F32, [b, 2 * c])?;
    let rows = tape.alloc(DType::F32, [b, ROW])?;
    let (wt, bt) = (&w.tensor, &bias.tensor);
    dispatch(
        tape.device(),
        traffic(2 * ht.bytes() + wt.bytes() + pooled.bytes() + rows.bytes()),
        || {
            by_float!(ht.dtype(), "halt_head", E => {
                let (mut pooled, w, bias) = (pooled.write()?, wt.read::<E>()?, bt.read::<E>()?);
                cpu::pool::<E>(d, &ht.read()?, &lt.read()?, &mut pooled);
                cpu::rows::<E>(&pooled, &w, bias[0], &mut rows.write()?);
                Ok(())
            })
        },
        |cost| cuda::forward(cost, d, [ht, lt], wt, bt, &pooled, &rows),
    )?;
    let of_rows = rows.clone();
    tape.output("halt_head", rows, &[h, l, w, bias], |rows| {
        Box::new(Backward {
            rows,
            d,
            dtype: ht.dtype(),
            states: [h.id, l.id],
            pooled,
            of_rows,
            w: (wt.clone(), w.id),
            bias: bias.id,
        })
    })
}

struct Backward {
    rows: VarId,
    d: Dims,
    dtype: DType,
    states: [Option<VarId>; 2],
    pooled: Tensor,             // (B, 2C)
    of_rows: Tensor,            // (B, 2)
    w: (Tensor, Option<VarId>), // (1, 2C)
    bias: Option<VarId>,
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(drows) = grads.take(self.rows)? else { return Ok(()) };
        let Dims { b, t, c } = self.d;
        let (w, w_id) = &self.w;
        let dw = grads.slot(*w_id, DType::F32, w.shape())?;
        let dbias = grads.slot(self.bias, DType::F32, &[1].into())?;
        let of_params = [dw.as_ref(), dbias.as_ref()];
        dispatch(
            w.device(),
            traffic(
                self.pooled.bytes()
                    + self.of_rows.bytes()
                    + drows.bytes()
                    + written_if(dw.as_ref())
                    + written_if(dbias.as_ref()),
            ),
            || {
                let (rows, drows) = (self.of_rows.read()?, drows.read()?);
                let mut sums = vec![0.0; 2 * c + 1];
                cpu::backward_params(&self.pooled.read()?, &rows, &drows, &mut sums);
                let (of_w, of_bias) = sums.split_at(2 * c);
                for (slot, sums) in of_params.into_iter().zip([of_w, of_bias]) {
                    if let Some((to, mode)) = slot {
                        cpu::put(sums, &mut to.write()?, *mode);
                    }
                }
                Ok(())
            },
            |cost| {
                cuda::backward_params(cost, self.d, &self.pooled, &self.of_rows, &drows, of_params)
            },
        )?;
        for (level, id) in self.states.into_iter().enumerate() {
            let Some((dx, mode)) = grads.slot(id, self.dtype, &[b, t, c].into())? else { continue };
            let w = w.view(level * c, [c])?;
            dispatch(
                dx.device(),
                traffic(w.bytes() + self.of_rows.bytes() + drows.bytes() + written(&dx, mode)),
                || {
                    by_float!(self.dtype, "halt_head", E => {
                        let (rows, drows) = (self.of_rows.read()?, drows.read()?);
                        let saved = (&w.read::<E>()?[..], &rows[..], &drows[..]);
                        cpu::backward_state::<E>(self.d, saved, &mut dx.write()?, mode);
                        Ok(())
                    })
                },
                |cost| cuda::backward_state(cost, self.d, &w, &self.of_rows, &drows, &dx, mode),
            )?;
        }
        Ok(())
    }
}
