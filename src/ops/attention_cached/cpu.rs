use super::{Cache, Dims};
use crate::Result;
use crate::backend::cpu::attention;
use crate::dtype::Float;
use crate::ops::attention::Rope;
use crate::ops::refuse;

pub fn forward<E: Float>(
    d: Dims,
    qkv: &[E],
    cache: &Cache,
    rope: Option<&Rope>,
    places: &[i32],
    y: &mut [E],
) -> Result<()> {
    let lengths = &cache.lengths.read::<i32>()?[..];
    for (r, (&length, &place)) in lengths.iter().zip(places).enumerate() {
        let unknown = |rope: &Rope| !(0..rope.places() as i32).contains(&place);
        let what = if length < 0 {
            continue;
        } else if length as usize >= d.cap {
            format!("sequence {r} has {length} positions, its cache room for {}", d.cap)
        } else if let Some(rope) = rope.filter(|rope| unknown(rope)) {
            format!("sequence {r} is at place {place}, which is not below {}", rope.places())
        } else {
            continue;
        };
        return Err(refuse("attention_cached", what));
    }
    let dims = attention::CachedDims { lengths, cap: d.cap, heads: d.nh, head_dim: d.hd };
    let (k, v) = (&mut cache.k.write()?[..], &mut cache.v.write()?[..]);
    let cache = attention::Cache { k, v };
    let Some(Rope { cos, sin }) = rope else {
        attention::cached(dims, qkv, None, cache, y);
        return Ok(());
    };
    let (cos, sin) = (&cos.read()?[..], &sin.read()?[..]);
    attention::cached(dims, qkv, Some(attention::Rope { cos, sin, places }), cache, y);
    Ok(())
}
