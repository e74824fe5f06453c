use crate::Result;
use crate::backend::{Cost, Kernel, MAX_BLOCKS_Y, by_dtype, kernel_pair};
use crate::ops::draw::NORMALS;
use crate::ops::launch::{On, THREADS};
use crate::ops::layout::Layout;
use crate::tensor::Tensor;

const ADD: [Kernel; 2] = kernel_pair!("state_noise", "state_noise_add", [Out, In, In, In, U32]);

pub fn add(cost: Cost, z: &Tensor, draws: &Tensor, sigma: &Tensor, layout: &Layout) -> Result<()> {
    let on = On { device: z.device(), kernel: by_dtype(z.dtype(), &ADD)?, cost };
    let (positions, c) = (layout.positions(), z.shape().last());
    // A slot along x, its blocks of numbers along y.
    let blocks = (positions.largest() * c).div_ceil(NORMALS * THREADS).min(MAX_BLOCKS_Y);
    let args = [z.into(), draws.into(), sigma.into(), (&positions.device).into(), c.into()];
    on.blocks([positions.slots(), blocks, 1], THREADS, &args)
}
