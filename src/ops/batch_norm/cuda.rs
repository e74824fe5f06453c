use super::{Dims, EPS, Statistics};
use crate::Result;
use crate::backend::{Cost, Kernel, Mode, Purpose, kernel};
use crate::dtype::DType;
use crate::ops::launch::{On, THREADS, width};
use crate::ops::traffic;
use crate::tensor::Tensor;

const PART: Kernel = kernel!("batch_norm", "batch_norm_part", [Out, In, U32, U32, U32]);
const MOMENTS: Kernel =
    kernel!("batch_norm", "batch_norm_moments", [Out, Out, Out, Out, In, U32, U32, U32]);
const FWD: Kernel =
    kernel!("batch_norm", "batch_norm_fwd", [Out, In, In, In, In, In, U32, U32, U32, F32, U32]);
const BWD_PART: Kernel =
    kernel!("batch_norm", "batch_norm_bwd_part", [Out, In, In, In, In, In, U32, U32, U32, F32]);
const BWD_SUM: Kernel =
    kernel!("batch_norm", "batch_norm_bwd_sum", [Out, Out, Out, In, U32, U32, U32, U32]);
const BWD: Kernel =
    kernel!("batch_norm", "batch_norm_bwd", [Out, In, In, In, In, In, In, U32, U32, U32, F32, F32]);

/// batch_norm.cu: CHANNEL_PART
const CHANNEL_PART: usize = 4096;

/// Two numbers for each part of each channel.
struct Parts {
    count: usize,
    pairs: Tensor, // (C, parts, 2)
}

impl Parts {
    fn new(d: Dims, x: &Tensor) -> Result<Self> {
        let count = (d.b * d.s).div_ceil(CHANNEL_PART);
        let pairs = Tensor::uninit(x.device(), DType::F32, [d.c, count, 2], Purpose::Workspace)?;
        Ok(Self { count, pairs })
    }

    fn grid(&self, d: Dims) -> [usize; 3] {
        [self.count, d.c, 1]
    }
}

pub fn measure(
    cost: Cost,
    d: Dims,
    x: &Tensor,
    used: &Statistics,
    seen: &Statistics,
) -> Result<()> {
    let (device, parts) = (x.device(), Parts::new(d, x)?);
    let pairs = &parts.pairs;
    let args = [pairs.into(), x.into(), d.b.into(), d.c.into(), d.s.into()];
    let on = On { device, kernel: &PART, cost: cost.and_bytes(pairs.bytes()) };
    on.blocks(parts.grid(d), THREADS, &args)?;
    let args = [
        (&used.mean).into(),
        (&used.var).into(),
        (&seen.mean).into(),
        (&seen.var).into(),
        pairs.into(),
        parts.count.into(),
        d.c.into(),
        (d.b * d.s).into(),
    ];
    On { device, kernel: &MOMENTS, cost: traffic(pairs.bytes()) }.pieces(d.c, 1, &args)
}

pub fn forward(
    cost: Cost,
    d: Dims,
    x: &Tensor,
    used: &Statistics,
    [gain, bias]: [&Tensor; 2],
    relu: bool,
    y: &Tensor,
) -> Result<()> {
    let on = On { device: y.device(), kernel: &FWD, cost };
    let args = [
        y.into(),
        x.into(),
        (&used.mean).into(),
        (&used.var).into(),
        gain.into(),
        bias.into(),
        y.elems().into(),
        d.c.into(),
        d.s.into(),
        EPS.into(),
        (relu as usize).into(),
    ];
    on.pieces(y.elems(), width(y.dtype()), &args)
}

/// dy becomes dx; `affine`: dgain and dbias, where wanted.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    cost: Cost,
    d: Dims,
    dy: &Tensor,
    x: &Tensor,
    y: Option<&Tensor>,
    used: &Statistics,
    gain: &Tensor,
    training: bool,
    affine: [Option<&(Tensor, Mode)>; 2],
) -> Result<()> {
    let device = dy.device();
    let sums = match training || affine.iter().any(Option::is_some) {
        true => Some(sum(d, dy, x, y, used, affine)?),
        false => None,
    };
    let on = On { device, kernel: &BWD, cost };
    let args = [
        dy.into(),
        x.into(),
        y.into(),
        (&used.mean).into(),
        (&used.var).into(),
        gain.into(),
        sums.as_ref().filter(|_| training).into(),
        dy.elems().into(),
        d.c.into(),
        d.s.into(),
        EPS.into(),
        (1.0 / (d.b * d.s) as f32).into(),
    ];
    on.pieces(dy.elems(), width(dy.dtype()), &args)
}

/// Sums (2, C) of g and of g xhat, and with them dbias and dgain.
fn sum(
    d: Dims,
    dy: &Tensor,
    x: &Tensor,
    y: Option<&Tensor>,
    used: &Statistics,
    [dgain, dbias]: [Option<&(Tensor, Mode)>; 2],
) -> Result<Tensor> {
    let (device, parts) = (dy.device(), Parts::new(d, x)?);
    let pairs = &parts.pairs;
    let args = [
        pairs.into(),
        dy.into(),
        x.into(),
        y.into(),
        (&used.mean).into(),
        (&used.var).into(),
        d.b.into(),
        d.c.into(),
        d.s.into(),
        EPS.into(),
    ];
    let cost = traffic((2 + y.is_some() as usize) * dy.bytes() + pairs.bytes());
    On { device, kernel: &BWD_PART, cost }.blocks(parts.grid(d), THREADS, &args)?;
    let sums = Tensor::uninit(device, DType::F32, [2, d.c], Purpose::Workspace)?;
    let mode = |slot: Option<&(Tensor, Mode)>| slot.map_or(Mode::Set, |(_, mode)| *mode);
    let args = [
        (&sums).into(),
        dgain.map(|(t, _)| t).into(),
        dbias.map(|(t, _)| t).into(),
        pairs.into(),
        parts.count.into(),
        d.c.into(),
        mode(dgain).into(),
        mode(dbias).into(),
    ];
    On { device, kernel: &BWD_SUM, cost: traffic(pairs.bytes()) }.pieces(d.c, 1, &args)?;
    Ok(sums)
}
