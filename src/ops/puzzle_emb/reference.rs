//! Plain loops; see the contract in `mod.rs`.

use crate::ops::real::Real;

pub fn gather<R: Real>(table: &[R], ids: &[i32], d: usize, rows: &mut [R]) {
    for (i, row) in rows.iter_mut().enumerate() {
        *row = table[ids[i / d] as usize * d + i % d];
    }
}
