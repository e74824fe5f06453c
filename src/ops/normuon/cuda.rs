use super::Matrix;
use crate::Result;
use crate::backend::{Cost, Kernel, Purpose, by_dtype, kernel, kernel_pair};
use crate::dtype::DType;
use crate::ops::launch::{On, THREADS, width};
use crate::ops::traffic;
use crate::tensor::Tensor;

/// u m parts g guard beta n
const MOMENTUM: [Kernel; 2] =
    kernel_pair!("normuon", "normuon_momentum", [Out, Out, Out, In, In, F32, U32]);
/// norm parts count
const NORM: Kernel = kernel!("normuon", "normuon_norm", [Out, In, U32]);
/// x norm n
const SCALE: [Kernel; 2] = kernel_pair!("normuon", "normuon_scale", [Out, In, U32]);
/// squared a c0 c1 c2 n
const COMBINE: [Kernel; 2] =
    kernel_pair!("normuon", "normuon_combine", [Out, In, F32, F32, F32, U32]);
/// rows v x guard beta2 r k
const ROWS: [Kernel; 2] =
    kernel_pair!("normuon", "normuon_rows", [Out, Out, In, In, F32, U32, U32]);
/// norm rows r
const LENGTH: Kernel = kernel!("normuon", "normuon_length", [Out, In, U32]);
/// p copy x norm rows guard lr factor decay r k
const APPLY: [Kernel; 2] =
    kernel_pair!("normuon", "normuon_apply", [Out, Out, In, In, In, In, In, F32, F32, U32, U32]);

/// Four pieces for each thread: many small blocks end together.
const ELEMS_PER_PART: usize = 4096;
const F64_BYTES: usize = 8;

pub fn momentum(
    cost: Cost,
    g: &Tensor,
    m: &Tensor,
    u: &Tensor,
    norm: &Tensor,
    guard: &Tensor,
    beta: f32,
) -> Result<()> {
    let (n, device) = (g.elems(), g.device());
    let count = n.div_ceil(ELEMS_PER_PART);
    let parts = Tensor::uninit(device, DType::U8, [count * F64_BYTES], Purpose::Workspace)?;
    let cost = cost.and_bytes(parts.bytes());
    let on = On { device, kernel: by_dtype(u.dtype(), &MOMENTUM)?, cost };
    let args = [u.into(), m.into(), (&parts).into(), g.into(), guard.into(), beta.into(), n.into()];
    on.blocks([count, 1, 1], THREADS, &args)?;
    let on = On { device, kernel: &NORM, cost: traffic(parts.bytes()) };
    on.one_block(&[norm.into(), (&parts).into(), count.into()])
}

pub fn scale(cost: Cost, x: &Tensor, norm: &Tensor) -> Result<()> {
    let on = On { device: x.device(), kernel: by_dtype(x.dtype(), &SCALE)?, cost };
    on.pieces(x.elems(), width(x.dtype()), &[x.into(), norm.into(), x.elems().into()])
}

pub fn combine(cost: Cost, squared: &Tensor, a: &Tensor, c: [f32; 3]) -> Result<()> {
    let on = On { device: a.device(), kernel: by_dtype(a.dtype(), &COMBINE)?, cost };
    let [c0, c1, c2] = c.map(Into::into);
    let args = [squared.into(), a.into(), c0, c1, c2, a.shape().last().into()];
    on.pieces(a.elems(), 1, &args)
}

pub fn weigh_rows(
    cost: Cost,
    x: &Tensor,
    v: &Tensor,
    rows: &Tensor,
    norm: &Tensor,
    guard: &Tensor,
    beta2: f32,
) -> Result<()> {
    let (r, k, device) = (v.elems(), x.elems() / v.elems(), x.device());
    let on = On { device, kernel: by_dtype(x.dtype(), &ROWS)?, cost };
    let args = [rows.into(), v.into(), x.into(), guard.into(), beta2.into(), r.into(), k.into()];
    on.rows(r, &args)?;
    let on = On { device, kernel: &LENGTH, cost: traffic(rows.bytes()) };
    on.one_block(&[norm.into(), rows.into(), r.into()])
}

pub fn apply(
    cost: Cost,
    one: &Matrix,
    x: &Tensor,
    [norm, rows, guard, lr]: [&Tensor; 4],
    [factor, decay]: [f32; 2],
) -> Result<()> {
    let (r, k) = (one.p.shape().rows(), one.p.shape().last());
    let on = On { device: x.device(), kernel: by_dtype(x.dtype(), &APPLY)?, cost };
    let args = [
        (&one.p).into(),
        one.copy.as_ref().into(),
        x.into(),
        norm.into(),
        rows.into(),
        guard.into(),
        lr.into(),
        factor.into(),
        decay.into(),
        r.into(),
        k.into(),
    ];
    on.rows(r, &args)
}
