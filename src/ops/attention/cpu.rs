use super::{Call, Rope};
use crate::Result;
use crate::backend::Mode;
use crate::backend::cpu::attention::{self, Dims, Sight};
use crate::dtype::Float;
use crate::ops::refuse;

pub fn forward<E: Float>(
    call: &Call,
    qkv: &[E],
    rope: Option<&Rope>,
    y: &mut [E],
    lse: &mut [f32],
) -> Result<()> {
    with_rows(call, rope, |dims, rope| attention::forward(dims, qkv, rope, y, lse))
}

/// `saved`: qkv, y, lse.
pub fn backward<E: Float>(
    call: &Call,
    (qkv, y, lse): (&[E], &[E], &[f32]),
    rope: Option<&Rope>,
    dy: &[E],
    dqkv: &mut [E],
    mode: Mode,
) -> Result<()> {
    with_rows(call, rope, |dims, rope| attention::backward(dims, qkv, rope, y, lse, dy, mode, dqkv))
}

/// Calls `run` with what the device's memory says of the rows, once it was checked.
fn with_rows(
    call: &Call,
    rope: Option<&Rope>,
    run: impl FnOnce(Dims, Option<attention::Rope>),
) -> Result<()> {
    let Call { layout, nh, hd, causal, dropout } = call;
    let lengths = layout.lengths.read::<i32>()?;
    let mut rows = layout.positions().sizes().zip(&*lengths);
    if let Some((room, length)) = rows.find(|(room, length)| !(0..=*room as i32).contains(*length))
    {
        let what = format!("a row of {length} positions in a slot of {room}");
        return Err(refuse("attention", what));
    }
    let starts = &layout.positions().host;
    let mask = dropout.as_ref().map(|(site, draw)| site.mask(draw)).transpose()?;
    let sight = Sight { causal: *causal, dropout: mask };
    let dims = Dims { starts, lengths: &lengths, heads: *nh, head_dim: *hd, sight };
    let Some(Rope { cos, sin }) = rope else {
        run(dims, None);
        return Ok(());
    };
    let places = layout.places_below(cos.elems() / hd, "attention")?;
    let (cos, sin) = (&cos.read()?[..], &sin.read()?[..]);
    run(dims, Some(attention::Rope { cos, sin, places: &places }));
    Ok(())
}
