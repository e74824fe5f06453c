//! Which of the CPU's instruction sets products run on. Chosen once, from what the CPU has;
//! `HRM_CPU` forces another that it has too, so that one machine can show what all of them compute.
//!
//! Only products (`gemm`) differ in bits between paths. Everything else is compiled for several
//! vector widths and fuses only the multiply-adds that say so, which gives the same bits at each.

use std::sync::OnceLock;

use crate::{Error, Result};

/// The environment variable that forces a path.
pub const VARIABLE: &str = "HRM_CPU";

/// The paths of each architecture from the slowest to the fastest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path {
    /// What every CPU of the target has.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, BW, VL and DQ.
    Avx512,
    /// These and AVX-512 BF16.
    Avx512Bf16,
    /// These and AMX-BF16, which Linux grants to processes that ask for it.
    Amx,
    /// NEON, the vectors of aarch64.
    Neon,
}

impl Path {
    pub const ALL: [Path; 6] =
        [Path::Portable, Path::Avx2, Path::Avx512, Path::Avx512Bf16, Path::Amx, Path::Neon];

    /// The word in [`VARIABLE`].
    pub fn word(self) -> &'static str {
        match self {
            Path::Portable => "portable",
            Path::Avx2 => "avx2",
            Path::Avx512 => "avx512",
            Path::Avx512Bf16 => "avx512bf16",
            Path::Amx => "amx",
            Path::Neon => "neon",
        }
    }

    /// Whether this CPU can run it.
    pub fn is_here(self) -> bool {
        match self {
            Path::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
            }
            #[cfg(target_arch = "x86_64")]
            Path::Avx512Bf16 => Path::Avx512.is_here() && is_x86_feature_detected!("avx512bf16"),
            #[cfg(target_arch = "x86_64")]
            Path::Amx => Path::Avx512Bf16.is_here() && super::gemm::amx::tiles::are_here(),
            #[cfg(target_arch = "aarch64")]
            Path::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            _ => false,
        }
    }

    /// Whether it has instructions for products of bf16; the others widen.
    pub fn multiplies_bf16(self) -> bool {
        matches!(self, Path::Avx512Bf16 | Path::Amx)
    }

    /// The paths of this CPU, from the slowest to the fastest.
    pub fn here() -> impl DoubleEndedIterator<Item = Self> {
        Self::ALL.into_iter().filter(|path| path.is_here())
    }

    /// Instruction sets that it needs and this CPU lacks. Empty where it is here, and for a path of
    /// another kind of processor.
    pub fn lacks(self) -> Vec<&'static str> {
        const AVX512: [&str; 4] = ["avx512f", "avx512bw", "avx512vl", "avx512dq"];
        let needs = match self.word() {
            _ if self.is_here() || !cfg!(target_arch = "x86_64") => vec![],
            "avx2" => vec!["avx2", "fma"],
            "avx512" => AVX512.to_vec(),
            "avx512bf16" => [&AVX512[..], &["avx512bf16"]].concat(),
            "amx" => [&AVX512[..], &["avx512bf16", "amx-bf16"]].concat(),
            _ => vec![],
        };
        needs.into_iter().filter(|name| !has(name)).collect()
    }

    /// The fastest path of this CPU, without AMX, which was timed on none.
    fn fastest() -> Self {
        Self::here().rfind(|&path| path != Path::Amx).unwrap_or(Path::Portable)
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

/// Whether this CPU has an instruction set.
#[cfg(target_arch = "x86_64")]
fn has(name: &str) -> bool {
    match name {
        "avx2" => is_x86_feature_detected!("avx2"),
        "fma" => is_x86_feature_detected!("fma"),
        "avx512f" => is_x86_feature_detected!("avx512f"),
        "avx512bw" => is_x86_feature_detected!("avx512bw"),
        "avx512vl" => is_x86_feature_detected!("avx512vl"),
        "avx512dq" => is_x86_feature_detected!("avx512dq"),
        "avx512bf16" => is_x86_feature_detected!("avx512bf16"),
        _ => false,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn has(_: &str) -> bool {
    false
}

/// Refuses an `HRM_CPU` that names no path, or one that this CPU does not have.
pub fn check() -> Result<()> {
    match std::env::var(VARIABLE) {
        Ok(word) => parse(&word).map(|_| ()),
        Err(_) => Ok(()),
    }
}

fn parse(word: &str) -> Result<Path> {
    let here = Path::here().map(Path::word).collect::<Vec<_>>().join(", ");
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
    #[cfg(target_arch = "x86_64")]
    fn a_path_that_is_not_here_lacks_something() {
        for path in Path::ALL.into_iter().filter(|path| path.word() != "neon") {
            assert_eq!(path.lacks().is_empty(), path.is_here(), "{path:?}: {:?}", path.lacks());
        }
    }

    #[test]
    fn words_name_paths_and_the_fastest_is_here() {
        assert!(Path::fastest().is_here() && Path::chosen().is_here());
        for path in Path::ALL {
            assert_eq!(parse(path.word()).ok(), path.is_here().then_some(path));
        }
        // No CPU has the vectors of both architectures.
        let elsewhere = if cfg!(target_arch = "aarch64") { Path::Avx2 } else { Path::Neon };
        let error = parse(elsewhere.word()).unwrap_err().to_string();
        assert!(error.contains("lacks the instructions; it has: portable"), "{error}");
        let error = parse("avx3").unwrap_err().to_string();
        assert!(error.contains("HRM_CPU=avx3") && error.contains("portable"), "{error}");
    }
}
