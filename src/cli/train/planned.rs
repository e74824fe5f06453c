//! From the flags of `hrm train` to a validated [`Plan`], its data set and its device.

use std::path::Path;
use std::sync::Arc;

use super::{Train, quick};
use crate::backend::Device;
use crate::cli::common::{absolute, device, start_threads};
use crate::cli::preset_data;
use crate::config::{Merged, Settings};
use crate::data::DataSet;
use crate::run::plan::Plan;
use crate::run::trained;
use crate::{Error, Result};

pub struct Planned {
    pub plan: Plan,
    pub data: Arc<DataSet>,
    pub device: Device,
    /// What was merged, and who set what.
    pub merged: Merged,
}

pub fn plan(args: &Train) -> Result<Planned> {
    let (device, device_name) = device(&args.compute.device)?;
    let merged = args.settings.merged(device.kind())?;
    let mut config: Settings = merged.config()?;
    if args.quick {
        quick::cut(&mut config, &merged);
    }
    let threads = start_threads(args.compute.threads)?;
    let data = match &args.data {
        Some(dir) => DataSet::open(dir)?,
        None => preset_data::ensure(&config.data)?,
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
    let products = device.products();
    let plan = Plan { config, data_dir, device: device_name, threads, products, init };
    Ok(Planned { plan, data: Arc::new(data), device, merged })
}

/// A checkpoint file, or that of a run folder; absolute.
fn checkpoint_of(path: &Path) -> Result<std::path::PathBuf> {
    let file = match path.is_dir() {
        true => trained::find(path)?.0.path().to_owned(),
        false => path.to_owned(),
    };
    std::path::absolute(&file).map_err(Error::io(path, "resolve the path"))
}
