//! Runs a test's body in a child process in which `libcuda.so` is the simulator.
//!
//! The test calls [`simulate`] with its own path; the child is this test program again, told to run
//! just that test.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

/// Names the test whose body a child process is to run.
pub const CHILD: &str = "GPUSIM_TEST_CHILD";
pub const EXIT_FINDINGS: i32 = 86;

pub struct Outcome {
    pub code: Option<i32>,
    pub stderr: String,
}

impl Outcome {
    /// No finding, no failure.
    pub fn clean(&self) {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
    }

    /// Findings, and one of them says `text`.
    pub fn found(&self, text: &str) {
        assert_eq!(self.code, Some(EXIT_FINDINGS), "{}", self.stderr);
        let says = |line: &str| line.starts_with("gpusim: ") && line.contains(text);
        assert!(self.stderr.lines().any(says), "no finding says `{text}`:\n{}", self.stderr);
    }
}

/// The simulator's library, which cargo builds beside the test programs.
pub fn library() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let deps = program.parent().unwrap();
    let candidates = [deps.join("libgpusim.so"), deps.parent().unwrap().join("libgpusim.so")];
    candidates
        .into_iter()
        .find(|path| path.exists())
        .expect("cargo builds the cdylib with the tests")
}

/// Run `body` under the simulator with `environment`; `None` in the child itself.
pub fn simulate_with(
    test: &str,
    environment: &[(&str, String)],
    body: impl FnOnce(),
) -> Option<Outcome> {
    if std::env::var(CHILD).is_ok_and(|child| child == test) {
        body();
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    for name in ["libcuda.so", "libcublasLt.so", "libnccl.so"] {
        symlink(library(), folder.path().join(name)).unwrap();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, test)
        .env("LD_LIBRARY_PATH", folder.path())
        .env("GPUSIM_MEMORY", (1_u64 << 30).to_string())
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    Some(Outcome { code: output.status.code(), stderr })
}

/// Run `body` once for each seed and let `check` judge.
pub fn simulate(
    test: &str,
    seeds: std::ops::Range<u64>,
    body: impl Fn(),
    check: impl Fn(&Outcome),
) {
    for seed in seeds {
        match simulate_with(test, &[("GPUSIM_SEED", seed.to_string())], &body) {
            Some(outcome) => check(&outcome),
            None => return,
        }
    }
}
