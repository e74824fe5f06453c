//! Writes a data set folder: everything goes to a temporary sibling, which is renamed when it is
//! whole. What a reader can see is either the old data set, or none, or the new one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::manifest::{self, Manifest, Split};
use super::shard::{Spec, Writer};
use crate::io::file;
use crate::{Error, Result};

pub const BLANK_NAME: &str = "<blank>";

pub struct Output {
    staging: Staging,
    spec: Spec,
    provenance: serde_json::Value,
    splits: BTreeMap<String, Split>,
}

impl Output {
    /// `provenance`: builder, options and sources, as they go into every shard.
    pub fn create(target: &Path, spec: Spec, provenance: serde_json::Value) -> Result<Self> {
        let staging = stage(target, manifest::FILE, "data set")?;
        Ok(Self { staging, spec, provenance, splits: BTreeMap::new() })
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
        put_in_place(self.staging)?;
        Ok(manifest)
    }
}

fn shard_name(split: &str) -> String {
    format!("{split}.shard")
}

/// A folder that is being filled, beside the place where it will stand.
pub(super) struct Staging {
    dir: tempfile::TempDir,
    /// Where the folder will stand: links are followed.
    target: PathBuf,
    /// Tells other processes that somebody still works here; ends with the process.
    _lock: File,
}

impl Staging {
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// A temporary sibling of `target`. An existing target is only ever replaced if it is empty or
/// holds `marker`, that is, if it was made by the same command. What an ended process left
/// unfinished beside it is removed.
pub(super) fn stage(target: &Path, marker: &str, what: &str) -> Result<Staging> {
    let target = file::followed(target).map_err(Error::io(target, "follow link"))?;
    if file::exists(&target)? && !target.is_dir() {
        return Err(Error::invalid(format!("{}: is a file, not a folder", target.display())));
    }
    if file::exists(&target)? {
        let empty = fs::read_dir(&target).map_err(Error::io(&target, "read"))?.next().is_none();
        if !empty && !file::exists(&target.join(marker))? {
            return Err(Error::invalid(format!(
                "{}: exists and is no {what} (it has no {marker}): choose another output folder",
                target.display()
            )));
        }
    }
    let Some(name) = target.file_name() else {
        return Err(Error::invalid(format!("{}: is not a folder name", target.display())));
    };
    let parent = parent(&target);
    file::create_dir(parent)?;
    let prefix = format!(".{}.unfinished-", name.to_string_lossy());
    remove_leftovers(parent, &prefix);
    // Who removes leftovers may come between making and locking a folder: then another is made.
    loop {
        let dir = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent);
        let dir = dir.map_err(Error::io(parent, "create folder in"))?;
        let Ok(lock) = File::open(dir.path()) else { continue };
        lock.lock().map_err(Error::io(dir.path(), "lock"))?;
        if dir.path().is_dir() {
            return Ok(Staging { dir, target, _lock: lock });
        }
    }
}

/// Folders whose lock nobody holds: their process was killed. What cannot be removed stays.
fn remove_leftovers(parent: &Path, prefix: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let unfinished = entry.file_name().to_string_lossy().starts_with(prefix);
        let held = || File::open(entry.path()).and_then(|f| Ok(f.try_lock().map(|()| f)?)).is_err();
        if unfinished && !held() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Renames the staged folder to its target; a folder that was there goes only after that.
pub(super) fn put_in_place(staging: Staging) -> Result<()> {
    let Staging { dir, target, _lock } = staging;
    let parent = parent(&target);
    make_accessible(dir.path())?;
    file::sync_dir(dir.path())?;
    let mut old = None;
    if file::exists(&target)? {
        let aside = tempfile::tempdir_in(parent).map_err(Error::io(parent, "create folder in"))?;
        fs::rename(&target, aside.path().join("old")).map_err(Error::io(&target, "move aside"))?;
        old = Some(aside);
    }
    fs::rename(dir.path(), &target).map_err(Error::io(&target, "rename into place"))?;
    // The folder has moved: there is nothing left for the guard to delete.
    let _ = dir.keep();
    drop(old);
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
