use crate::Result;
use crate::backend::{Cost, Kernel, Mode, by_dtype, kernel_pair};
use crate::ops::launch::{On, width};
use crate::ops::layout::Layout;
use crate::tensor::Tensor;

const FWD: [Kernel; 2] = kernel_pair!("take_first", "take_first_fwd", [Out, In, In, U32, U32]);
const BWD: [Kernel; 2] =
    kernel_pair!("take_first", "take_first_bwd", [Out, In, In, In, U32, U32, U32]);

pub fn forward(cost: Cost, x: &Tensor, layout: &Layout, y: &Tensor) -> Result<()> {
    let on = On { device: y.device(), kernel: by_dtype(y.dtype(), &FWD)?, cost };
    let (n, c, starts) = (y.elems(), x.shape().last(), &layout.positions().device);
    let args = [y.into(), x.into(), starts.into(), n.into(), c.into()];
    on.pieces(n, width(y.dtype()), &args)
}

pub fn backward(cost: Cost, dy: &Tensor, layout: &Layout, dx: &Tensor, mode: Mode) -> Result<()> {
    let (c, starts) = (dx.shape().last(), &layout.positions().device);
    let n = if mode == Mode::Set { dx.elems() } else { dy.elems() };
    let cost = cost.and_bytes(if mode == Mode::Set { layout.row_of().bytes() } else { 0 });
    let on = On { device: dx.device(), kernel: by_dtype(dx.dtype(), &BWD)?, cost };
    let args = [
        dx.into(),
        dy.into(),
        starts.into(),
        layout.row_of().into(),
        n.into(),
        c.into(),
        mode.into(),
    ];
    on.pieces(n, width(dx.dtype()), &args)
}
