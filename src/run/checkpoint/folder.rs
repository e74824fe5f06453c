//! The checkpoints of one run: their names, the newest one that is whole, which ones are kept.

use std::path::{Path, PathBuf};

use super::Reader;
use crate::io::file::{self, UNFINISHED_PREFIX};
use crate::{Error, Result};

const PREFIX: &str = "hrm_arc_";
const STEP_PREFIX: &str = "hrm_arc_step_";
const SUFFIX: &str = ".safetensors";

#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self(dir.into())
    }

    pub fn dir(&self) -> &Path {
        &self.0
    }

    pub fn step(&self, step: u64) -> PathBuf {
        self.0.join(format!("{STEP_PREFIX}{step}{SUFFIX}"))
    }

    pub fn best(&self) -> PathBuf {
        self.0.join(format!("{PREFIX}best{SUFFIX}"))
    }

    pub fn r#final(&self) -> PathBuf {
        self.0.join(format!("{PREFIX}final{SUFFIX}"))
    }

    /// The best checkpoint, if there is one.
    pub fn found_best(&self) -> Result<Option<PathBuf>> {
        let best = self.best();
        Ok(file::exists(&best)?.then_some(best))
    }

    /// Whether the run is complete.
    pub fn has_final(&self) -> Result<bool> {
        file::exists(&self.r#final())
    }

    /// The whole checkpoint with the highest step, every byte checked. Damaged newer ones go to
    /// `report`. None at all is `None`; nothing but damaged ones is an error.
    pub fn newest(&self, mut report: impl FnMut(String)) -> Result<Option<Reader>> {
        let mut damaged = vec![];
        let mut readers = vec![];
        for path in self.files()? {
            match Reader::open(&path) {
                Ok(reader) => readers.push(reader),
                Err(e) => damaged.push(e),
            }
        }
        // A run interrupted in a validation saved its step without the result, and saves it again.
        let rank = |r: &Reader| (r.meta.state.step, r.meta.state.validated);
        readers.sort_by_key(|r| (rank(r), step_of(r.path()).is_some()));
        let mut newest = None;
        while let Some(reader) = readers.pop() {
            match reader.verify() {
                Ok(()) => {
                    newest = Some(reader);
                    break;
                }
                Err(e) => damaged.push(e),
            }
        }
        if newest.is_none() && !damaged.is_empty() {
            let list: Vec<String> = damaged.iter().map(|e| format!("\n  {e}")).collect();
            return Err(Error::corrupt(
                &self.0,
                format!("no checkpoint is whole; --fresh starts anew{}", list.concat()),
            ));
        }
        for e in &damaged {
            report(format!("damaged checkpoint passed over: {e}"));
        }
        Ok(newest)
    }

    /// Delete all but the `keep` newest step checkpoints.
    pub fn prune(&self, keep: usize) -> Result<()> {
        let mut steps: Vec<(u64, PathBuf)> =
            self.files()?.into_iter().filter_map(|p| Some((step_of(&p)?, p))).collect();
        steps.sort();
        let surplus = steps.len().saturating_sub(keep);
        steps[..surplus].iter().try_for_each(|(_, path)| {
            std::fs::remove_file(path).map_err(Error::io(path, "delete an old checkpoint"))
        })
    }

    /// Delete what a killed process left half written.
    pub fn clean(&self) -> Result<()> {
        for path in self.list()? {
            if name_of(&path).starts_with(UNFINISHED_PREFIX) {
                let doing = "delete a half-written checkpoint";
                std::fs::remove_file(&path).map_err(Error::io(&path, doing))?;
            }
        }
        Ok(())
    }

    /// Whether there is no checkpoint, whole or not.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.files()?.is_empty())
    }

    fn files(&self) -> Result<Vec<PathBuf>> {
        let ours = |p: &PathBuf| name_of(p).starts_with(PREFIX) && name_of(p).ends_with(SUFFIX);
        Ok(self.list()?.into_iter().filter(ours).collect())
    }

    /// Sorted, so that nothing depends on the file system's order. No folder: no files.
    fn list(&self) -> Result<Vec<PathBuf>> {
        let io = |e| Error::io(&self.0, "list the checkpoints")(e);
        let entries = match std::fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
            Err(e) => return Err(io(e)),
        };
        let paths: std::io::Result<Vec<PathBuf>> = entries.map(|e| Ok(e?.path())).collect();
        let mut paths = paths.map_err(io)?;
        paths.sort();
        Ok(paths)
    }
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|n| n.to_str()).unwrap_or_default()
}

fn step_of(path: &Path) -> Option<u64> {
    name_of(path).strip_prefix(STEP_PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()
}
