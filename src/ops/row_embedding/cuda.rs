use super::Call;
use crate::Result;
use crate::backend::{Cost, Kernel, Mode, Purpose, by_dtype, kernel, kernel_pair};
use crate::dtype::DType;
use crate::ops::launch::{On, THREADS, width};
use crate::ops::traffic;
use crate::tensor::Tensor;

const FWD: [Kernel; 2] =
    kernel_pair!("row_embedding", "row_embedding_fwd", [Out, In, In, In, In, U32, U32, U32, U32]);
const ROWS: [Kernel; 2] =
    kernel_pair!("row_embedding", "row_embedding_rows", [Out, In, In, In, U32]);
const TABLE: Kernel =
    kernel!("row_embedding", "row_embedding_table", [Out, In, In, U32, U32, U32, U32, U32]);

pub fn forward(cost: Cost, call: &Call, x: &Tensor, table: &Tensor, y: &Tensor) -> Result<()> {
    let on = On { device: y.device(), kernel: by_dtype(y.dtype(), &FWD)?, cost };
    let row_of = call.layout.row_of();
    let args = [
        y.into(),
        x.into(),
        table.into(),
        (&call.ids).into(),
        row_of.into(),
        y.elems().into(),
        call.c.into(),
        call.stride.into(),
        call.rows.into(),
    ];
    on.pieces(y.elems(), width(y.dtype()), &args)
}

/// First the sum over each row, then those of rows that took the same of the table.
pub fn backward_table(
    cost: Cost,
    call: &Call,
    dy: &Tensor,
    dtable: &Tensor,
    mode: Mode,
) -> Result<()> {
    let &Call { ref layout, ref ids, stride, rows, c } = call;
    let (device, batch) = (dy.device(), layout.rows());
    let sums = &Tensor::uninit(device, DType::F32, [batch, c], Purpose::Workspace)?;
    let on = On {
        device,
        kernel: by_dtype(dy.dtype(), &ROWS)?,
        cost: traffic(dy.bytes() + sums.bytes()),
    };
    let starts = &layout.positions().device;
    let args = [sums.into(), dy.into(), starts.into(), (&layout.lengths).into(), c.into()];
    on.blocks([batch, c.div_ceil(THREADS), 1], THREADS, &args)?;
    let bytes = cost.bytes - dy.bytes() as f64 + sums.bytes() as f64;
    let on = On { device, kernel: &TABLE, cost: Cost { bytes, ..cost } };
    let args = [
        dtable.into(),
        sums.into(),
        ids.into(),
        batch.into(),
        c.into(),
        stride.into(),
        rows.into(),
        mode.into(),
    ];
    on.blocks([rows, c.div_ceil(THREADS), 1], THREADS, &args)
}
