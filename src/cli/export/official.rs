//! `hrm export --for`: a checkpoint that an official program takes for its own.

use std::path::Path;

use clap::ValueEnum;

use super::{Export, names_of};
use crate::config::Settings;
use crate::formats::{Program, StateDict};
use crate::import::official::{FILE, overrides};
use crate::import::outgoing;
use crate::io::file;
use crate::run::checkpoint::{Reader, Weights};
use crate::run::trained;
use crate::{Error, Result};

/// Words of a command on one line.
const WORDS: usize = 4;

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
    // Not the folder of the data set itself, which is usually below data/ too.
    let data = plan.data_dir.file_name().map_or("set".into(), |name| name.to_string_lossy());
    let data = format!("data/{data}-{word}");
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
    let output = std::path::absolute(&output).map_err(Error::io(&output, "resolve the path"))?;
    // Names without the prefix fit a model that is not compiled.
    let env = if args.compiled { "" } else { "DISABLE_COMPILE=1 " };
    let lines = command(program, &output, &made.settings)?;
    outln!("  {env}{}", lines.join(" \\\n    "));
    Ok(())
}

/// In lines, for a shell.
fn command(program: Program, checkpoint: &Path, settings: &str) -> Result<Vec<String>> {
    let path = checkpoint.display();
    Ok(match program {
        Program::Hrm => vec![format!("torchrun --nproc-per-node 1 evaluate.py checkpoint={path}")],
        Program::Trm => {
            let words = overrides(settings).map_err(Error::invalid)?;
            let first = format!("python pretrain.py arch=trm load_checkpoint={path}");
            std::iter::once(first).chain(words.chunks(WORDS).map(|line| line.join(" "))).collect()
        }
    })
}
