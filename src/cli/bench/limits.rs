//! What the machine can do at most, and what share of it a step reaches.

use serde_json::{Value, json};

use crate::backend::cpu::path::Path;
use crate::cli::probe;
use crate::dtype::DType;

/// Rows, columns and depth of the product.
const SIDE: usize = 2048;

/// Measured on this CPU, with the program's own products and loops.
pub struct Limits {
    f32_flops_per_s: f64,
    /// None: its products widen to f32.
    bf16_flops_per_s: Option<f64>,
    bytes_per_s: f64,
}

impl Limits {
    pub fn measured() -> Self {
        let products = |dtype| probe::matmul_flops_per_s(dtype, SIDE, SIDE, SIDE);
        let has_bf16 = Path::chosen().multiplies_bf16();
        Self {
            f32_flops_per_s: products(DType::F32),
            bf16_flops_per_s: has_bf16.then(|| products(DType::Bf16)),
            bytes_per_s: probe::triad_bytes_per_s(),
        }
    }

    /// What share `flops` in `step_ms` are of the rate that products of this type reach.
    pub fn share(&self, dtype: DType, flops: f64, step_ms: f64) -> f64 {
        let of_bf16 = self.bf16_flops_per_s.filter(|_| dtype == DType::Bf16);
        flops / (step_ms * 1e-3) / of_bf16.unwrap_or(self.f32_flops_per_s)
    }

    pub fn line(&self) -> String {
        let bf16 = self.bf16_flops_per_s;
        let bf16 = bf16.map(|rate| format!(", {:.0} in bf16", rate / 1e9)).unwrap_or_default();
        format!(
            "limits measured here: {:.0} GFLOP/s in f32 products of {SIDE} cubed{bf16}; {:.1} GB/s \
             of memory",
            self.f32_flops_per_s / 1e9,
            self.bytes_per_s / 1e9
        )
    }

    pub fn json(&self) -> Value {
        json!({
            "product_side": SIDE,
            "f32_flops_per_s": self.f32_flops_per_s,
            "bf16_flops_per_s": self.bf16_flops_per_s,
            "memory_bytes_per_s": self.bytes_per_s,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_rate_of_the_type() {
        let widening =
            Limits { f32_flops_per_s: 1e11, bf16_flops_per_s: None, bytes_per_s: 2.15e10 };
        let share = |limits: &Limits, dtype| limits.share(dtype, 5e10, 1000.0);
        assert_eq!([DType::F32, DType::Bf16].map(|t| share(&widening, t)), [0.5, 0.5]);
        let fast = Limits { bf16_flops_per_s: Some(2e11), ..widening };
        assert_eq!([DType::F32, DType::Bf16].map(|t| share(&fast, t)), [0.5, 0.25]);
        assert!(fast.line().contains("100 GFLOP/s") && fast.line().contains(", 200 in bf16; 21.5"));
    }
}
