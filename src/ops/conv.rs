//! What `conv2d` and `conv_transpose2d` share: the same products between the images and the maps of
//! a [`Geometry`], in other roles.

use super::conv_launch::{self, Kernels};
use super::{dispatch, refuse, traffic, written};
use crate::Result;
pub use crate::backend::cpu::conv::Geometry;
use crate::backend::cpu::conv::{channel_sum, correlate, spread, weights};
use crate::backend::{Cost, Mode};
use crate::dtype::DType;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

/// An error unless the kernel fits into the padded image, and nothing is empty.
pub(super) fn check(op: &str, g: &Geometry) -> Result<()> {
    let Geometry { batch, channels, height, width, maps, kernel: [kh, kw], stride, padding } = *g;
    if [batch, channels, height, width, maps, kh, kw, stride].contains(&0) {
        return Err(refuse(op, format!("nothing to do for {g:?}")));
    }
    let (h, w) = (height + 2 * padding, width + 2 * padding);
    if kh > h || kw > w {
        let why = format!("kernel {kh}x{kw} is larger than the padded image, {h}x{w}");
        return Err(refuse(op, why));
    }
    Ok(())
}

/// The three tensors are f32: pictures are computed in f32 only.
pub(super) fn expect_f32(op: &str, tensors: &[(&str, &Tensor)]) -> Result<()> {
    tensors.iter().try_for_each(|(name, t)| t.expect_dtype(&format!("{op} {name}"), DType::F32))
}

impl Geometry {
    /// Cost of each of the three products, which moves so many bytes.
    fn cost(&self, bytes: usize) -> Cost {
        Cost { matmul_flops: 2.0 * self.map_elems() as f64 * self.depth() as f64, ..traffic(bytes) }
    }
}

/// A side of a [`Geometry`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Images,
    Maps,
}

/// One of the two ops.
pub(super) struct Conv {
    pub op: &'static str,
    /// What x is; y is the other.
    pub x: Side,
    pub kernels: Kernels,
}

impl Conv {
    /// y of x; the tensors are those that `g` was made of.
    pub fn forward(
        &'static self,
        tape: &mut Tape,
        g: Geometry,
        x: &Var,
        w: &Var,
        bias: Option<&Var>,
    ) -> Result<Var> {
        let dims = match self.x {
            Side::Images => [g.batch, g.maps, g.map_height(), g.map_width()],
            Side::Maps => [g.batch, g.channels, g.height, g.width],
        };
        let y = tape.alloc(DType::F32, dims)?;
        let bias_tensor = bias.map(|b| &b.tensor);
        self.across(&g, self.x, [&x.tensor, &w.tensor], bias_tensor, &y, Mode::Set)?;
        let mut inputs = vec![x, w];
        inputs.extend(bias);
        tape.output(self.op, y, &inputs, |y| {
            Box::new(Backward {
                conv: self,
                y,
                g,
                x: (x.tensor.clone(), x.id),
                w: (w.tensor.clone(), w.id),
                bias: bias.and_then(|b| b.id),
            })
        })
    }

    /// The other side from the side `from`: images correlated with w, or maps spread by it.
    fn across(
        &'static self,
        g: &Geometry,
        from: Side,
        [x, w]: [&Tensor; 2],
        bias: Option<&Tensor>,
        y: &Tensor,
        mode: Mode,
    ) -> Result<()> {
        let (on_cpu, on_cuda): (OnCpu, OnCuda) = match from {
            Side::Images => (correlate, conv_launch::correlate),
            Side::Maps => (spread, conv_launch::spread),
        };
        let read = x.bytes() + w.bytes() + bias.map_or(0, Tensor::bytes);
        dispatch(
            x.device(),
            g.cost(read + written(y, mode)),
            || {
                let bias = bias.map(|b| b.read()).transpose()?;
                on_cpu(g, &x.read()?, &w.read()?, bias.as_deref(), mode, &mut y.write()?);
                Ok(())
            },
            |cost| on_cuda(&self.kernels, cost, g, [x, w], bias, mode, y),
        )
    }

    /// dw (+)= the products of dy with what each tap saw of x.
    fn backward_w(
        &'static self,
        g: &Geometry,
        x: &Tensor,
        dy: &Tensor,
        (dw, mode): (&Tensor, Mode),
    ) -> Result<()> {
        let (images, maps) = match self.x {
            Side::Images => (x, dy),
            Side::Maps => (dy, x),
        };
        dispatch(
            dy.device(),
            g.cost(x.bytes() + dy.bytes() + written(dw, mode)),
            || {
                weights(g, &images.read()?, &maps.read()?, mode, &mut dw.write()?);
                Ok(())
            },
            |cost| conv_launch::weights(&self.kernels, cost, g, [images, maps], dw, mode),
        )
    }

    fn backward_bias(
        &'static self,
        g: &Geometry,
        dy: &Tensor,
        (db, mode): (&Tensor, Mode),
    ) -> Result<()> {
        let places = match self.x {
            Side::Images => g.positions(),
            Side::Maps => g.pixels(),
        };
        dispatch(
            dy.device(),
            traffic(dy.bytes() + written(db, mode)),
            || {
                channel_sum(&dy.read()?, places, mode, &mut db.write()?);
                Ok(())
            },
            |cost| conv_launch::channel_sum(&self.kernels, cost, dy, db, mode),
        )
    }
}

type OnCpu = fn(&Geometry, &[f32], &[f32], Option<&[f32]>, Mode, &mut [f32]);
type OnCuda = fn(
    &'static Kernels,
    Cost,
    &Geometry,
    [&Tensor; 2],
    Option<&Tensor>,
    Mode,
    &Tensor,
) -> Result<()>;

struct Backward {
    conv: &'static Conv,
    y: VarId,
    g: Geometry,
    x: (Tensor, Option<VarId>),
    w: (Tensor, Option<VarId>),
    bias: Option<VarId>,
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.y)? else { return Ok(()) };
        let (conv, g, (x, x_id), (w, w_id)) = (self.conv, &self.g, &self.x, &self.w);
        if let Some((dw, mode)) = grads.slot(*w_id, DType::F32, w.shape())? {
            conv.backward_w(g, x, &dy, (&dw, mode))?;
        }
        let channels = dy.shape().dims()[1];
        if let Some((db, mode)) = grads.slot(self.bias, DType::F32, &[channels].into())? {
            conv.backward_bias(g, &dy, (&db, mode))?;
        }
        if let Some((dx, mode)) = grads.slot(*x_id, DType::F32, x.shape())? {
            let from = match conv.x {
                Side::Images => Side::Maps,
                Side::Maps => Side::Images,
            };
            conv.across(g, from, [&dy, w], None, &dx, mode)?;
        }
        Ok(())
    }
}
