//! A Weights & Biases offline run, as `wandb sync` takes it: `wandb/offline-run-DATE_TIME-ID/` with
//! `run-ID.wandb`, `files/` and `logs/debug.log`, and the link `wandb/latest-run`. No account and
//! no network is involved. A resumed run writes a folder of its own under the same ID.
//!
//! `media.rs` pictures · `records.rs` the messages · `blocks.rs` how they lie in the file.

mod blocks;
mod media;
mod records;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::{Error, Result};
use blocks::Blocks;
use records::{Item, Record, Timestamp, What};

/// Where offline runs go unless `WANDB_DIR` says otherwise.
const DIR: &str = "wandb";
const PROJECT: &str = "hrm";

/// What identifies a run.
pub struct Identity<'a> {
    /// Eight letters and digits, the same for all parts of an interrupted run.
    pub id: &'a str,
    pub name: &'a str,
    /// Steps made before this part.
    pub step: u64,
    pub config: &'a Map<String, Value>,
}

/// Later than any date of four digits.
const YEAR_10000_S: u64 = 253_402_300_800;

pub struct Wandb {
    dir: PathBuf,
    blocks: Blocks,
    records: i64,
    log: File,
    /// Unix time of the part's name, and when that was.
    start_s: u64,
    started: Instant,
    /// W&B knows one line per step: lines of a step are collected until another one begins.
    pending: Option<(u64, Map<String, Value>)>,
    summary: Map<String, Value>,
}

/// The folder of offline runs: `$WANDB_DIR/wandb` or `./wandb`; `None` if `WANDB_MODE=disabled`.
pub fn root() -> Option<PathBuf> {
    let disabled = std::env::var("WANDB_MODE").is_ok_and(|mode| mode == "disabled");
    let dir = std::env::var_os("WANDB_DIR").map(PathBuf::from).unwrap_or_default();
    (!disabled).then(|| dir.join(DIR))
}

impl Wandb {
    pub fn create(root: &Path, run: &Identity) -> Result<Self> {
        let (dir, start_s) = new_dir(root, run.id)?;
        let started = Instant::now();
        for part in ["files", "logs"] {
            let part = dir.join(part);
            std::fs::create_dir(&part).map_err(Error::io(&part, "create folder"))?;
        }
        let log = debug_log(&dir);
        let log = File::create_new(&log).map_err(Error::io(&log, "create"))?;
        let blocks = Blocks::create(&dir.join(format!("run-{}.wandb", run.id)))?;
        let mut wandb = Self {
            dir,
            blocks,
            records: 0,
            log,
            start_s,
            started,
            pending: None,
            summary: Map::new(),
        };
        wandb.write(What::Header(records::Header {}))?;
        let config = run.config.iter().map(|(key, value)| Item::new(key, value)).collect();
        wandb.write(What::Run(records::Run {
            run_id: run.id.into(),
            project: PROJECT.into(),
            config: Some(records::Update { update: config }),
            display_name: run.name.into(),
            starting_step: run.step as i64,
            start_time: Some(Timestamp::of(Duration::from_secs(start_s))),
            resumed: run.step > 0,
        }))?;
        link_latest(root, &wandb.dir)?;
        Ok(wandb)
    }

    /// A line of history; what it holds becomes the summary.
    pub fn history(&mut self, step: u64, line: &Map<String, Value>) -> Result<()> {
        if self.pending.as_ref().is_some_and(|(of, _)| *of != step) {
            self.flush()?;
        }
        let (_, pending) = self.pending.get_or_insert_with(|| (step, Map::new()));
        pending.extend(line.clone());
        Ok(())
    }

    /// Write the lines of the last step.
    pub fn flush(&mut self) -> Result<()> {
        let Some((step, mut line)) = self.pending.take() else { return Ok(()) };
        line.insert("_step".into(), json!(step));
        line.insert("_runtime".into(), json!(self.runtime_s()));
        line.insert("_timestamp".into(), json!(self.now().as_secs_f64()));
        let item = line.iter().map(|(key, value)| Item::new(key, value)).collect();
        let step = Some(records::Step { num: step as i64 });
        self.write(What::History(records::History { item, step }))?;
        self.summary.extend(line);
        Ok(())
    }

    /// Machine load: names as W&B's charts know them.
    pub fn system(&mut self, line: &[(String, f64)]) -> Result<()> {
        let item = line
            .iter()
            .map(|(key, value)| records::StatsItem {
                key: key.clone(),
                value_json: value.to_string(),
            })
            .collect();
        let timestamp = Some(Timestamp::of(self.now()));
        self.write(What::Stats(records::Stats { timestamp, item }))
    }

    /// A line of the program's output; also in `logs/debug.log`, which people follow.
    pub fn output(&mut self, text: &str) -> Result<()> {
        let line = format!("{} {text}\n", date_time(self.now().as_secs()));
        let written = self.log.write_all(line.as_bytes());
        written.map_err(Error::io(debug_log(&self.dir), "write"))?;
        self.write(What::OutputRaw(records::OutputRaw {
            output_type: records::STDOUT,
            timestamp: Some(Timestamp::of(self.now())),
            line: format!("{text}\n"),
        }))
    }

    /// Summary and exit status: the run is complete.
    pub fn finish(&mut self, exit_code: i32) -> Result<()> {
        self.flush()?;
        let update = self.summary.iter().map(|(key, value)| Item::new(key, value)).collect();
        self.write(What::Summary(records::Update { update }))?;
        let path = self.dir.join("files").join("wandb-summary.json");
        let text = Value::Object(self.summary.clone()).to_string();
        std::fs::write(&path, text).map_err(Error::io(&path, "write"))?;
        let runtime = self.runtime_s() as i32;
        self.write(What::Exit(records::Exit { exit_code, runtime }))
    }

