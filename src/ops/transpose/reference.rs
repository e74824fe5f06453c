//! Plain loops; see the contract in `mod.rs`.

use crate::ops::real::Real;

/// y (b, cols, rows) from x (b, rows, cols). Backward is the same with rows and columns exchanged.
pub fn forward<R: Real>(x: &[R], rows: usize, cols: usize, y: &mut [R]) {
    for (i, x) in x.iter().enumerate() {
        let (b, at) = (i / (rows * cols), i % (rows * cols));
        y[b * rows * cols + at % cols * rows + at / cols] = *x;
    }
}
