//! Run folders for tests.

use super::run::RunView;
use crate::run::folder::{METRICS, PLAN};

/// A folder with these two files, which lives as long as what is returned with the run.
pub fn run(plan: &str, metrics: &str) -> (tempfile::TempDir, RunView) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(PLAN), format!("preset = 'a'\n{plan}")).unwrap();
    std::fs::write(dir.path().join(METRICS), metrics).unwrap();
    let run = RunView::open(dir.path()).unwrap();
    (dir, run)
}
