//! From the flags of `hrm train` to a validated [`Plan`], its data set and its device.

use std::path::Path;
use std::sync::Arc;

use super::{args, quick};
use crate::backend::Device;
use crate::config::{Config, Layer, Merged};
use crate::data::DataSet;
use crate::run::plan::Plan;
use crate::{Error, Result};

pub struct Planned {
    pub plan: Plan,
    pub data: Arc<DataSet>,
    pub device: Device,
}

pub fn plan(args: &args::Train) -> Result<Planned> {
    let (preset, command_line) = split_settings(&args.settings)?;
    let merged = Merged::of(preset, args.config.as_deref(), &command_line)?;
    let mut config: Config = merged.config()?;
    if args.quick {
        quick::cut(&mut config, &merged);
    }
    let (device, device_name) = device(&args.device)?;
    let threads = start_threads(args.threads)?;
    let data = match &args.data {
        Some(dir) => DataSet::open(dir)?,
        None => super::preset_data::ensure(&config.data)?,
    };
    // The data set decides; a canvas that was asked for and is not there is an error.
    if merged.is_asked("data.canvas") && config.data.canvas != data.canvas() {
        return Err(Error::invalid(format!(
            "data.canvas={}, but the data set {} has canvas {}",
            config.data.canvas,
            data.dir().display(),
            data.canvas()
        )));
    }
    config.data.canvas = data.canvas();
    let data_dir = absolute(data.dir())?;
    let init = args.init.as_deref().map(checkpoint_of).transpose()?;
    let plan = Plan { config, data_dir, device: device_name, threads, init };
    Ok(Planned { plan, data: Arc::new(data), device })
}

/// A checkpoint file, or that of a run folder; absolute.
fn checkpoint_of(path: &Path) -> Result<std::path::PathBuf> {
    let file = match path.is_dir() {
        true => super::eval::open(path)?.0.path().to_owned(),
        false => path.to_owned(),
    };
    std::path::absolute(&file).map_err(Error::io(path, "resolve the path"))
}

/// `[PRESET] [KEY=VALUE]...`
pub(super) fn split_settings(settings: &[String]) -> Result<(Option<&str>, Layer)> {
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
pub(super) fn device(name: &str) -> Result<(Device, String)> {
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

/// The number of threads that work is spread over.
pub(super) fn start_threads(asked: Option<usize>) -> Result<usize> {
    if asked == Some(0) {
        return Err(Error::invalid("--threads 0: at least 1"));
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(asked.unwrap_or(0));
    pool.build_global().map_err(|e| Error::invalid(format!("cannot start threads: {e}")))?;
    Ok(rayon::current_num_threads())
}

pub(super) fn absolute(dir: &Path) -> Result<std::path::PathBuf> {
    dir.canonicalize().map_err(Error::io(dir, "resolve the path"))
}
