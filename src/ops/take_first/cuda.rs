use crate::Result;
use crate::backend::{Cost, Kernel, Mode, by_dtype, kernel_pair};
use crate::ops::launch::{On, width};
use crate::ops::layout::Layout;
use crate::tensor::Tensor;

const FWD: [Kernel; 2] = kernel_pair!("take_first", "take_first_fwd", [Out, In, U32, U32, U32]);
const BWD: [Kernel; 2] =
    kernel_pair!("take_first", "take_first_bwd", [Out, In, U32, U32, U32, U32]);

pub fn forward(cost: Cost, x: &Tensor, layout: &Layout, y: &Tensor) -> Result<()> {
    let (t, c) = (layout.prefix() + layout.uniform_cells()?, x.shape().last());
    let on = On { device: y.device(), kernel: by_dtype(y.dtype(), &FWD)?, cost };
    let n = y.elems();
    on.pieces(n, width(y.dtype()), &[y.into(), x.into(), n.into(), c.into(), (t * c).into()])
}

pub fn backward(cost: Cost, dy: &Tensor, layout: &Layout, dx: &Tensor, mode: Mode) -> Result<()> {
    let (t, c) = (layout.prefix() + layout.uniform_cells()?, dx.shape().last());
    let n = if mode == Mode::Set { dx.elems() } else { dy.elems() };
    let on = On { device: dx.device(), kernel: by_dtype(dx.dtype(), &BWD)?, cost };
    let args = [dx.into(), dy.into(), n.into(), c.into(), (t * c).into(), mode.into()];
    on.pieces(n, width(dx.dtype()), &args)
}
