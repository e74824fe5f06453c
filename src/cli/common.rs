//! Flags that several commands share, and what they mean.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::backend::cpu::path;
use crate::backend::{Device, DeviceKind, cuda};
use crate::config::{Layer, Merged, PRECISION, Precision, RunConfig, Source};
use crate::io::machine;
use crate::io::say::say;
use crate::{Error, Result};

#[derive(Debug, Args)]
pub struct Compute {
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// CPU threads; default: all that this process can use, which is also the most. The result does
    /// not depend on it
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
    /// Preset, file and `key=value`, merged; what they leave to the device is what suits it.
    pub fn merged<C: RunConfig>(&self, device: DeviceKind) -> Result<Merged<C>> {
        let (preset, command_line) = self.split()?;
        Ok(Merged::of(preset, self.config.as_deref(), &command_line)?.on(device))
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

/// `auto` is the first CUDA device where this build and machine have one, else the CPU. A card that
/// is here and does not open is an error: the CPU would take its place unnoticed.
pub fn device(name: &str) -> Result<(Device, String)> {
    match name {
        "cpu" => Ok((Device::cpu(), "cpu".into())),
        "auto" => match Device::cuda(0) {
            Ok(device) => Ok((device, "cuda:0".into())),
            Err(e) if cuda::count().is_ok_and(|n| n > 0) => {
                Err(Error::invalid(format!("{e}; --device cpu does without the card")))
            }
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

/// The precision, and who chose it where that was nobody.
pub fn precision<C: RunConfig>(merged: &Merged<C>, word: Precision, device: DeviceKind) -> String {
    let is_fastest = word == C::fastest_precision(device);
    let why = match (merged.source(PRECISION), device) {
        (Source::Auto, _) if !is_fastest => ": auto, as this run began".to_owned(),
        (Source::Auto, DeviceKind::Cuda) => ": auto, the fastest on CUDA".to_owned(),
        (Source::Auto, DeviceKind::Cpu) => {
            format!(": auto, the fastest on this CPU ({})", path::Path::chosen().word())
        }
        _ => String::new(),
    };
    format!("{PRECISION}={}{why}", word.word())
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
    rayon::ThreadPoolBuilder::new().num_threads(bounded_threads(asked))
}

fn start(pool: rayon::ThreadPoolBuilder) -> Result<usize> {
    pool.build_global().map_err(|e| Error::invalid(format!("cannot start threads: {e}")))?;
    Ok(rayon::current_num_threads())
}

/// The threads that were asked for, or all that this process can use: more would only wait for each
/// other, so a larger number is cut, with a word.
pub fn bounded_threads(asked: Option<usize>) -> usize {
    let usable = machine::usable_threads();
    match asked {
        Some(asked) if asked > usable => {
            say!(
                "--threads {asked}: going on with {usable}, all that this process can use here \
                 (its cores, its affinity and its quota of CPU time)"
            );
            usable
        }
        Some(asked) => asked,
        None => usable,
    }
}

/// A number of threads.
pub fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n >= 1 => Ok(n),
        _ => Err("expected a number of threads, 1 or more".to_owned()),
    }
}

pub fn absolute(dir: &Path) -> Result<PathBuf> {
    dir.canonicalize().map_err(Error::io(dir, "resolve the path"))
}
