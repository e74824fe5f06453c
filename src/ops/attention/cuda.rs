//! Launches: tensor cores for bf16 at some head sizes (`tensor.rs`), plain kernels for the rest.
//! Every kernel is there twice: sighted ones are told how positions see each other.
//!
//! A block has a tile of one row, so that a launch takes slots of any sizes. Backward is one launch
//! where a block holds a whole head, else two: dq with delta, then dk with dv. Scores are computed
//! anew for queries and for keys, 7 products where 5 would do: in return no block waits for
//! another, and sums keep a fixed order.

mod plain;
mod tensor;

use super::{Rope, bytes_of};
use crate::Result;
use crate::backend::{Arg, Cost, Kernel, Launch, Mode, Purpose};
use crate::dtype::DType;
use crate::ops::dropout::Site;
use crate::ops::layout::Layout;
use crate::ops::tiles::{Cut, SHORT};
use crate::ops::{refuse, written};
use crate::tensor::Tensor;

/// What a sighted kernel gets behind all else: causal, the draw, its stream, blocks of a query, p
/// and the factor of what is kept.
type SightArgs<'a> = [Arg<'a>; 6];

/// What the launches of a pass share.
struct Call<'a> {
    of: &'a super::Call,
    layout: &'a Layout,
    nh: usize,
    hd: usize,
    pointers: Vec<&'a Tensor>,
    rope: Option<&'a Rope>,
    mode: Option<Mode>,
    /// For a sighted kernel.
    sight: Option<SightArgs<'a>>,
    /// What the pass is charged with for all slots; tensor cores add what they execute.
    cost: Cost,
}

impl<'a> Call<'a> {
    /// For all slots. Kernels take `pointers`, cos, sin, the layout, nh, scale and, where there is
    /// one, the mode; sighted ones what belongs to it in the end.
    fn new<const N: usize>(
        call: &'a super::Call,
        pointers: [&'a Tensor; N],
        rope: Option<&'a Rope>,
        mode: Option<Mode>,
        cost: Cost,
    ) -> Result<Self> {
        let &super::Call { ref layout, nh, hd, .. } = call;
        let (t, row) = (layout.largest(), 3 * nh * hd);
        if t * row > u32::MAX as usize {
            return Err(refuse("attention", format!("{t} positions of {row} elements")));
        }
        let (pointers, sight) = (pointers.into(), sight_args(call));
        Ok(Self { of: call, layout, nh, hd, pointers, rope, mode, sight, cost })
    }

    /// The cost of the slots that `cut` takes.
    fn share(&self, cut: Cut) -> Cost {
        let sizes = || self.layout.positions().sizes();
        let share = |work: &dyn Fn(usize) -> usize| {
            let own: usize = sizes().filter(|size| cut.takes(*size)).map(work).sum();
            own as f64 / sizes().map(work).sum::<usize>().max(1) as f64
        };
        Cost {
            matmul_flops: self.cost.matmul_flops * share(&|t| self.of.of_slot(t)),
            bytes: self.cost.bytes * share(&|t| t),
            ..self.cost
        }
    }

    /// A block for each head of each of the `tiles`; `last` are the arguments behind the mode.
    fn launch(
        self,
        kernel: &'static Kernel,
        tiles: &Tensor,
        threads: usize,
        shared_bytes: usize,
        last: &[usize],
    ) -> Result<()> {
        let Self { layout, nh, hd, .. } = self;
        let scale = 1.0 / (hd as f32).sqrt();
        let tables = [self.rope.map(|r| &r.cos), self.rope.map(|r| &r.sin)];
        let rows = [tiles, &layout.positions().device, &layout.lengths, &layout.places];
        let mut args: Vec<Arg> = self.pointers.iter().map(|&x| x.into()).collect();
        args.extend(tables.map(Arg::from));
        args.extend(rows.map(Arg::from));
        args.extend([Arg::from(nh), scale.into()]);
        args.extend(self.mode.map(Arg::from));
        args.extend(last.iter().map(|&n| Arg::from(n)));
        args.extend(self.sight.into_iter().flatten());
        layout.row_of().device().launch(&Launch {
            kernel,
            grid: [tiles.shape().rows(), nh, 1],
            block: [threads, 1, 1],
            shared_bytes,
            args: &args,
            cost: self.cost,
        })
    }
}

/// Where not all positions see all, or something is dropped.
fn sight_args(call: &super::Call) -> Option<SightArgs<'_>> {
    let site = call.dropout.as_ref().map(|(site, _)| *site);
    let draw = call.dropout.as_ref().map(|(_, draw)| draw);
    (call.causal || site.is_some()).then(|| {
        [
            usize::from(call.causal).into(),
            draw.into(),
            site.map_or(0, Site::stream).into(),
            call.blocks_of_a_query().into(),
            site.map_or(0.0, |site| site.prob).into(),
            site.map_or(1.0, Site::scale).into(),
        ]
    })
}

pub fn forward(
    cost: Cost,
    call: &super::Call,
    qkv: &Tensor,
    rope: Option<&Rope>,
    y: &Tensor,
    lse: &Tensor,
) -> Result<()> {
    let pass = Call::new(call, [y, lse, qkv], rope, None, cost)?;
    match tensor::kernels(call.hd, qkv) {
        Some(kernels) => kernels.fwd.launch(pass),
        None => plain::FWD.launch(pass, qkv.dtype()),
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
    let kernels = tensor::kernels(call.hd, qkv);
    if let Some(kernels) = kernels {
        let all = Call::new(call, [dqkv, qkv, y, dy, lse], rope, Some(mode), cost)?;
        kernels.bwd_short.launch(all)?;
        if call.layout.largest() <= SHORT {
            return Ok(());
        }
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
    let dq = Call::new(call, [dqkv, delta, qkv, y, dy, lse], rope, Some(mode), of_dq)?;
    let dkv = Call::new(call, [dqkv, qkv, dy, lse, delta], rope, Some(mode), of_dkv)?;
    match kernels {
        Some(kernels) => {
            kernels.bwd_dq.launch(dq)?;
            kernels.bwd_dkv.launch(dkv)
        }
        None => {
            plain::BWD_DQ.launch(dq, qkv.dtype())?;
            plain::BWD_DKV.launch(dkv, qkv.dtype())
        }
    }
}
