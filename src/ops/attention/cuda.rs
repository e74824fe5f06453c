//! Launches: tensor cores for bf16 at some head sizes (`tensor.rs`), plain kernels for the rest.
//!
//! Backward is one launch where a block holds a whole head, else two: dq with delta, then dk with dv.
//! Scores are computed anew for queries and for keys, 7 products where 5 would do: in return no block
//! waits for another, and sums keep a fixed order.

mod plain;
mod tensor;

use super::{Dims, Rope};
use crate::Result;
use crate::backend::{Arg, Mode, Purpose};
use crate::dtype::DType;
use crate::ops::refuse;
use crate::tensor::Tensor;

/// What the launches of a pass share.
struct Call<'a> {
    d: Dims,
    x: &'a Tensor,
    args: Vec<Arg<'a>>,
    /// Products of the formula that the pass is charged with.
    products: f64,
    /// Memory that is read and written, each once.
    bytes: f64,
}

impl<'a> Call<'a> {
    /// Kernels take `pointers`, cos, sin, t, nh, scale and, where there is one, the mode.
    fn new<const N: usize>(
        d: Dims,
        pointers: [&'a Tensor; N],
        rope: Option<&'a Rope>,
        mode: Option<Mode>,
        products: f64,
        bytes: usize,
    ) -> Result<Self> {
        let row = 3 * d.nh * d.hd;
        if d.t * row > u32::MAX as usize {
            return Err(refuse("attention", format!("{} tokens of {row} elements", d.t)));
        }
        let tables = [rope.map(|r| &r.cos), rope.map(|r| &r.sin)];
        let table_bytes = tables.iter().flatten().map(|t| t.bytes()).sum::<usize>();
        let mut args: Vec<Arg> = pointers.map(Arg::from).into();
        args.extend(tables.map(Arg::from));
        args.extend([Arg::from(d.t), d.nh.into(), d.scale().into()]);
        args.extend(mode.map(Arg::from));
        Ok(Self { d, x: pointers[0], args, products, bytes: (bytes + table_bytes) as f64 })
    }
}

pub fn forward(d: Dims, qkv: &Tensor, rope: Option<&Rope>, y: &Tensor, lse: &Tensor) -> Result<()> {
    let bytes = qkv.bytes() + y.bytes() + lse.bytes();
    let call = Call::new(d, [y, lse, qkv], rope, None, 2.0, bytes)?;
    match tensor::kernels(d, qkv) {
        Some(kernels) => kernels.fwd.launch(call),
        None => plain::FWD.launch(call),
    }
}

/// `saved`: qkv, y, lse.
pub fn backward(
    d: Dims,
    saved: [&Tensor; 3],
    rope: Option<&Rope>,
    dy: &Tensor,
    dqkv: &Tensor,
    mode: Mode,
) -> Result<()> {
    let [qkv, y, lse] = saved;
    let kernels = tensor::kernels(d, qkv);
    // A third of dqkv, read too where it is added to.
    let part_bytes = if mode == Mode::Add { 2 * y.bytes() } else { y.bytes() };
    let read_bytes = qkv.bytes() + dy.bytes() + lse.bytes();
    if let Some(kernels) = kernels
        && d.t <= tensor::SHORT_T
    {
        let bytes = read_bytes + y.bytes() + 3 * part_bytes;
        let call = Call::new(d, [dqkv, qkv, y, dy, lse], rope, Some(mode), 5.0, bytes)?;
        return kernels.bwd_short.launch(call);
    }
    let delta = &Tensor::uninit(qkv.device(), DType::F32, *lse.shape(), Purpose::Workspace)?;
    let bytes = read_bytes + y.bytes() + delta.bytes() + part_bytes;
    let dq = Call::new(d, [dqkv, delta, qkv, y, dy, lse], rope, Some(mode), 1.0, bytes)?;
    let bytes = read_bytes + delta.bytes() + 2 * part_bytes;
    let dkv = Call::new(d, [dqkv, qkv, dy, lse, delta], rope, Some(mode), 4.0, bytes)?;
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
