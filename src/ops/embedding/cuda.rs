use super::Call;
use crate::Result;
use crate::backend::{Cost, Kernel, Mode, Purpose, by_dtype, kernel, kernel_pair};
use crate::dtype::DType;
use crate::ops::launch::{self, On, SUM_WARPS, WARP, width};
use crate::ops::{traffic, written};
use crate::tensor::Tensor;

const FWD: [Kernel; 2] = kernel_pair!(
    "embedding",
    "embedding_fwd",
    [Out, In, In, In, In, In, In, In, U32, U32, U32, U32, U32, U32, F32]
);
const TABLE_PART: [Kernel; 2] =
    kernel_pair!("embedding", "embedding_table_part", [Out, In, In, In, U32, U32, U32, U32, U32]);
const TABLE_SUM: Kernel =
    kernel!("embedding", "embedding_table_sum", [Out, In, U32, U32, U32, F32]);
const PUZZLE: [Kernel; 2] =
    kernel_pair!("embedding", "embedding_puzzle", [Out, In, In, U32, U32, U32, U32, F32]);
const POS: [Kernel; 2] =
    kernel_pair!("embedding", "embedding_pos", [Out, In, In, In, In, U32, U32, U32, F32]);

/// Words of the vocabulary that one block of `table_part` sums.
const WORDS: usize = 16;

pub struct Inputs<'a> {
    pub tokens: &'a Tensor,
    pub table: &'a Tensor,
    pub puzzle: Option<&'a Tensor>,
    pub pos: Option<&'a Tensor>,
}

pub fn forward(cost: Cost, call: &Call, x: Inputs, y: &Tensor) -> Result<()> {
    let &Call { ref layout, c, v, d, places, scale } = call;
    let of_places = x.pos.map_or(0, |_| layout.places.bytes());
    let cost = cost.and_bytes(layout.row_of().bytes() + of_places);
    let on = On { device: y.device(), kernel: by_dtype(y.dtype(), &FWD)?, cost };
    let args = [
        y.into(),
        x.tokens.into(),
        x.table.into(),
        x.puzzle.into(),
        x.pos.into(),
        (&layout.positions().device).into(),
        layout.row_of().into(),
        (&layout.places).into(),
        y.elems().into(),
        layout.prefix().into(),
        c.into(),
        v.into(),
        d.into(),
        places.into(),
        scale.into(),
    ];
    on.pieces(y.elems(), width(y.dtype()), &args)
}

pub fn backward_table(
    cost: Cost,
    call: &Call,
    tokens: &Tensor,
    dy: &Tensor,
    dtable: &Tensor,
    mode: Mode,
) -> Result<()> {
    let &Call { ref layout, c, v, scale, .. } = call;
    let (n, device) = (tokens.elems(), dy.device());
    let count = launch::parts(n);
    let parts = Tensor::uninit(device, DType::F32, [count, v, c], Purpose::Workspace)?;
    let output = written(dtable, mode);
    let cost = cost.and_bytes(parts.bytes()).less_bytes(output);
    On { device, kernel: by_dtype(dy.dtype(), &TABLE_PART)?, cost }.parts(
        n,
        c,
        v.div_ceil(WORDS),
        &[
            (&parts).into(),
            tokens.into(),
            dy.into(),
            (&layout.cells().device).into(),
            n.into(),
            layout.rows().into(),
            layout.prefix().into(),
            c.into(),
            v.into(),
        ],
    )?;
    let cost = traffic(parts.bytes() + output);
    let args =
        [dtable.into(), (&parts).into(), count.into(), (v * c).into(), mode.into(), scale.into()];
    On { device, kernel: &TABLE_SUM, cost }.column_sum(v * c, &args)
}

pub fn backward_puzzle(
    cost: Cost,
    call: &Call,
    dy: &Tensor,
    dpuzzle: &Tensor,
    mode: Mode,
) -> Result<()> {
    let &Call { ref layout, c, d, scale, .. } = call;
    let (n, starts) = (dpuzzle.elems(), &layout.positions().device);
    let on = On { device: dy.device(), kernel: by_dtype(dy.dtype(), &PUZZLE)?, cost };
    let args = [
        dpuzzle.into(),
        dy.into(),
        starts.into(),
        n.into(),
        d.into(),
        c.into(),
        mode.into(),
        scale.into(),
    ];
    on.pieces(n, 1, &args)
}

pub fn backward_pos(cost: Cost, call: &Call, dy: &Tensor, dpos: &Tensor, mode: Mode) -> Result<()> {
    let &Call { ref layout, c, places, scale, .. } = call;
    let cost = cost.and_bytes(layout.places.bytes());
    let on = On { device: dy.device(), kernel: by_dtype(dy.dtype(), &POS)?, cost };
    let args = [
        dpos.into(),
        dy.into(),
        (&layout.positions().device).into(),
        (&layout.lengths).into(),
        (&layout.places).into(),
        layout.rows().into(),
        c.into(),
        mode.into(),
        scale.into(),
    ];
    on.blocks([c.div_ceil(WARP), places, 1], SUM_WARPS * WARP, &args)
}