    fn write(&mut self, what: What) -> Result<()> {
        self.records += 1;
        self.blocks.write(&Record::new(self.records, what))
    }

    fn runtime_s(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Since 1970, by the clock at the start of this part: it may be set in between.
    fn now(&self) -> Duration {
        Duration::from_secs(self.start_s) + self.started.elapsed()
    }
}

fn debug_log(dir: &Path) -> PathBuf {
    dir.join("logs").join("debug.log")
}

/// Parts that a run has in the folder of offline runs.
pub fn parts(root: &Path, id: &str) -> Result<usize> {
    let io = |e| Error::io(root, "list the W&B runs")(e);
    let mut parts = 0;
    match std::fs::read_dir(root) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        entries => {
            for entry in entries.map_err(io)? {
                let name = entry.map_err(io)?.file_name();
                let name = name.to_string_lossy();
                parts += (name.starts_with("offline-run-") && name.ends_with(id)) as usize;
            }
        }
    }
    Ok(parts)
}

/// `offline-run-YYYYMMDD_HHMMSS-ID`, in UTC, and its Unix time: now, but after all earlier parts of
/// the run, for a clock may have been set back since.
fn new_dir(root: &Path, id: &str) -> Result<(PathBuf, u64)> {
    std::fs::create_dir_all(root).map_err(Error::io(root, "create the folder of W&B runs"))?;
    let io = |e| Error::io(root, "list the W&B runs")(e);
    let name = |at: u64| format!("offline-run-{}-{id}", date_time(at));
    let mut at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    for entry in std::fs::read_dir(root).map_err(io)? {
        let earlier = entry.map_err(io)?.file_name();
        let earlier = earlier.to_str().filter(|n| n.len() == name(at).len() && n.ends_with(id));
        if let Some(earlier) = earlier.filter(|earlier| *earlier >= &name(at)[..]) {
            at = after(earlier, at, name);
        }
    }
    let dir = root.join(name(at));
    std::fs::create_dir(&dir).map_err(Error::io(&dir, "create the W&B run"))?;
    Ok((dir, at))
}

/// The first second from `from` on whose `name` is greater: names grow with time.
fn after(earlier: &str, from: u64, name: impl Fn(u64) -> String) -> u64 {
    let (mut low, mut high) = (from, YEAR_10000_S);
    while low < high {
        let middle = low + (high - low) / 2;
        match &name(middle)[..] <= earlier {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    low
}

/// `YYYY-MM-DD` of a Unix time.
pub fn date(unix_s: u64) -> String {
    let all = date_time(unix_s);
    format!("{}-{}-{}", &all[..4], &all[4..6], &all[6..8])
}

/// `YYYYMMDD_HHMMSS` of a Unix time. The date by Hinnant's `civil_from_days`.
fn date_time(unix_s: u64) -> String {
    let (days, s) = ((unix_s / 86_400) as i64, unix_s % 86_400);
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}_{:02}{:02}{:02}", s / 3600, s / 60 % 60, s % 60)
}

/// `latest-run` points at the newest run, as the W&B client leaves it.
fn link_latest(root: &Path, dir: &Path) -> Result<()> {
    #[cfg(unix)]
    if let Some(name) = dir.file_name() {
        let (link, new) = (root.join("latest-run"), root.join(".latest-run"));
        let linked = std::fs::remove_file(&new)
            .or_else(|e| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
            .and_then(|()| std::os::unix::fs::symlink(name, &new))
            .and_then(|()| std::fs::rename(&new, &link));
        linked.map_err(Error::io(&link, "link to the newest run"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // `date -u -d @N +%Y%m%d_%H%M%S`
        for (unix_s, want) in [
            (0, "19700101_000000"),
            (951_782_399, "20000228_235959"),
            (951_868_799, "20000229_235959"),
            (1_709_251_199, "20240229_235959"),
            (1_767_225_600, "20260101_000000"),
        ] {
            assert_eq!(date_time(unix_s), want);
        }
    }

    #[test]
    fn a_part_stands_after_earlier_ones_though_the_clock_was_set_back() {
        let root = tempfile::tempdir().unwrap();
        let config = Map::new();
        let run = Identity { id: "abcd1234", name: "x", step: 0, config: &config };
        for day in ["20990227_235958", "20990228_235959"] {
            std::fs::create_dir(root.path().join(format!("offline-run-{day}-abcd1234"))).unwrap();
        }
        let other = root.path().join("offline-run-21000101_000000-other123");
        std::fs::create_dir(other).unwrap();
        let part = Wandb::create(root.path(), &run).unwrap();
        assert_eq!(part.dir.file_name().unwrap(), "offline-run-20990301_000000-abcd1234");
        assert_eq!(date_time(part.now().as_secs()), "20990301_000000");
    }

    #[test]
    fn a_second_run_in_the_same_second_gets_its_own_folder_and_the_link() {
        let root = tempfile::tempdir().unwrap();
        let config = Map::new();
        let run = Identity { id: "abcd1234", name: "x", step: 0, config: &config };
        let first = Wandb::create(root.path(), &run).unwrap();
        let second = Wandb::create(root.path(), &run).unwrap();
        assert_ne!(first.dir, second.dir);
        let link = root.path().join("latest-run").canonicalize().unwrap();
        assert_eq!(link, second.dir.canonicalize().unwrap());
    }
}
