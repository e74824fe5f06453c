use super::Dims;
use crate::Result;
use crate::backend::{Cost, Kernel, Mode, by_dtype, kernel_pair};
use crate::ops::launch::{On, THREADS};
use crate::tensor::Tensor;

const FWD: [Kernel; 2] = kernel_pair!("transpose", "transpose_fwd", [Out, In, U32, U32, U32]);

/// Side of the square that a block moves.
const TILE: usize = 32;

pub fn run(cost: Cost, d: Dims, x: &Tensor, y: &Tensor, mode: Mode) -> Result<()> {
    let Dims { b, rows, cols } = d;
    let on = On { device: y.device(), kernel: by_dtype(y.dtype(), &FWD)?, cost };
    let blocks = b * rows.div_ceil(TILE) * cols.div_ceil(TILE);
    let args = [y.into(), x.into(), rows.into(), cols.into(), mode.into()];
    on.blocks([blocks, 1, 1], THREADS, &args)
}
