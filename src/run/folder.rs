//! The folder of a run, and which one a plan goes to: the named one, the newest unfinished run of
//! the same plan, or a new one. While a process trains in a folder it holds a lock that the system
//! releases when the process ends, however it ends.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::checkpoint::Folder;
use super::plan::Plan;
use crate::config::RunConfig;
use crate::io::file;
use crate::io::say::say;
use crate::{Error, Result};

pub const PLAN: &str = "plan.toml";
pub const METRICS: &str = "metrics.jsonl";
pub const LOG: &str = "train.log";
pub const LOCK: &str = "lock";
/// How many steps the run will make.
pub const STEPS: &str = "steps";
const ID: &str = "id";
const ID_LEN: usize = 8;
pub const CHECKPOINTS: &str = "checkpoints";
/// Where its evaluation goes.
pub const EVALUATION: &str = "eval";

pub struct RunFolder {
    dir: PathBuf,
    pub checkpoints: Folder,
    _lock: File,
}

impl RunFolder {
    /// `root` is where unnamed runs live. `fresh`: never continue; an old run in the named folder
    /// is moved aside, not deleted. A run that goes on keeps its values of the keys that are
    /// `open`, which nobody set, and the plan takes them.
    pub fn choose<C: RunConfig>(
        root: &Path,
        named: Option<&Path>,
        fresh: bool,
        plan: &mut Plan<C>,
        open: &[&str],
    ) -> Result<Self> {
        match named {
            Some(dir) if fresh => {
                // `.` would lead to where the old run was moved.
                let dir = std::path::absolute(dir).map_err(Error::io(dir, "resolve the path"))?;
                move_aside(&dir)?;
                Self::open(&dir)
            }
            Some(dir) => {
                // Its checkpoints say what differs if the plan beside them cannot be read.
                if let Ok(stored) = fs::read_to_string(dir.join(PLAN)) {
                    let _ = plan.keep(open, &stored);
                }
                Self::open(dir)
            }
            None => {
                let preset = plan.config.preset();
                let runs = numbered(root, preset)?;
                for (_, dir) in runs.iter().rev().filter(|_| !fresh) {
                    match unfinished(dir, plan, open) {
                        Ok(Some(same)) => {
                            *plan = same;
                            return Self::open(dir);
                        }
                        Ok(None) => {}
                        Err(e) => say!("passed over: {e}"),
                    }
                }
                Self::create(root, preset, runs.last().map_or(1, |(n, _)| n + 1))
            }
        }
    }

    fn create(root: &Path, preset: &str, mut n: u64) -> Result<Self> {
        file::create_dir(root)?;
        loop {
            let dir = root.join(format!("{preset}-{n}"));
            match fs::create_dir(&dir) {
                Ok(()) => return Self::open(&dir),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => n += 1,
                Err(e) => return Err(Error::io(&dir, "create the run folder")(e)),
            }
        }
    }

    fn open(dir: &Path) -> Result<Self> {
        let checkpoints = dir.join(CHECKPOINTS);
        file::create_dir(dir)?;
        file::create_dir(&checkpoints)?;
        let lock = lock(dir)?;
        let checkpoints = Folder::new(checkpoints);
        checkpoints.clean()?;
        Folder::new(dir).clean()?;
        Ok(Self { dir: dir.to_owned(), checkpoints, _lock: lock })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn metrics(&self) -> PathBuf {
        self.dir.join(METRICS)
    }

    /// TensorBoard's files.
    pub fn events(&self) -> PathBuf {
        self.dir.join("tensorboard")
    }

    /// What the run is called elsewhere, the same after an interruption: eight letters and digits.
    pub fn id(&self) -> Result<String> {
        let path = self.dir.join(ID);
        match fs::read_to_string(&path) {
            Ok(id) if id.len() == ID_LEN && id.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                return Ok(id);
            }
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(&path, "read the run's id")(e));
            }
            _ => {}
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seed = format!("{} {} {}", self.dir.display(), std::process::id(), now.as_nanos());
        let id = blake3::hash(seed.as_bytes()).to_hex()[..ID_LEN].to_owned();
        fs::write(&path, &id).map_err(Error::io(&path, "write the run's id"))?;
        Ok(id)
    }

    pub fn log(&self) -> PathBuf {
        self.dir.join(LOG)
    }

    /// For onlookers: a plan may count epochs, of data that they do not have.
    pub fn store_steps(&self, total: u64) -> Result<()> {
        let path = self.dir.join(STEPS);
        file::write(&path, format!("{total}\n").as_bytes())
    }

    pub fn store<C: RunConfig>(&self, plan: &Plan<C>) -> Result<()> {
        let path = self.dir.join(PLAN);
        let text = plan.to_toml()?;
        file::write(&path, text.as_bytes())
    }
}

/// Unnamed runs of a preset, by number.
fn numbered(root: &Path, preset: &str) -> Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        Err(e) => return Err(Error::io(root, "list the runs")(e)),
    };
    let mut runs = vec![];
    for entry in entries {
        let path = entry.map_err(Error::io(root, "list the runs"))?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let number = name.strip_prefix(preset).and_then(|rest| rest.strip_prefix('-'));
        if let Some(n) = number.and_then(|n| n.parse().ok()) {
            runs.push((n, path));
        }
    }
    runs.sort();
    Ok(runs)
}

/// The plan of an unfinished run that does what `plan` would, but for keys that are `open`.
fn unfinished<C: RunConfig>(dir: &Path, plan: &Plan<C>, open: &[&str]) -> Result<Option<Plan<C>>> {
    if !is_run(dir)? {
        return Ok(None);
    }
    let path = dir.join(PLAN);
    let stored = fs::read_to_string(&path).map_err(Error::io(&path, "read the plan"))?;
    let mut plan = plan.clone();
    let same = plan.keep(open, &stored).and_then(|()| plan.differences(&stored));
    let same = same.is_ok_and(|differences| differences.is_empty());
    Ok((same && !Folder::new(dir.join(CHECKPOINTS)).has_final()?).then_some(plan))
}

/// Whether a folder holds a run.
pub fn is_run(dir: &Path) -> Result<bool> {
    file::exists(&dir.join(PLAN))
}

fn lock(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK);
    let io = || Error::io(&path, "lock the run folder");
    let mut options = File::options();
    let mut file =
        options.read(true).write(true).create(true).truncate(false).open(&path).map_err(io())?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            let _ = file.read_to_string(&mut owner);
            return Err(Error::invalid(format!(
                "{}: process {} is training here: wait for it, or start another run with --fresh \
                 or --run-dir",
                dir.display(),
                owner.trim()
            )));
        }
        Err(TryLockError::Error(e)) => return Err(io()(e)),
    }
    file.set_len(0).and_then(|_| file.rewind()).map_err(io())?;
    writeln!(file, "{}", std::process::id()).map_err(io())?;
    Ok(file)
}

/// `run` becomes `run.old-<n>`, if it is one; of a link, what it leads to.
fn move_aside(dir: &Path) -> Result<()> {
    if !is_run(dir)? {
        return Ok(());
    }
    drop(lock(dir)?);
    let dir = dir.canonicalize().map_err(Error::io(dir, "follow link"))?;
    let name = dir.file_name().and_then(|n| n.to_str()).unwrap_or("run");
    let mut n = 1;
    let aside = loop {
        let aside = dir.with_file_name(format!("{name}.old-{n}"));
        if fs::symlink_metadata(&aside).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
            break aside;
        }
        n += 1;
    };
    fs::rename(&dir, &aside).map_err(Error::io(&dir, "move the old run aside"))
}
