//! A matrix turned round, 16 x 16 elements at a time.

#[cfg(target_arch = "x86_64")]
use super::{gemm::pack, path::Path};

/// Side of a block.
const BLOCK: usize = 16;

/// to[c * to_stride + r] = x[r * x_stride + c], for `rows` r and as many c as `to` has rows.
pub fn transpose(x: &[f32], x_stride: usize, rows: usize, to: &mut [f32], to_stride: usize) {
    if rows == 0 || to.is_empty() {
        return;
    }
    let cols = (to.len() - rows) / to_stride + 1;
    assert!(cols <= x_stride && rows <= to_stride);
    assert!((rows - 1) * x_stride + cols <= x.len());
    assert!((cols - 1) * to_stride + rows <= to.len());
    for c in (0..cols).step_by(BLOCK) {
        for r in (0..rows).step_by(BLOCK) {
            let (x, to) = (&x[r * x_stride + c..], &mut to[c * to_stride + r..]);
            let (rows, cols) = ((rows - r).min(BLOCK), (cols - c).min(BLOCK));
            #[cfg(target_arch = "x86_64")]
            if Path::Avx512.is_here() {
                // SAFETY: the CPU has the features; the block lies inside both matrices.
                unsafe { pack::transpose_block(x, x_stride, rows, cols, to, to_stride) };
                continue;
            }
            for row in 0..rows {
                for col in 0..cols {
                    to[col * to_stride + row] = x[row * x_stride + col];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::transpose;

    #[test]
    fn every_element_of_awkward_shapes_and_nothing_beside_them() {
        for (rows, cols) in [(1, 1), (16, 16), (17, 33), (5, 40), (40, 3)] {
            let (x_stride, to_stride) = (cols + 2, rows + 3);
            let x: Vec<f32> = (0..rows * x_stride).map(|i| i as f32).collect();
            let mut to = vec![-1.0; (cols - 1) * to_stride + rows];
            transpose(&x, x_stride, rows, &mut to, to_stride);
            for (i, &got) in to.iter().enumerate() {
                let (c, r) = (i / to_stride, i % to_stride);
                let want = if r < rows { x[r * x_stride + c] } else { -1.0 };
                assert_eq!(got, want, "{rows}x{cols}: column {c}, row {r}");
            }
        }
    }
}
