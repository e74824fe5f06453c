use crate::Result;
use crate::backend::{Cost, Kernel, by_dtype, kernel_pair};
use crate::ops::launch::{On, width};
use crate::tensor::Tensor;

const FWD: [Kernel; 2] = kernel_pair!("cast", "cast_fwd", [Out, In, U32]);

pub fn from_f32(cost: Cost, x: &Tensor, y: &Tensor) -> Result<()> {
    let on = On { device: y.device(), kernel: by_dtype(y.dtype(), &FWD)?, cost };
    on.pieces(x.elems(), width(x.dtype()), &[y.into(), x.into(), x.elems().into()])
}
