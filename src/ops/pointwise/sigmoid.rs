//! y = 1 / (1 + exp(-x)): what brings a decoder's output into (0, 1).
//!
//! dx = dy * y * (1 - y). Reference: `torch.sigmoid`.

use super::pointwise;
use crate::backend::cpu::simd;

pointwise!("sigmoid", forward | x | simd::sigmoid(x), backward | y, dy | dy * y * (1.0 - y));
