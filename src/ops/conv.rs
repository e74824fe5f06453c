//! What `conv2d` and `conv_transpose2d` share: the check of their shapes, their work, their backward.

use super::{dispatch, refuse, traffic};
use crate::Result;
pub use crate::backend::cpu::conv::Geometry;
use crate::backend::{Cost, Mode};
use crate::dtype::DType;
use crate::tape::{Grads, Rule, VarId};
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
    /// Of each of the three products.
    pub(super) fn cost(&self) -> Cost {
        let muladds = self.map_elems() as f64 * self.depth() as f64;
        let elems = self.image_elems() + self.map_elems() + self.weight_elems();
        Cost {
            matmul_flops: 2.0 * muladds,
            bytes: 4.0 * elems as f64,
            launches: 1.0,
            ..Cost::default()
        }
    }
}

type OnCpu = fn(&Geometry, &[f32], &[f32], &mut [f32], Mode);
type OnCuda = fn(&Geometry, &Tensor, &Tensor, &Tensor, Mode) -> Result<()>;

type SumOnCpu = fn(&Geometry, &[f32], &mut [f32], Mode);
type SumOnCuda = fn(&Tensor, &Tensor, Mode) -> Result<()>;

/// The products of backward, on the CPU and on CUDA, with their inputs in order.
pub(super) struct Products {
    pub op: &'static str,
    /// dw from x and dy.
    pub w: (OnCpu, OnCuda),
    /// dx from dy and w.
    pub x: (OnCpu, OnCuda),
    /// dbias from dy.
    pub bias: (SumOnCpu, SumOnCuda),
}

pub(super) struct Backward {
    pub products: &'static Products,
    pub y: VarId,
    pub g: Geometry,
    pub x: (Tensor, Option<VarId>),
    pub w: (Tensor, Option<VarId>),
    pub bias: Option<VarId>,
}

impl Rule for Backward {
    fn name(&self) -> &'static str {
        self.products.op
    }

    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.y)? else { return Ok(()) };
        let (g, (x, x_id), (w, w_id)) = (&self.g, &self.x, &self.w);
        let product = |(cpu, cuda): (OnCpu, OnCuda), a: &Tensor, b: &Tensor, to: &Tensor, mode| {
            dispatch(
                dy.device(),
                g.cost(),
                || {
                    cpu(g, &a.read()?, &b.read()?, &mut to.write()?, mode);
                    Ok(())
                },
                || cuda(g, a, b, to, mode),
            )
        };
        if let Some((dw, mode)) = grads.slot(*w_id, DType::F32, w.shape())? {
            product(self.products.w, x, &dy, &dw, mode)?;
        }
        let channels = dy.shape().dims()[1];
        if let Some((db, mode)) = grads.slot(self.bias, DType::F32, &[channels].into())? {
            let (cpu, cuda) = self.products.bias;
            dispatch(
                dy.device(),
                traffic(dy.bytes()),
                || {
                    cpu(g, &dy.read()?, &mut db.write()?, mode);
                    Ok(())
                },
                || cuda(&dy, &db, mode),
            )?;
        }
        if let Some((dx, mode)) = grads.slot(*x_id, DType::F32, x.shape())? {
            product(self.products.x, &dy, w, &dx, mode)?;
        }
        Ok(())
    }
}
