use crate::Result;
use crate::backend::{Cost, Kernel, Purpose, kernel};
use crate::dtype::DType;
use crate::ops::launch::{On, THREADS};
use crate::ops::traffic;
use crate::tensor::Tensor;

const PART: Kernel = kernel!("global_norm", "global_norm_part", [Out, In, U32]);
const GUARD: Kernel = kernel!("global_norm", "global_norm_guard", [Out, In, In, U32, U32, F32]);

const GUARD_THREADS: usize = 1024;
/// Four pieces for each thread: many small blocks end together.
const ELEMS_PER_PART: usize = 4096;
const F64_BYTES: usize = 8;

pub fn guard(cost: Cost, g: &Tensor, losses: &Tensor, max_norm: f32, guard: &Tensor) -> Result<()> {
    let (n, device) = (g.elems(), g.device());
    let count = n.div_ceil(ELEMS_PER_PART);
    let parts = Tensor::uninit(device, DType::U8, [count * F64_BYTES], Purpose::Workspace)?;
    let on = On { device, kernel: &PART, cost: cost.and_bytes(parts.bytes()) };
    on.blocks([count, 1, 1], THREADS, &[(&parts).into(), g.into(), n.into()])?;
    let on = On { device, kernel: &GUARD, cost: traffic(parts.bytes()) };
    let args = [
        guard.into(),
        (&parts).into(),
        losses.into(),
        count.into(),
        losses.elems().into(),
        max_norm.into(),
    ];
    on.blocks([1; 3], GUARD_THREADS, &args)
}
