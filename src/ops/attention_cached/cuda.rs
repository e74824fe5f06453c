use super::{Cache, Dims};
use crate::Result;
use crate::backend::{Cost, Kernel, Launch, by_dtype, kernel_pair};
use crate::ops::attention::Rope;
use crate::ops::refuse;
use crate::tensor::Tensor;

const FWD: [Kernel; 2] = kernel_pair!(
    "attention_cached",
    "attention_cached_fwd",
    [Out, Out, Out, In, In, In, In, In, U32, U32, U32, F32]
);
const THREADS: usize = 128;
/// Shared memory that a block may have on every supported card.
const SHARED_BYTES: usize = 99 * 1024;

pub fn forward(
    cost: Cost,
    d: Dims,
    qkv: &Tensor,
    cache: &Cache,
    rope: Option<&Rope>,
    places: &Tensor,
    y: &Tensor,
) -> Result<()> {
    // The query, the scores, sums of v by groups of keys.
    let shared_bytes = 4 * (d.hd + d.cap + d.hd.max(THREADS));
    if shared_bytes > SHARED_BYTES {
        let what = format!(
            "a cache of {} positions needs {shared_bytes} bytes of shared memory, a block has \
             {SHARED_BYTES}",
            d.cap
        );
        return Err(refuse("attention_cached", what));
    }
    y.device().launch(&Launch {
        kernel: by_dtype(y.dtype(), &FWD)?,
        grid: [d.r, d.nh, 1],
        block: [THREADS, 1, 1],
        shared_bytes,
        args: &[
            y.into(),
            (&cache.k).into(),
            (&cache.v).into(),
            qkv.into(),
            rope.map(|rope| &rope.cos).into(),
            rope.map(|rope| &rope.sin).into(),
            places.into(),
            (&cache.lengths).into(),
            d.hd.into(),
            d.cap.into(),
            rope.map_or(0, Rope::places).into(),
            (1.0 / (d.hd as f32).sqrt()).into(),
        ],
        cost,
    })
}
