//! Flags that several commands share, and what they mean.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::backend::Device;
use crate::config::{Layer, Merged, RunConfig};
use crate::{Error, Result};

/// Threads that any machine may be asked for.
const THREADS: usize = 64;
/// Threads per core beyond which more only take memory.
const THREADS_PER_CORE: usize = 4;

#[derive(Debug, Args)]
pub struct Compute {
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// CPU threads; default: all. The result does not depend on it
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
}

impl Compute {
    /// The device, and its name; starts the threads.
    pub fn start(&self) -> Result<(Device, String)> {
        let device = device(&self.device)?;
        start_threads(self.threads)?;
        Ok(device)
    }
}

#[derive(Debug, Args)]
pub struct SettingsArgs {
    /// Preset (default: arc-small), then settings such as train.lr=1e-4
    #[arg(value_name = "PRESET | KEY=VALUE")]
    pub settings: Vec<String>,
    /// TOML file with settings, between the preset's and the command line's
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl SettingsArgs {
    /// Preset, file and `key=value`, merged.
    pub fn merged<C: RunConfig>(&self) -> Result<Merged<C>> {
        let (preset, command_line) = self.split()?;
        Merged::of(preset, self.config.as_deref(), &command_line)
    }

    /// The preset that is named, and the `key=value`s.
    pub fn split(&self) -> Result<(Option<&str>, Layer)> {
        split_settings(&self.settings)
    }
}

/// `[PRESET] [KEY=VALUE]...`
pub fn split_settings(settings: &[String]) -> Result<(Option<&str>, Layer)> {
    let (preset, overrides) = match settings.split_first() {
        Some((first, rest)) if !first.contains('=') => (Some(first.as_str()), rest),
        _ => (None, settings),
    };
    match overrides.iter().find(|o| !o.contains('=')) {
        None => Ok((preset, Layer::command_line(overrides)?)),
        Some(odd) => Err(Error::invalid(format!(
            "{odd}: expected KEY=VALUE (a preset comes first), for example train.batch_size=32"
        ))),
    }
}

/// `auto` is the first CUDA device where this build and machine have one, else the CPU.
pub fn device(name: &str) -> Result<(Device, String)> {
    match name {
        "cpu" => Ok((Device::cpu(), "cpu".into())),
        "auto" => match Device::cuda(0) {
            Ok(device) => Ok((device, "cuda:0".into())),
            Err(_) => Ok((Device::cpu(), "cpu".into())),
        },
        _ => {
            let ordinal = match name.strip_prefix("cuda") {
                Some("") => Some(0),
                Some(rest) => rest.strip_prefix(':').and_then(|n| n.parse().ok()),
                None => None,
            };
            let ordinal = ordinal.ok_or_else(|| {
                Error::invalid(format!("--device {name}: expected auto, cpu, cuda or cuda:N"))
            })?;
            Ok((Device::cuda(ordinal)?, format!("cuda:{ordinal}")))
        }
    }
}

/// The number of threads that work is spread over, this one among them: it hands nothing over, and
/// no other thread may start work.
pub fn start_threads(asked: Option<usize>) -> Result<usize> {
    start(pool(asked).use_current_thread())
}

/// The number of threads that work is spread over, all of them new: for work that other threads
/// start.
#[cfg(feature = "serve")]
pub fn start_workers(asked: Option<usize>) -> Result<usize> {
    start(pool(asked))
}

fn pool(asked: Option<usize>) -> rayon::ThreadPoolBuilder {
    rayon::ThreadPoolBuilder::new().num_threads(asked.unwrap_or(0))
}

fn start(pool: rayon::ThreadPoolBuilder) -> Result<usize> {
    pool.build_global().map_err(|e| Error::invalid(format!("cannot start threads: {e}")))?;
    Ok(rayon::current_num_threads())
}

/// A number of threads that this machine can start.
pub fn threads(text: &str) -> Result<usize, String> {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let most = THREADS.max(THREADS_PER_CORE * cores);
    match text.parse() {
        Ok(n) if (1..=most).contains(&n) => Ok(n),
        _ => Err(format!(
            "expected 1 to {most} threads; this machine has {cores} cores, and more threads than \
             that make nothing faster"
        )),
    }
}

pub fn absolute(dir: &Path) -> Result<PathBuf> {
    dir.canonicalize().map_err(Error::io(dir, "resolve the path"))
}
