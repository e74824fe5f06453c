//! `--record`: results in the repository, by day and machine.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::io::file;
use crate::track::wandb::date;
use crate::{Error, Result};

const RESULTS: &str = "benches/results";

/// Write `json` and `text` to files that were not there; where.
pub fn write(machine: &str, json: &Value, text: &str) -> Result<PathBuf> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    write_in(Path::new(RESULTS), &date(now.as_secs()), machine, json, text)
}

fn write_in(
    results: &Path,
    date: &str,
    machine: &str,
    json: &Value,
    text: &str,
) -> Result<PathBuf> {
    let dir = results.join(format!("{date}-{}", slug(machine)));
    file::create_dir(&dir)?;
    let mut n = 1;
    let stem = loop {
        let stem = if n == 1 { "step".to_owned() } else { format!("step-{n}") };
        if !file::exists(&dir.join(format!("{stem}.json")))? {
            break dir.join(stem);
        }
        n += 1;
    };
    let pretty = serde_json::to_string_pretty(json).map_err(|e| Error::invalid(e.to_string()))?;
    file::write(&stem.with_extension("json"), format!("{pretty}\n").as_bytes())?;
    let path = stem.with_extension("txt");
    file::write(&path, text.as_bytes())?;
    Ok(path)
}

/// Lower-case words of letters and digits, with dashes between them.
fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_lie_beside_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let cpu = "AMD EPYC 7763 64-Core Processor (x2)";
        for name in ["step", "step-2"] {
            let json = serde_json::json!({ "name": name });
            let path = write_in(dir.path(), "2026-01-02", cpu, &json, name).unwrap();
            let folder = dir.path().join("2026-01-02-amd-epyc-7763-64-core-processor-x2");
            assert_eq!(path, folder.join(format!("{name}.txt")));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), name);
            let read = std::fs::read(path.with_extension("json")).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&read).unwrap(), json);
        }
    }
}
