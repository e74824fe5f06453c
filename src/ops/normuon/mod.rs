//! NorMuon: the step of a matrix inside a network, orthogonalised, with a second moment per output.
//!
//! Per matrix of R rows (outputs) and K columns, gradient G after the clip:
//!
//! ```text
//!   M = b M + (1-b) G                   U = b M + (1-b) G                      (Nesterov)
//!   X = U / (|U| + 1e-7)                its transpose where R > K
//!   five times  A = X X^T,  X = (3.4445 I - 4.7750 A + 2.0315 A A) X           (Newton-Schulz)
//!   v[r] = b2 v[r] + (1-b2) mean over row r of X^2     Y[r] = X[r] / (sqrt(v[r]) + 1e-10)
//!   W = W (1 - lr wd) - lr sqrt(max(1, R / K)) |X| / (|Y| + 1e-10) Y
//! ```
//!
//! Norms are Frobenius's; nothing corrects the moments' start, since the first is divided out by
//! |U| and the second by |Y|. A parameter may hold `blocks` matrices of one shape, one below the
//! other (queries, keys and values), each of which is stepped as its own.
//!
//! p, g, m (blocks R, K) f32, v (blocks R) f32; `copy`, the same shape in bf16, becomes p rounded.
//! Newton-Schulz runs in what forward computes in: bf16, by the products for tensor cores, where
//! there is a copy, else f32. Sums are f32, and f64 in norms. The guard being down, p, copy, m and
//! v stay as they are. Sources: arXiv 2510.05491; the recipe of mdlARC for the momentum as a mean
//! with Nesterov, the epsilons, and the length that is kept and scaled by sqrt(max(1, R / K)),
//! where the paper has 0.2 sqrt(R K).

mod cpu;
mod cuda;
mod orthogonal;
pub mod reference;

use super::{by_float, dispatch, global_norm, refuse, traffic};
use crate::Result;
use crate::backend::Purpose;
use crate::dtype::DType;
use crate::tensor::Tensor;

/// Added to the norm that an update is divided by before it is orthogonalised.
pub const NORM_EPS: f32 = 1e-7;
/// Added to a row's root of the second moment, and to the norm of the rows that were divided by it.
pub const ROW_EPS: f32 = 1e-10;

/// Number of factors that a step reads from device memory: the learning rate.
pub const FACTORS: usize = 1;

/// What stays the same over a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hyper {
    /// Decay of the mean of gradients (b).
    pub momentum: f64,
    /// Decay of the second moments of rows (b2).
    pub beta2: f64,
}

/// A parameter with what its update goes on from.
#[derive(Clone)]
pub struct Matrix {
    pub p: Tensor,            // (blocks R, K)
    pub copy: Option<Tensor>, // (blocks R, K) bf16
    pub g: Tensor,            // (blocks R, K)
    pub m: Tensor,            // (blocks R, K)
    pub v: Tensor,            // (blocks R)
    pub blocks: usize,
    pub weight_decay: f64,
}

/// One step; `guard` is `global_norm`'s, `lr` (1) f32.
pub fn step(matrix: &Matrix, hyper: Hyper, guard: &Tensor, lr: &Tensor) -> Result<()> {
    let [rows, k] = matrix.p.dims("normuon p (R, K)")?;
    check(matrix, rows, k)?;
    global_norm::check("normuon", guard)?;
    lr.expect_dims("normuon lr (1)", &[FACTORS])?;
    lr.expect_dtype("normuon lr (1)", DType::F32)?;
    let r = rows / matrix.blocks;
    let space = Space::new(matrix, r, k)?;
    for block in 0..matrix.blocks {
        let part = |t: &Tensor| t.view(block * r * k, [r, k]);
        let one = Matrix {
            p: part(&matrix.p)?,
            copy: matrix.copy.as_ref().map(part).transpose()?,
            g: part(&matrix.g)?,
            m: part(&matrix.m)?,
            v: matrix.v.view(block * r, [r])?,
            blocks: 1,
            weight_decay: matrix.weight_decay,
        };
        momentum(&one, hyper.momentum as f32, guard, &space)?;
        let x = orthogonal::of(&space.x, &space.spare, &space.grams)?;
        weigh_rows(&one, x, hyper.beta2 as f32, guard, &space)?;
        apply(&one, x, guard, lr, &space)?;
    }
    Ok(())
}

fn check(matrix: &Matrix, rows: usize, k: usize) -> Result<()> {
    let Matrix { p, copy, g, m, v, blocks, .. } = matrix;
    if *blocks == 0 || !rows.is_multiple_of(*blocks) || p.elems() == 0 {
        return Err(refuse("normuon", format!("p ({rows}, {k}) is not {blocks} matrices")));
    }
    let dims: [&[usize]; 2] = [&[rows, k], &[rows]];
    for (what, t, dims) in [
        ("normuon p (R, K)", p, dims[0]),
        ("normuon g (R, K)", g, dims[0]),
        ("normuon m (R, K)", m, dims[0]),
        ("normuon v (R)", v, dims[1]),
    ] {
        t.expect_dims(what, dims)?;
        t.expect_dtype(what, DType::F32)?;
    }
    if let Some(copy) = copy {
        copy.expect_dims("normuon copy (R, K)", dims[0])?;
        copy.expect_dtype("normuon copy (R, K)", DType::Bf16)?;
    }
    Ok(())
}

