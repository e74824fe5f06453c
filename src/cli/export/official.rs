//! `hrm export --for`: a checkpoint that an official program takes for its own.

use std::path::Path;

use clap::ValueEnum;

use super::{Export, names_of};
use crate::config::Settings;
use crate::formats::{Program, StateDict};
use crate::import::{official::FILE, outgoing};
use crate::io::file;
use crate::run::checkpoint::{Reader, Weights};
use crate::run::trained;
use crate::{Error, Result};

/// A checkpoint of an official program, and its settings beside it.
pub fn export(
    program: Program,
    args: Export,
    reader: &Reader,
    run_dir: &Path,
    weights: StateDict,
    chosen: Weights,
) -> Result<()> {
    let plan = trained::plan::<Settings>(reader)?;
    let word = program.to_possible_value().map_or(String::new(), |v| v.get_name().to_owned());
    let (named, step) = (names_of(&weights), reader.meta.state.step);
    let data = Path::new("data").join(plan.data_dir.file_name().unwrap_or_default());
    let data = data.display().to_string();
    let made = outgoing::checkpoint(program, &plan.config, weights, args.compiled, &data);
    let made = made.map_err(|e| Error::corrupt(reader.path(), e.to_string()))?;
    let output = args
        .output
        .unwrap_or_else(|| run_dir.join("export").join(&word).join(format!("step_{step}")));
    let settings = output.with_file_name(FILE);
    if file::exists(&settings)?
        && std::fs::read(&settings).ok() != Some(made.settings.clone().into())
    {
        let what = "is of another checkpoint: choose another folder with --output";
        return Err(Error::corrupt(&settings, what));
    }
    if let Some(dir) = output.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir).map_err(Error::io(dir, "create the folder"))?;
    }
    file::write(&output, &made.weights)?;
    file::write(&settings, made.settings.as_bytes())?;
    let (path, bytes, name) = (output.display(), made.weights.len(), chosen.name());
    outln!("{path}: {bytes} bytes, {name} weights of step {step}\n{named}");
    outln!("{}: its settings", settings.display());
    outln!("the data set, where they say that it is:");
    outln!("  hrm data export {} --output-dir {data} --for {word}", plan.data_dir.display());
    outln!("in a copy of the program:");
    outln!("  {}", command(program, &output));
    Ok(())
}

fn command(program: Program, checkpoint: &Path) -> String {
    let path = checkpoint.display();
    match program {
        Program::Hrm => format!("torchrun --nproc-per-node 1 evaluate.py checkpoint={path}"),
        Program::Trm => format!("python pretrain.py arch=trm load_checkpoint={path}"),
    }
}
