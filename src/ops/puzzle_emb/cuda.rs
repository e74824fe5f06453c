use crate::Result;
use crate::backend::{Cost, Kernel, kernel};
use crate::ops::launch::{On, width};
use crate::tensor::Tensor;

const GATHER: Kernel = kernel!("puzzle_emb", "puzzle_emb_gather", [Out, In, In, U32, U32, U32]);

pub fn gather(
    cost: Cost,
    table: &Tensor,
    ids: &Tensor,
    np: usize,
    d: usize,
    rows: &Tensor,
) -> Result<()> {
    let on = On { device: rows.device(), kernel: &GATHER, cost };
    let n = rows.elems();
    let args = [rows.into(), table.into(), ids.into(), n.into(), d.into(), np.into()];
    on.pieces(n, width(rows.dtype()), &args)
}
