use super::{Dims, reference};
use crate::backend::Mode;
use crate::dtype::Float;
fn w<E: Float>(x: &[E]) -> Vec<f32> {
    x.iter().map(|x| x.to_f32()).collect()
}
pub fn forward<E: Float>(
    d: Dims,
    x: &[E],
    r: Option<(&[f32], &[f32])>,
    y: &mut [E],
    l: &mut [f32],
) {
    let mut o = w(y);
    reference::forward(d, &w(x), r, &mut o, l);
    y.iter_mut().zip(o).for_each(|(y, o)| *y = E::from_f32(o));
}
pub fn backward<E: Float>(
    d: Dims,
    s: (&[E], &[E], &[f32]),
    r: Option<(&[f32], &[f32])>,
    dy: &[E],
    dx: &mut [E],
    m: Mode,
) {
    let mut o = vec![0.0; dx.len()];
    reference::backward(d, &w(s.0), r, &w(dy), &mut o);
    dx.iter_mut()
        .zip(o)
        .for_each(|(y, o)| *y = E::from_f32(o + if m == Mode::Add { y.to_f32() } else { 0.0 }));
}
