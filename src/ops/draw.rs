//! Where an op's random numbers come from.

use crate::Result;
use crate::dtype::DType;
use crate::tensor::Tensor;

/// Seed and number of a draw: key and counter of the RNG. They change with every step, so ops read
/// them from device memory, low words first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    pub seed: u64,
    /// Number of this draw in the run.
    pub number: u64,
}

impl Draw {
    pub const WORDS: usize = 4;

    pub fn words(self) -> [i32; Self::WORDS] {
        let Draw { seed, number } = self;
        [seed, seed >> 32, number, number >> 32].map(|word| word as u32 as i32)
    }

    pub(super) fn read(words: &Tensor) -> Result<Self> {
        let words = words.read::<i32>()?;
        let pair = |i: usize| words[i] as u32 as u64 | (words[i + 1] as u32 as u64) << 32;
        Ok(Self { seed: pair(0), number: pair(2) })
    }

    /// Whether `op` was given the words of a draw.
    pub(super) fn check(op: &str, words: &Tensor) -> Result<()> {
        let what = format!("{op} draw (4)");
        words.expect_dims(&what, &[Self::WORDS])?;
        words.expect_dtype(&what, DType::I32)
    }
}
