use crate::Result;
use crate::backend::{Cost, Kernel, Mode, Purpose, kernel};
use crate::dtype::DType;
use crate::ops::launch::{self, On, width};
use crate::ops::traffic;
use crate::tensor::Tensor;

const PART: Kernel = kernel!("mse", "mse_part", [Out, In, In, U32]);
const MEAN: Kernel = kernel!("mse", "mse_mean", [Out, In, U32, U32]);
const BWD: Kernel = kernel!("mse", "mse_bwd", [Out, In, In, In, U32, F32, U32]);

pub fn forward(cost: Cost, a: &Tensor, b: &Tensor, y: &Tensor) -> Result<()> {
    let (device, n) = (y.device(), a.elems());
    let count = launch::mean_parts(n);
    let parts = Tensor::uninit(device, DType::F32, [count], Purpose::Workspace)?;
    let on = On { device, kernel: &PART, cost: cost.and_bytes(parts.bytes()) };
    on.mean_parts(n, &[(&parts).into(), a.into(), b.into(), n.into()])?;
    let on = On { device, kernel: &MEAN, cost: traffic(parts.bytes()) };
    on.one_block(&[y.into(), (&parts).into(), count.into(), n.into()])
}

pub fn backward(
    cost: Cost,
    a: &Tensor,
    b: &Tensor,
    dy: &Tensor,
    scale: f32,
    da: &Tensor,
    mode: Mode,
) -> Result<()> {
    let on = On { device: da.device(), kernel: &BWD, cost };
    let n = a.elems();
    let args = [da.into(), a.into(), b.into(), dy.into(), n.into(), scale.into(), mode.into()];
    on.pieces(n, width(da.dtype()), &args)
}
