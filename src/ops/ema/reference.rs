//! Plain loops; see the contract in `mod.rs`.

use crate::ops::real::Real;

/// `guard` is `global_norm`'s.
pub fn step<R: Real>(ema: &mut [R], p: &[R], guard: [R; 3], decay: f64) {
    if guard[2] == R::default() {
        return;
    }
    for (ema, &p) in ema.iter_mut().zip(p) {
        *ema = R::of(decay) * *ema + (R::of(1.0) - R::of(decay)) * p;
    }
}
