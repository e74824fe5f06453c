//! Plain loops; see the contract in `mod.rs`.

use crate::ops::real::Real;

/// `rows[n]` is the table's row for position n.
pub fn forward<R: Real>(x: &[R], table: &[R], rows: &[usize], c: usize, y: &mut [R]) {
    for (i, y) in y.iter_mut().enumerate() {
        *y = (x[i] + table[rows[i / c] * c + i % c]).store();
    }
}

/// dtable, added to.
pub fn backward_table<R: Real>(dy: &[R], rows: &[usize], c: usize, dtable: &mut [R]) {
    for (i, &dy) in dy.iter().enumerate() {
        let at = rows[i / c] * c + i % c;
        dtable[at] += dy;
    }
}
