use std::fs;
use std::path::Path;

use crate::{refusal, stdout, tool};

/// Every file of the repository's results, with its length.
fn results() -> Vec<(String, u64)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results");
    let Ok(entries) = fs::read_dir(dir) else { return vec![] };
    let mut all: Vec<_> = entries
        .map(|e| {
            let e = e.unwrap();
            (e.file_name().to_string_lossy().into_owned(), e.metadata().unwrap().len())
        })
        .collect();
    all.sort();
    all
}

#[test]
fn without_a_card_it_refuses_and_changes_nothing() {
    let (dir, before) = (tempfile::tempdir().unwrap(), results());
    let error = refusal("on-gpu", &[], dir.path());
    assert!(error.contains("no NVIDIA driver here"), "{error}");
    assert!(error.contains("nothing was changed"), "{error}");
    assert_eq!(results(), before);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_dry_run_names_every_step_and_runs_none() {
    let (dir, before) = (tempfile::tempdir().unwrap(), results());
    let text = stdout("on-gpu", &["--dry-run"], dir.path());
    for command in [
        "tools/cuda-toolchain",
        "cargo build --release --locked --features cuda",
        "--test ops --test models --test kernels",
        "cargo bench --features cuda --bench ops -- --device cuda --csv",
        "hrm bench --device cuda --json",
        "tools/baseline/hrm.py --bench --device cuda --json",
        "hrm train sudoku-mini --device cuda",
        "hrm plan arc1 --card",
        "nvidia-smi",
    ] {
        assert!(text.contains(command), "{command} is missing:\n{text}");
    }
    assert!(text.contains("benches/results/") && text.contains("nothing was run"), "{text}");
    assert_eq!(results(), before);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    assert!(tool("on-gpu").exists());
}

#[test]
fn help_and_unknown_options() {
    let dir = tempfile::tempdir().unwrap();
    assert!(stdout("on-gpu", &["--help"], dir.path()).contains("--dry-run"));
    assert!(refusal("on-gpu", &["--fast"], dir.path()).contains("unknown option --fast"));
}
