//! Batch normalisation of images, with an optional ReLU after it:
//!
//! ```text
//!   y = (x - mean[c]) / sqrt(var[c] + eps) * gain[c] + bias[c],   eps = 1e-5;   then max(0, y)
//! ```
//!
//! x, y (B, C, GH, GW), the rest (C), all f32. In training mean and var are those of the batch,
//! over its N = B*GH*GW values of a channel (var divided by N), and forward writes the mean and the
//! unbiased variance (divided by N - 1) to `seen`. In evaluation they are the running ones.
//!
//! Running statistics are not touched here: after the update, `running = 0.9 running + 0.1 seen` is
//! a step of the `ema` op with [`MOMENTUM`] over all layers at once, under the optimizer's guard,
//! so that a step which is refused for a non-finite loss or gradient leaves them as they were too.
//!
//! Backward, with g = dy where y > 0 (or all of dy without ReLU) and xhat the normalised x:
//! dbias = sum g, dgain = sum g xhat, dx = gain / sqrt(var + eps) * (g - [mean g + xhat mean(g
//! xhat)]), the bracket in training only. Saved: x, y (with ReLU), mean, var. Reference:
//! `torch.nn.BatchNorm2d`.

mod cpu;
mod cuda;
pub mod reference;

use super::{add, dispatch, refuse, traffic, written_if};
use crate::Result;
use crate::dtype::DType;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

pub const EPS: f32 = 1e-5;
/// What a step keeps of the running statistics: PyTorch's momentum of 0.1 seen from the other side.
pub const MOMENTUM: f64 = 0.9;

/// Mean and variance by channel.
#[derive(Clone)]
pub struct Statistics {
    pub mean: Tensor, // (C)
    pub var: Tensor,  // (C)
}

#[derive(Clone, Copy)]
pub struct Affine<'a> {
    pub gain: &'a Var, // (C)
    pub bias: &'a Var, // (C)
}

#[derive(Clone, Copy)]
pub enum How<'a> {
    /// The batch's own statistics, told to `seen` for the running ones.
    Training {
        seen: &'a Statistics,
    },
    Evaluation {
        running: &'a Statistics,
    },
}

/// The letters of the contract; S = GH * GW.
#[derive(Clone, Copy)]
struct Dims {
    b: usize,
    c: usize,
    s: usize,
}

pub fn forward(tape: &mut Tape, x: &Var, affine: Affine, how: How, relu: bool) -> Result<Var> {
    let xt = &x.tensor;
    let [b, c, gh, gw] = xt.dims("batch_norm x (B, C, GH, GW)")?;
    let d = Dims { b, c, s: gh * gw };
    let Affine { gain, bias } = affine;
    let given = match how {
        How::Training { seen } => seen,
        How::Evaluation { running } => running,
    };
    xt.expect_dtype("batch_norm x", DType::F32)?;
    for (what, t) in [
        ("batch_norm gain (C)", &gain.tensor),
        ("batch_norm bias (C)", &bias.tensor),
        ("batch_norm mean (C)", &given.mean),
        ("batch_norm var (C)", &given.var),
    ] {
        t.expect_dims(what, &[c])?;
        t.expect_dtype(what, DType::F32)?;
    }
    if matches!(how, How::Training { .. }) && d.b * d.s < 2 {
        return Err(refuse("batch_norm", format!("x {}: one value has no variance", xt.shape())));
    }
    let used = match how {
        How::Training { seen } => {
            let own = || tape.alloc(DType::F32, [c]);
            let used = Statistics { mean: own()?, var: own()? };
            measure(d, xt, &used, seen)?;
            used
        }
        How::Evaluation { running } => running.clone(),
    };
    let y = tape.alloc(DType::F32, *xt.shape())?;
    let (gt, bt) = (&gain.tensor, &bias.tensor);
    dispatch(
        tape.device(),
        traffic(2 * y.bytes() + 4 * gt.bytes()),
        || {
            let (mean, var) = (used.mean.read()?, used.var.read()?);
            let channels = cpu::channels(&mean, &var, &gt.read()?);
            cpu::forward(d, &xt.read()?, &channels, &bt.read()?, relu, &mut y.write()?);
            Ok(())
        },
        |cost| cuda::forward(cost, d, xt, &used, [gt, bt], relu, &y),
    )?;
    let saved_y = relu.then(|| y.clone());
    let training = matches!(how, How::Training { .. });
    tape.output("batch_norm", y, &[x, gain, bias], |id| {
        Box::new(Backward {
            id,
            d,
            x: (xt.clone(), x.id),
            y: saved_y,
            used,
            gain: (gt.clone(), gain.id),
            bias: bias.id,
            training,
        })
    })
}

/// Statistics of the batch: those that it is normalised by, and those that are remembered.
fn measure(d: Dims, x: &Tensor, used: &Statistics, seen: &Statistics) -> Result<()> {
    dispatch(
        x.device(),
        traffic(x.bytes() + 4 * used.mean.bytes()),
        || {
            let (mean, var) = cpu::moments(d, &x.read()?);
            let n = (d.b * d.s) as f32;
            used.mean.upload(&mean)?;
            used.var.upload(&var)?;
            seen.mean.upload(&mean)?;
            seen.var.upload(&var.iter().map(|v| v * (n / (n - 1.0))).collect::<Vec<_>>())
        },
        |cost| cuda::measure(cost, d, x, used, seen),
    )
}

struct Backward {
    id: VarId,
    d: Dims,
    x: (Tensor, Option<VarId>), // (B, C, GH, GW)
    y: Option<Tensor>,          // the same, with ReLU
    used: Statistics,
    gain: (Tensor, Option<VarId>), // (C)
    bias: Option<VarId>,
    training: bool,
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.id)? else { return Ok(()) };
        let dx = grads.into_own(dy)?;
        let ((x, x_id), (gain, gain_id)) = (&self.x, &self.gain);
        let dgain = grads.slot(*gain_id, DType::F32, gain.shape())?;
        let dbias = grads.slot(self.bias, DType::F32, gain.shape())?;
        let y = self.y.as_ref();
        dispatch(
            dx.device(),
            traffic(
                x.bytes()
                    + y.map_or(0, Tensor::bytes)
                    + 2 * dx.bytes()
                    + 3 * gain.bytes()
                    + written_if(dgain.as_ref())
                    + written_if(dbias.as_ref()),
            ),
            || {
                let (mean, var) = (self.used.mean.read()?, self.used.var.read()?);
                let channels = cpu::channels(&mean, &var, &gain.read()?);
                let y = y.map(|y| y.read()).transpose()?;
                let (x, mut dy) = (x.read()?, dx.write()?);
                let sums =
                    cpu::backward(self.d, &x, y.as_deref(), &channels, self.training, &mut dy);
                for (slot, sum) in [(&dbias, &sums[0]), (&dgain, &sums[1])] {
                    if let Some((to, mode)) = slot {
                        cpu::put(sum, &mut to.write()?, *mode);
                    }
                }
                Ok(())
            },
            |cost| {
                let affine = [dgain.as_ref(), dbias.as_ref()];
                cuda::backward(cost, self.d, &dx, x, y, &self.used, gain, self.training, affine)
            },
        )?;
        add::pass(grads, *x_id, &dx.reshape(*x.shape())?)
    }
}
