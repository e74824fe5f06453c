//! Plain loops; see the contract in `mod.rs`.

use crate::ops::real::Real;

/// `guard` is `global_norm`'s.
pub fn step<R: Real>(
    table: &mut [R],
    ids: &[i32],
    g: &[R],
    guard: [R; 3],
    lr: f64,
    weight_decay: f64,
) {
    if guard[2] == R::default() {
        return;
    }
    let (d, zero) = (g.len() / ids.len(), R::default());
    for (row, table) in table.chunks_exact_mut(d).enumerate() {
        let touches: Vec<usize> = (0..ids.len()).filter(|&r| ids[r] as usize == row).collect();
        if touches.is_empty() {
            continue;
        }
        for (i, w) in table.iter_mut().enumerate() {
            let sum: R = touches.iter().map(|r| g[r * d + i]).sum();
            let sign = if sum > zero { 1.0 } else { 0.0 } - if sum < zero { 1.0 } else { 0.0 };
            *w = *w * R::of(1.0 - lr * weight_decay) - R::of(lr * sign);
        }
    }
}
