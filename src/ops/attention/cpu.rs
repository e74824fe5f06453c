use super::Dims;
use crate::backend::Mode;
use crate::backend::cpu::attention::{self, Rope};
use crate::dtype::Float;

/// cos, sin (T, HD)
type Tables<'a> = Option<(&'a [f32], &'a [f32])>;

pub fn forward<E: Float>(d: Dims, qkv: &[E], tables: Tables, y: &mut [E], lse: &mut [f32]) {
    attention::forward(dims(d), qkv, rope(tables), y, lse);
}

/// `saved`: qkv, y, lse.
pub fn backward<E: Float>(
    d: Dims,
    saved: (&[E], &[E], &[f32]),
    tables: Tables,
    dy: &[E],
    dqkv: &mut [E],
    mode: Mode,
) {
    let (qkv, y, lse) = saved;
    attention::backward(dims(d), qkv, rope(tables), y, lse, dy, mode, dqkv);
}

fn dims(d: Dims) -> attention::Dims {
    attention::Dims { batch: d.b, t: d.t, heads: d.nh, head_dim: d.hd }
}

fn rope(tables: Tables<'_>) -> Option<Rope<'_>> {
    tables.map(|(cos, sin)| Rope { cos, sin })
}
