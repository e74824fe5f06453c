//! Where an op's random numbers come from.

use crate::Result;
use crate::backend::cpu::simd;
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
        Ok(Self::of(&words.read::<i32>()?))
    }

    /// The draw that these [`words`](Self::words) are of.
    pub(super) fn of(words: &[i32]) -> Self {
        let pair = |i: usize| words[i] as u32 as u64 | (words[i + 1] as u32 as u64) << 32;
        Self { seed: pair(0), number: pair(2) }
    }

    /// Whether `op` was given the words of a draw.
    pub(super) fn check(op: &str, words: &Tensor) -> Result<()> {
        let what = format!("{op} draw (4)");
        words.expect_dims(&what, &[Self::WORDS])?;
        words.expect_dtype(&what, DType::I32)
    }
}

/// Standard normal numbers that a Philox block makes.
pub(super) const NORMALS: usize = 4;

/// Those of a block.
pub(super) fn normals([a, b, c, d]: [u32; NORMALS]) -> [f32; NORMALS] {
    let ([w, x], [y, z]) = (pair(a, b), pair(c, d));
    [w, x, y, z]
}

/// Box and Muller's method, operation by operation as in `kernels/common/normal.cuh`.
fn pair(radius: u32, angle: u32) -> [f32; 2] {
    let u = ((radius >> 8) + 1) as f32 * (1.0 / 16_777_216.0);
    let r = (-2.0 * simd::ln(u)).sqrt();
    // The quadrant by two bits, the angle inside it by the 22 below, from its middle.
    let t = ((angle >> 8) & 0x3F_FFFF) as f32 * (1.0 / 4_194_304.0) - 0.5;
    let x = t * std::f32::consts::FRAC_PI_2;
    let z = x * x;
    // The single-precision sine and cosine of Cephes, on an eighth of a turn either way.
    let s = -1.951_529_6e-4 * z + 8.332_161e-3;
    let s = s * z - 1.666_665_5e-1;
    let s = s * z * x + x;
    let c = 2.443_315_7e-5 * z - 1.388_731_6e-3;
    let c = c * z + 4.166_664_6e-2;
    let c = c * z * z - 0.5 * z + 1.0;
    let (s, c) = (r * s, r * c);
    match angle >> 30 {
        0 => [c, s],
        1 => [-s, c],
        2 => [-c, -s],
        _ => [s, -c],
    }
}
