//! What the environment says.

use std::path::PathBuf;

/// 24 GiB, the size of the card that `device` describes.
const MEMORY_BYTES: u64 = 24 << 30;

#[derive(Clone, Debug)]
pub struct Options {
    /// `GPUSIM_SEED`: the order of streams, blocks and warps.
    pub seed: u64,
    /// `GPUSIM_STRICT`, on unless 0: a finding fails the call that met it, and the process.
    pub strict: bool,
    /// `GPUSIM_REPORT`: where the JSON report goes; `%p` stands for the process id.
    pub report: Option<PathBuf>,
    /// `GPUSIM_LEAKS`: report what is still allocated at process end.
    pub leaks: bool,
    /// `GPUSIM_RACES`, on unless 0: follow readers and writers inside kernels.
    pub races: bool,
    /// `GPUSIM_MEMORY`: bytes of the card.
    pub memory_bytes: u64,
}

impl Options {
    pub fn from_environment() -> Result<Self, String> {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let number = |name: &str, default: u64| match text(name) {
            None => Ok(default),
            Some(value) => value.parse().map_err(|_| format!("{name}={value} is not a number")),
        };
        Ok(Self {
            seed: number("GPUSIM_SEED", 0)?,
            strict: number("GPUSIM_STRICT", 1)? != 0,
            report: text("GPUSIM_REPORT")
                .map(|path| path.replace("%p", &std::process::id().to_string()).into()),
            leaks: number("GPUSIM_LEAKS", 0)? != 0,
            races: number("GPUSIM_RACES", 1)? != 0,
            memory_bytes: number("GPUSIM_MEMORY", MEMORY_BYTES)?,
        })
    }
}
