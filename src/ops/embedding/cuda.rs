use super::Call;
use crate::Result;
use crate::backend::{Cost, Kernel, Mode, Purpose, by_dtype, kernel, kernel_pair};
use crate::dtype::DType;
use crate::ops::launch::{self, On, width};
use crate::ops::{traffic, written};
use crate::tensor::Tensor;

const FWD: [Kernel; 2] = kernel_pair!(
    "embedding",
    "embedding_fwd",
    [Out, In, In, In, In, U32, U32, U32, U32, U32, U32, F32]
);
const TABLE_PART: [Kernel; 2] =
    kernel_pair!("embedding", "embedding_table_part", [Out, In, In, U32, U32, U32, U32, U32]);
const TABLE_SUM: Kernel =
    kernel!("embedding", "embedding_table_sum", [Out, In, U32, U32, U32, F32]);
const PUZZLE: [Kernel; 2] =
    kernel_pair!("embedding", "embedding_puzzle", [Out, In, U32, U32, U32, U32, F32]);
const POS: [Kernel; 2] = kernel_pair!("embedding", "embedding_pos", [Out, In, U32, U32, U32, F32]);

/// Words of the vocabulary that one block of `table_part` sums.
const WORDS: usize = 16;

pub struct Inputs<'a> {
    pub tokens: &'a Tensor,
    pub table: &'a Tensor,
    pub puzzle: Option<&'a Tensor>,
    pub pos: Option<&'a Tensor>,
}

pub fn forward(cost: Cost, call: &Call, x: Inputs, y: &Tensor) -> Result<()> {
    let on = On { device: y.device(), kernel: by_dtype(y.dtype(), &FWD)?, cost };
    let (&Call { ref layout, c, v, d, scale, .. }, n) = (call, y.elems());
    let (s, p) = (layout.uniform_cells()?, layout.prefix());
    let args = [
        y.into(),
        x.tokens.into(),
        x.table.into(),
        x.puzzle.into(),
        x.pos.into(),
        n.into(),
        s.into(),
        p.into(),
        c.into(),
        v.into(),
        d.into(),
        scale.into(),
    ];
    on.pieces(n, width(y.dtype()), &args)
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
    let (s, p) = (layout.uniform_cells()?, layout.prefix());
    let (rows, device) = (tokens.elems(), dy.device());
    let parts =
        Tensor::uninit(device, DType::F32, [launch::parts(rows), v, c], Purpose::Workspace)?;
    let output = written(dtable, mode);
    let cost = cost.and_bytes(parts.bytes()).less_bytes(output);
    On { device, kernel: by_dtype(dy.dtype(), &TABLE_PART)?, cost }.parts(
        rows,
        c,
        v.div_ceil(WORDS),
        &[
            (&parts).into(),
            tokens.into(),
            dy.into(),
            rows.into(),
            s.into(),
            p.into(),
            c.into(),
            v.into(),
        ],
    )?;
    let count = launch::parts(rows);
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
    let (s, p) = (layout.uniform_cells()?, layout.prefix());
    let n = dpuzzle.elems();
    let on = On { device: dy.device(), kernel: by_dtype(dy.dtype(), &PUZZLE)?, cost };
    let stride = (p + s) * c;
    let args =
        [dpuzzle.into(), dy.into(), n.into(), d.into(), stride.into(), mode.into(), scale.into()];
    on.pieces(n, 1, &args)
}

pub fn backward_pos(cost: Cost, call: &Call, dy: &Tensor, dpos: &Tensor, mode: Mode) -> Result<()> {
    let on = On { device: dy.device(), kernel: by_dtype(dy.dtype(), &POS)?, cost };
    let (width, b, scale) = (dpos.elems(), call.layout.rows(), call.scale);
    let args = [dpos.into(), dy.into(), b.into(), width.into(), mode.into(), scale.into()];
    on.column_sum(width, &args)
}
