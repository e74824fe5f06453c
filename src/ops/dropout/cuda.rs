use super::Site;
use crate::Result;
use crate::backend::{Cost, Kernel, by_dtype, kernel_pair};
use crate::ops::launch::{On, width};
use crate::tensor::Tensor;

const FWD: [Kernel; 2] = kernel_pair!("dropout", "dropout_fwd", [Out, In, In, U32, U32, F32, F32]);

/// y from x, and dx from dy; they may be the same.
pub fn apply(cost: Cost, y: &Tensor, x: &Tensor, site: Site, draw: &Tensor) -> Result<()> {
    let on = On { device: y.device(), kernel: by_dtype(y.dtype(), &FWD)?, cost };
    let n = y.elems();
    let args = [
        y.into(),
        x.into(),
        draw.into(),
        n.into(),
        site.stream().into(),
        site.prob.into(),
        site.scale().into(),
    ];
    on.pieces(n, width(y.dtype()), &args)
}