/// Memory of one matrix's step.
struct Space {
    x: Tensor,          // (R, K)
    spare: Tensor,      // (R, K)
    grams: [Tensor; 2], // (n, n), n the smaller of R and K
    norm: Tensor,       // (1) f32: 1 / (|U| + eps), later |X| / (|Y| + eps)
    rows: Tensor,       // (2, R) f32: sums of squares of X's rows, and what they are multiplied by
}

impl Space {
    fn new(matrix: &Matrix, r: usize, k: usize) -> Result<Self> {
        let device = matrix.p.device();
        let dtype = if matrix.copy.is_some() { DType::Bf16 } else { DType::F32 };
        let of = |dtype, dims: [usize; 2]| Tensor::uninit(device, dtype, dims, Purpose::Workspace);
        let n = r.min(k);
        Ok(Self {
            x: of(dtype, [r, k])?,
            spare: of(dtype, [r, k])?,
            grams: [of(dtype, [n, n])?, of(dtype, [n, n])?],
            norm: Tensor::uninit(device, DType::F32, [1], Purpose::Workspace)?,
            rows: of(DType::F32, [2, r])?,
        })
    }
}

/// M, and U / (|U| + eps) in `space.x`; zeros where the guard is down.
fn momentum(one: &Matrix, beta: f32, guard: &Tensor, space: &Space) -> Result<()> {
    let Matrix { g, m, .. } = one;
    let Space { x, norm, .. } = space;
    dispatch(
        x.device(),
        traffic(3 * g.bytes() + x.bytes()),
        || {
            by_float!(x.dtype(), "normuon", E => {
                let guard = guard.read::<f32>()?;
                let (x, m) = (&mut x.write::<E>()?[..], &mut m.write()?[..]);
                norm.write()?[0] = cpu::momentum(&g.read()?, m, x, [guard[1], guard[2]], beta);
                Ok(())
            })
        },
        |cost| cuda::momentum(cost, g, m, x, norm, guard, beta),
    )?;
    dispatch(
        x.device(),
        traffic(2 * x.bytes()),
        || {
            by_float!(x.dtype(), "normuon", E => {
                cpu::scale(&mut x.write::<E>()?, norm.read::<f32>()?[0]);
                Ok(())
            })
        },
        |cost| cuda::scale(cost, x, norm),
    )
}

/// v, then `space.rows` and the length in `space.norm`.
fn weigh_rows(one: &Matrix, x: &Tensor, beta2: f32, guard: &Tensor, space: &Space) -> Result<()> {
    let Space { norm, rows, .. } = space;
    dispatch(
        x.device(),
        traffic(x.bytes() + 2 * one.v.bytes() + rows.bytes()),
        || {
            by_float!(x.dtype(), "normuon", E => {
                let is_up = guard.read::<f32>()?[2] != 0.0;
                let (v, rows) = (&mut one.v.write()?[..], &mut rows.write()?[..]);
                norm.write()?[0] = cpu::weigh_rows(&x.read::<E>()?, v, rows, beta2, is_up);
                Ok(())
            })
        },
        |cost| cuda::weigh_rows(cost, x, &one.v, rows, norm, guard, beta2),
    )
}

/// W and its copy.
fn apply(one: &Matrix, x: &Tensor, guard: &Tensor, lr: &Tensor, space: &Space) -> Result<()> {
    let Matrix { p, copy, weight_decay, .. } = one;
    let Space { norm, rows, .. } = space;
    let [r, k] = p.dims("normuon p (R, K)")?;
    let factor = (r as f64 / k as f64).max(1.0).sqrt() as f32;
    let decay = *weight_decay as f32;
    dispatch(
        x.device(),
        traffic(2 * p.bytes() + copy.as_ref().map_or(0, Tensor::bytes) + x.bytes()),
        || {
            by_float!(x.dtype(), "normuon", E => {
                if guard.read::<f32>()?[2] == 0.0 {
                    return Ok(());
                }
                let lr = lr.read::<f32>()?[0];
                let length = lr * factor * norm.read::<f32>()?[0];
                let mut copy = copy.as_ref().map(Tensor::write).transpose()?;
                let (p, copy) = (&mut p.write()?[..], copy.as_deref_mut());
                let scales = &rows.read::<f32>()?[r..];
                cpu::apply(p, copy, &x.read::<E>()?, scales, length, 1.0 - lr * decay);
                Ok(())
            })
        },
        |cost| cuda::apply(cost, one, x, [norm, rows, guard, lr], [factor, decay]),
    )
}
