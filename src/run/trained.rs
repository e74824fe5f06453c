//! A trained model as one value: a checkpoint, the plan of its run, and on demand its data set and
//! its weights on a device. Evaluation, solving, serving and export open models by this and nothing
//! else.

use std::path::{Path, PathBuf};

use super::checkpoint::{self, Folder, Reader};
use super::folder::CHECKPOINTS;
use super::plan::Plan;
use crate::backend::Device;
use crate::config::{DistillConfig, RunConfig, Settings};
use crate::data::DataSet;
use crate::io::say::say;
use crate::models::{Model, ModelShape};
use crate::{Error, Result};

/// `C` tells the kind of run: [`Settings`] of `hrm train`, [`DistillConfig`] of `hrm distill`.
pub struct Trained<C = Settings> {
    pub reader: Reader,
    pub plan: Plan<C>,
    /// The run's folder; that of the file, if it lies in no run.
    pub run_dir: PathBuf,
}

impl<C: RunConfig> Trained<C> {
    /// A checkpoint file, or a run folder's best one (else the final, else the newest). A run of
    /// another kind is refused with the command that takes it.
    pub fn open(path: &Path) -> Result<Self> {
        let (reader, run_dir) = find(path)?;
        Ok(Self { plan: plan(&reader)?, reader, run_dir })
    }

    /// Steps that it was trained for.
    pub fn step(&self) -> u64 {
        self.reader.meta.state.step
    }

    /// Digest of the data that it was trained on; empty where an imported model came without.
    pub fn trained_on(&self) -> &str {
        &self.reader.meta.state.data_digest
    }

    /// The file and its step, in words.
    pub fn title(&self) -> String {
        format!("{}, step {}", self.reader.path().display(), self.step())
    }
}

impl Trained {
    /// The model's shape as it was trained, for batches of its own size.
    pub fn shape(&self) -> Result<ModelShape> {
        checkpoint::model_shape(&self.reader, &self.plan.config)
    }

    /// The model as it was trained, with the weights that evaluation uses: the averaged ones where
    /// the run kept them.
    pub fn load(&self, device: &Device) -> Result<Box<dyn Model>> {
        self.load_as(&self.shape()?, device)
    }

    /// The model for other batches: `shape` is [`shape`](Self::shape) with another batch size.
    pub fn load_as(&self, shape: &ModelShape, device: &Device) -> Result<Box<dyn Model>> {
        checkpoint::load_model(&self.reader, &self.plan.config, shape, device)
    }

    /// The data set in `named`, else the one that the run was trained on.
    pub fn data(&self, named: Option<&Path>) -> Result<DataSet> {
        DataSet::open(named.unwrap_or(&self.plan.data_dir))
    }
}

/// The checkpoint that `path` means, and the folder of its run; see [`Trained::open`].
pub fn find(path: &Path) -> Result<(Reader, PathBuf)> {
    // What cannot be looked at is named when it is opened.
    if !path.is_dir() {
        let dir = path.parent().unwrap_or(Path::new(""));
        let run_dir = if dir.ends_with(CHECKPOINTS) { dir.parent().unwrap_or(dir) } else { dir };
        return Ok((Reader::open(path)?, run_dir.to_owned()));
    }
    let folder = Folder::new(path.join(CHECKPOINTS));
    let reader = match (folder.found_best()?, folder.has_final()?) {
        (Some(best), _) => Reader::open(&best)?,
        (None, true) => Reader::open(&folder.r#final())?,
        (None, false) => newest(path)?,
    };
    Ok((reader, path.to_owned()))
}

/// The newest whole checkpoint of a run's folder; damaged ones are named on stderr.
pub fn newest(run_dir: &Path) -> Result<Reader> {
    let folder = Folder::new(run_dir.join(CHECKPOINTS));
    let newest = folder.newest(|line| say!("warning: {line}"))?;
    newest.ok_or_else(|| {
        Error::invalid(format!("{}: there is no checkpoint in this folder", run_dir.display()))
    })
}

/// The plan that a checkpoint carries.
pub fn plan<C: RunConfig>(reader: &Reader) -> Result<Plan<C>> {
    let text = &reader.meta.plan;
    Plan::parse(text).map_err(|e| {
        let others = [
            (<Plan>::parse(text).is_ok(), "hrm train; to score it: hrm eval CKPT"),
            (
                Plan::<DistillConfig>::parse(text).is_ok(),
                "hrm distill; to score it: hrm distill test CKPT",
            ),
        ];
        let path = reader.path();
        match others.iter().find(|(is_it, _)| *is_it) {
            Some((_, of)) => Error::invalid(format!("{}: this is a run of {of}", path.display())),
            None => Error::corrupt(path, format!("is of another version of hrm: {e}")),
        }
    })
}
