//! Which of the CPU's instruction sets products run on. Chosen once, from what the CPU has;
//! `HRM_CPU` forces another that it has too, so that one machine can show what all of them compute.
//!
//! Only products (`gemm`) differ in bits between paths. Everything else is compiled for several
//! vector widths and fuses only the multiply-adds that say so, which gives the same bits at each.

use std::sync::OnceLock;

use crate::{Error, Result};

/// The environment variable that forces a path.
pub const VARIABLE: &str = "HRM_CPU";

/// From the slowest to the fastest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path {
    /// What every CPU of the target has.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, BW, VL, DQ and BF16.
    Avx512Bf16,
}

impl Path {
    pub const ALL: [Path; 3] = [Path::Portable, Path::Avx2, Path::Avx512Bf16];

    /// The word in [`VARIABLE`].
    pub fn word(self) -> &'static str {
        match self {
            Path::Portable => "portable",
            Path::Avx2 => "avx2",
            Path::Avx512Bf16 => "avx512bf16",
        }
    }

    /// Whether this CPU can run it.
    pub fn is_here(self) -> bool {
        match self {
            Path::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Path::Avx512Bf16 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bf16")
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The fastest path of this CPU.
    fn fastest() -> Self {
        Self::ALL.into_iter().rev().find(|path| path.is_here()).unwrap_or(Path::Portable)
    }

    /// The path of this process. A value of [`VARIABLE`] that [`check`] refuses counts as none.
    pub fn chosen() -> Self {
        static CHOSEN: OnceLock<Path> = OnceLock::new();
        *CHOSEN.get_or_init(|| match std::env::var(VARIABLE) {
            Ok(word) => parse(&word).unwrap_or_else(|_| Self::fastest()),
            Err(_) => Self::fastest(),
        })
    }
}

/// Refuses an `HRM_CPU` that names no path, or one that this CPU does not have.
pub fn check() -> Result<()> {
    match std::env::var(VARIABLE) {
        Ok(word) => parse(&word).map(|_| ()),
        Err(_) => Ok(()),
    }
}

fn parse(word: &str) -> Result<Path> {
    let here: Vec<&str> = Path::ALL.into_iter().filter(|p| p.is_here()).map(Path::word).collect();
    let here = here.join(", ");
    match Path::ALL.into_iter().find(|path| path.word() == word) {
        Some(path) if path.is_here() => Ok(path),
        Some(_) => Err(Error::invalid(format!(
            "{VARIABLE}={word}: this CPU lacks the instructions; it has: {here}"
        ))),
        None => Err(Error::invalid(format!("{VARIABLE}={word}: expected one of {here}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_paths_and_the_fastest_is_here() {
        assert!(Path::fastest().is_here() && Path::chosen().is_here());
        for path in Path::ALL {
            assert_eq!(parse(path.word()).ok(), path.is_here().then_some(path));
        }
        let error = parse("avx3").unwrap_err().to_string();
        assert!(error.contains("HRM_CPU=avx3") && error.contains("portable"), "{error}");
    }
}
