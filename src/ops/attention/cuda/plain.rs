//! Any head size, f32 and bf16, without tensor cores. A block owns a tile of rows.

use super::Call;
use crate::Result;
use crate::backend::{Kernel, by_dtype, kernel_pair};
use crate::dtype::DType;
use crate::ops::refuse;
use crate::ops::tiles::Cut;

const THREADS: usize = 128;
/// Shared memory that a block may have on every supported card.
const SHARED_BYTES: usize = 99 * 1024;

pub struct Pass {
    kernels: [Kernel; 2],
    sighted: [Kernel; 2],
    /// In shared memory: tiles of rows, matrices of weights, numbers for each row.
    tiles: usize,
    weights: usize,
    numbers: usize,
}

/// Kernels of a pass, and those that are told how positions see each other.
macro_rules! pass {
    ($plain:literal, $sighted:literal, [$($param:ident),*], $tiles:literal, $weights:literal, $numbers:literal) => {
        Pass {
            kernels: kernel_pair!("attention_any", $plain, [$($param),*]),
            sighted: kernel_pair!(
                "attention_any",
                $sighted,
                [$($param),*, U32, In, U32, U32, F32, F32]
            ),
            tiles: $tiles,
            weights: $weights,
            numbers: $numbers,
        }
    };
}

// Pointers in the order of the kernels' headers, the layout, nh, scale, add; hd and the rows of a
// tile.
pub static FWD: Pass = pass!(
    "attention_fwd",
    "attention_fwd_sight",
    [Out, Out, In, In, In, In, In, In, In, U32, F32, U32, U32],
    4,
    1,
    1
);
pub static BWD_DQ: Pass = pass!(
    "attention_bwd_dq",
    "attention_bwd_dq_sight",
    [Out, Out, In, In, In, In, In, In, In, In, In, In, U32, F32, U32, U32, U32],
    5,
    1,
    2
);
pub static BWD_DKV: Pass = pass!(
    "attention_bwd_dkv",
    "attention_bwd_dkv_sight",
    [Out, In, In, In, In, In, In, In, In, In, In, U32, F32, U32, U32, U32],
    6,
    2,
    0
);

impl Pass {
    pub fn launch(&'static self, call: Call, dtype: DType) -> Result<()> {
        let (hd, (rows, shared_bytes)) = (call.hd, self.tile(call.hd)?);
        let Some(tiles) = call.layout.tiles(Cut::Every(rows)) else { return Ok(()) };
        let kernels = if call.sight.is_some() { &self.sighted } else { &self.kernels };
        let kernel = by_dtype(dtype, kernels)?;
        call.launch(kernel, &tiles.list, THREADS, shared_bytes, &[hd, rows])
    }

    /// Rows of a tile, the most that fit, and the shared memory that they take.
    fn tile(&self, hd: usize) -> Result<(usize, usize)> {
        let bytes = |rows: usize| {
            let weights = self.weights * rows * (rows + 8);
            self.tiles * rows * ((hd / 4) | 1) * 16 + (weights + self.numbers * rows) * 4
        };
        let fitting = [32, 16, 8].into_iter().find(|&rows| bytes(rows) <= SHARED_BYTES);
        let rows = fitting.ok_or_else(|| {
            let need = bytes(8);
            refuse("attention", format!("head width {hd} needs {need} bytes of shared memory"))
        })?;
        Ok((rows, bytes(rows)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_shrink_with_the_head_and_end_in_a_refusal() {
        let rows = |hd| BWD_DKV.tile(hd).map(|x| x.0);
        assert_eq!([8, 64, 128, 256].map(|hd| rows(hd).unwrap()), [32, 32, 16, 8]);
        let error = rows(1024).unwrap_err().to_string();
        assert!(error.contains("head width 1024") && error.contains("shared memory"), "{error}");
    }
}
