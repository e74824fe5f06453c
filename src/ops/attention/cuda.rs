//! Launches: tensor cores for bf16 at some head sizes (`tensor.rs`), plain kernels for the rest.
//!
//! Backward is one launch where a block holds a whole head, else two: dq with delta, then dk with
//! dv. Scores are computed anew for queries and for keys, 7 products where 5 would do: in return no
//! block waits for another, and sums keep a fixed order.

mod plain;
mod tensor;

use super::{Rope, bytes_of};
use crate::Result;
use crate::backend::{Arg, Cost, Mode, Purpose};
use crate::dtype::DType;
use crate::ops::{refuse, written};
use crate::tensor::Tensor;

/// Sizes of one call; the letters of the contract.
#[derive(Clone, Copy)]
struct Dims {
    b: usize,
    t: usize,
    nh: usize,
    hd: usize,
}

impl Dims {
    fn of(call: &super::Call) -> Result<Self> {
        let &super::Call { ref layout, nh, hd } = call;
        let t = layout.uniform().ok_or_else(|| refuse("attention", "rows of one length".into()))?;
        Ok(Self { b: layout.rows(), t, nh, hd })
    }

    fn scale(self) -> f32 {
        1.0 / (self.hd as f32).sqrt()
    }
}

/// What the launches of a pass share.
struct Call<'a> {
    d: Dims,
    x: &'a Tensor,
    args: Vec<Arg<'a>>,
    /// What the pass is charged with; tensor cores add what they execute.
    cost: Cost,
}

impl<'a> Call<'a> {
    /// Kernels take `pointers`, cos, sin, t, nh, scale and, where there is one, the mode.
    fn new<const N: usize>(
        d: Dims,
        pointers: [&'a Tensor; N],
        rope: Option<&'a Rope>,
        mode: Option<Mode>,
        cost: Cost,
    ) -> Result<Self> {
        let row = 3 * d.nh * d.hd;
        if d.t * row > u32::MAX as usize {
            return Err(refuse("attention", format!("{} tokens of {row} elements", d.t)));
        }
        let tables = [rope.map(|r| &r.cos), rope.map(|r| &r.sin)];
        let mut args: Vec<Arg> = pointers.map(Arg::from).into();
        args.extend(tables.map(Arg::from));
        args.extend([Arg::from(d.t), d.nh.into(), d.scale().into()]);
        args.extend(mode.map(Arg::from));
        Ok(Self { d, x: pointers[0], args, cost })
    }
}

pub fn forward(
    cost: Cost,
    call: &super::Call,
    qkv: &Tensor,
    rope: Option<&Rope>,
    y: &Tensor,
    lse: &Tensor,
) -> Result<()> {
    let d = Dims::of(call)?;
    let call = Call::new(d, [y, lse, qkv], rope, None, cost)?;
    match tensor::kernels(d, qkv) {
        Some(kernels) => kernels.fwd.launch(call),
        None => plain::FWD.launch(call),
    }
}

/// `saved`: qkv, y, lse.
pub fn backward(
    cost: Cost,
    call: &super::Call,
    saved: [&Tensor; 3],
    rope: Option<&Rope>,
    dy: &Tensor,
    dqkv: &Tensor,
    mode: Mode,
) -> Result<()> {
    let [qkv, y, lse] = saved;
    let d = Dims::of(call)?;
    let kernels = tensor::kernels(d, qkv);
    if let Some(kernels) = kernels
        && d.t <= tensor::SHORT_T
    {
        let call = Call::new(d, [dqkv, qkv, y, dy, lse], rope, Some(mode), cost)?;
        return kernels.bwd_short.launch(call);
    }
    let delta = &Tensor::uninit(qkv.device(), DType::F32, *lse.shape(), Purpose::Workspace)?;
    // The second launch makes dk and dv and reads all but y again.
    let of_dkv = written(dqkv, mode) / 3 * 2;
    let again = qkv.bytes() + dy.bytes() + lse.bytes() + bytes_of(rope) + delta.bytes();
    let of_dq = Cost {
        matmul_flops: cost.matmul_flops / 5.0,
        bytes: cost.bytes - of_dkv as f64 + delta.bytes() as f64,
        ..cost
    };
    let of_dkv = Cost {
        matmul_flops: cost.matmul_flops - of_dq.matmul_flops,
        bytes: (again + of_dkv) as f64,
        ..cost
    };
    let dq = Call::new(d, [dqkv, delta, qkv, y, dy, lse], rope, Some(mode), of_dq)?;
    let dkv = Call::new(d, [dqkv, qkv, dy, lse, delta], rope, Some(mode), of_dkv)?;
    match kernels {
        Some(kernels) => {
            kernels.bwd_dq.launch(dq)?;
            kernels.bwd_dkv.launch(dkv)
        }
        None => {
            plain::BWD_DQ.launch(dq)?;
            plain::BWD_DKV.launch(dkv)
        }
    }
}
