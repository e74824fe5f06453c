use crate::backend::Mode;
use crate::dtype::Float;

pub fn forward<E: Float>(q: &[E], targets: &[f32], rows: &mut [f32]) {
    for ((row, q), &t) in rows.iter_mut().zip(q).zip(targets) {
        let q = q.to_f32();
        *row = if t < 0.0 { 0.0 } else { q.max(0.0) - q * t + (-q.abs()).exp().ln_1p() };
    }
}

pub fn backward<E: Float>(q: &[E], targets: &[f32], drows: &[f32], dq: &mut [E], mode: Mode) {
    for (((dq, q), &t), d) in dq.iter_mut().zip(q).zip(targets).zip(drows) {
        let g = if t < 0.0 { 0.0 } else { (sigmoid(q.to_f32()) - t) * d };
        *dq = match mode {
            Mode::Set => E::from_f32(g),
            Mode::Add => E::from_f32(dq.to_f32() + g),
        };
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}
