//! Writes a data set folder: everything goes to a temporary sibling, which is renamed when it is
//! whole. What a reader can see is either the old data set, or none, or the new one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::manifest::{self, Manifest, Split};
use super::shard::{Spec, Writer};
use crate::io::file;
use crate::{Error, Result};

pub const BLANK_NAME: &str = "<blank>";

pub struct Output {
    target: PathBuf,
    staging: tempfile::TempDir,
    spec: Spec,
    provenance: serde_json::Value,
    splits: BTreeMap<String, Split>,
}

impl Output {
    /// `provenance`: builder, options and sources, as they go into every shard.
    pub fn create(target: &Path, spec: Spec, provenance: serde_json::Value) -> Result<Self> {
        let staging = stage(target, manifest::FILE, "data set")?;
        Ok(Self { target: target.to_owned(), staging, spec, provenance, splits: BTreeMap::new() })
    }

    pub fn writer(&self, split: &str) -> Result<Writer> {
        Writer::create(&self.staging.path().join(shard_name(split)), self.spec)
    }

    pub fn finish_split(&mut self, split: &str, writer: Writer) -> Result<()> {
        let written = writer.finish(&self.provenance.to_string())?;
        self.splits.insert(split.to_owned(), Split::new(shard_name(split), &written));
        Ok(())
    }

    /// `names` of the puzzle ids from 1 on; the blank one is added. Puts the folder in place.
    pub fn finish(self, names: &[String]) -> Result<Manifest> {
        let all: Vec<&str> =
            std::iter::once(BLANK_NAME).chain(names.iter().map(String::as_str)).collect();
        let json = serde_json::to_vec(&all).map_err(|e| Error::invalid(e.to_string()))?;
        let dir = self.staging.path();
        file::write(&dir.join(manifest::IDENTIFIERS_FILE), &json)?;
        let digest = blake3::hash(&json).to_hex().to_string();
        let manifest = Manifest::new(self.spec, all.len(), digest, self.splits, self.provenance);
        manifest.write(dir)?;
        put_in_place(self.staging, &self.target)?;
        Ok(manifest)
    }
}

fn shard_name(split: &str) -> String {
    format!("{split}.shard")
}

/// A temporary sibling of `target`. An existing target is only ever replaced if it is empty or
/// holds `marker`, that is, if it was made by the same command.
pub(super) fn stage(target: &Path, marker: &str, what: &str) -> Result<tempfile::TempDir> {
    if target.is_dir() {
        let empty = fs::read_dir(target).map_err(Error::io(target, "read"))?.next().is_none();
        if !empty && !target.join(marker).exists() {
            return Err(Error::invalid(format!(
                "{}: exists and is no {what} (it has no {marker}): choose another output folder",
                target.display()
            )));
        }
    } else if target.exists() {
        return Err(Error::invalid(format!("{}: is a file, not a folder", target.display())));
    }
    let Some(name) = target.file_name() else {
        return Err(Error::invalid(format!("{}: is not a folder name", target.display())));
    };
    let parent = parent(target);
    fs::create_dir_all(parent).map_err(Error::io(parent, "create folder"))?;
    tempfile::Builder::new()
        .prefix(&format!(".{}.unfinished-", name.to_string_lossy()))
        .tempdir_in(parent)
        .map_err(Error::io(parent, "create folder in"))
}

/// Renames the staged folder to `target`; a folder that was there goes only after that.
pub(super) fn put_in_place(staging: tempfile::TempDir, target: &Path) -> Result<()> {
    let parent = parent(target);
    make_accessible(staging.path())?;
    file::sync_dir(staging.path())?;
    if target.exists() {
        let old = tempfile::tempdir_in(parent).map_err(Error::io(parent, "create folder in"))?;
        fs::rename(target, old.path().join("old")).map_err(Error::io(target, "move aside"))?;
    }
    fs::rename(staging.path(), target).map_err(Error::io(target, "rename into place"))?;
    // The folder has moved: there is nothing left for the guard to delete.
    let _ = staging.keep();
    file::sync_dir(parent)
}

fn parent(target: &Path) -> &Path {
    target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn make_accessible(dir: &Path) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(dir, mode).map_err(Error::io(dir, "set permissions"))?;
    }
    Ok(())
}
