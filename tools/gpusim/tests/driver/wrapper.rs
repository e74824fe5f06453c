//! `tools/gpusim/run`: folder, options and exit code.

use std::path::Path;
use std::process::{Command, Output};

use cudarc::driver::{CudaContext, sys};

use crate::common::{CHILD, EXIT_FINDINGS, library};

fn run(options: &[&str], test: &str) -> Output {
    let hidden = options.contains(&"--no-cublaslt");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("run");
    let target = library().parent().unwrap().parent().unwrap().to_owned();
    Command::new(script)
        .args(options)
        .arg("--")
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, test)
        .env("GPUSIM_TEST_HIDDEN", hidden.to_string())
        .env("GPUSIM_LIBRARY", library())
        .env("CARGO_TARGET_DIR", target)
        .output()
        .unwrap()
}

fn child(test: &str) -> bool {
    std::env::var(CHILD).is_ok_and(|child| child == test)
}

#[test]
fn a_clean_program_reports_its_seed_and_counters() {
    const NAME: &str = "wrapper::a_clean_program_reports_its_seed_and_counters";
    if child(NAME) {
        let stream = CudaContext::new(0).unwrap().default_stream();
        assert_eq!(stream.clone_dtoh(&stream.clone_htod(&[7_u8; 64]).unwrap()).unwrap(), [7; 64]);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report-%p.json");
    let output = run(&["--seed", "5", "--leaks", "--report", report.to_str().unwrap()], NAME);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let [report] = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    assert_ne!(report.file_name().unwrap(), "report-%p.json");
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_eq!(report["seed"], 5);
    assert_eq!(report["simulated"], true);
    assert_eq!(report["findings"], serde_json::json!([]));
}

#[test]
fn a_leak_is_reported_on_demand_and_strictness_can_be_off() {
    const NAME: &str = "wrapper::a_leak_is_reported_on_demand_and_strictness_can_be_off";
    if child(NAME) {
        let _context = CudaContext::new(0).unwrap();
        let mut address = 0;
        // SAFETY: a plain call of the driver.
        unsafe { sys::cuMemAlloc_v2(&mut address, 64).result().unwrap() };
        return;
    }
    assert_eq!(run(&[], NAME).status.code(), Some(0));
    let leaky = run(&["--leaks"], NAME);
    assert_eq!(leaky.status.code(), Some(EXIT_FINDINGS));
    assert!(
        String::from_utf8_lossy(&leaky.stderr).contains("64 bytes of device memory were not freed")
    );
    assert_eq!(run(&["--leaks", "--no-strict"], NAME).status.code(), Some(0));
}

#[test]
fn cublaslt_can_be_hidden() {
    const NAME: &str = "wrapper::cublaslt_can_be_hidden";
    if child(NAME) {
        // SAFETY: opens the library and closes it again.
        let present = unsafe { cudarc::cublaslt::sys::is_culib_present() };
        assert_eq!(present, std::env::var("GPUSIM_TEST_HIDDEN").unwrap() == "false");
        return;
    }
    assert_eq!(run(&[], NAME).status.code(), Some(0));
    assert_eq!(run(&["--no-cublaslt"], NAME).status.code(), Some(0));
}
