//! A workload in a process of its own, in which the simulator is the driver, and what it reports.

use std::fmt;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

/// What a child runs: a workload or scene (with its bug), or all of them (without).
pub const PART: &str = "HRM_MUTATIONS_PART";
pub const ALL: &str = "all workloads";
pub const SCENES: &str = "all scenes";
/// The test that reads it.
const CHILD_TEST: &str = "workloads_agree_with_the_cpu";

/// A line of a source file.
#[derive(Deserialize, PartialEq)]
pub struct Place {
    pub file: String,
    pub line: u32,
}

#[derive(Deserialize)]
pub struct Finding {
    pub kind: String,
    /// The later one, where two operations are in conflict; the text names both.
    pub kernel: String,
    pub text: String,
    #[serde(flatten)]
    pub place: Place,
    /// Callers of an inlined function, innermost first.
    #[serde(default)]
    pub callers: Vec<Place>,
}

#[derive(Deserialize)]
struct Report {
    simulated: bool,
    findings: Vec<Counted>,
}

#[derive(Deserialize)]
struct Counted {
    finding: Finding,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.file.rsplit('/').next().unwrap_or("");
        write!(f, "{name}:{}", self.line)
    }
}

impl Finding {
    /// Whether it is about this kernel or call.
    pub fn names(&self, kernel: &str) -> bool {
        self.kernel.contains(kernel) || self.text.contains(kernel)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} at {}", self.kind, self.kernel, self.place)?;
        self.callers.iter().try_for_each(|caller| write!(f, " from {caller}"))
    }
}

pub struct Outcome {
    pub success: bool,
    pub findings: Vec<Finding>,
    /// All that the child printed.
    pub text: String,
}

/// Run `part` with the kernels in `ptx` where there are any.
pub fn run(part: &str, seed: u64, ptx: Option<&Path>) -> Outcome {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let report = folder.path().join("report.json");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args([CHILD_TEST, "--exact", "--nocapture", "--test-threads=1"])
        .env(PART, part)
        .env("HRM_GUARD_BYTES", "256")
        .env("HRM_GEMM", "own")
        .env("RAYON_NUM_THREADS", "1")
        .env("RUST_BACKTRACE", "0")
        .env("GPUSIM_SEED", seed.to_string())
        .env("GPUSIM_STRICT", "1")
        .env("GPUSIM_MEMORY", (1_u64 << 30).to_string())
        .env("GPUSIM_REPORT", &report)
        .env_remove("HRM_KERNELS_DIR");
    if let Some(ptx) = ptx {
        command.env("HRM_KERNELS_DIR", ptx);
    }
    let output = command.output().expect("a child process");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let report = std::fs::read(&report)
        .unwrap_or_else(|e| panic!("{part}: no report of the simulator ({e}):\n{text}"));
    let report: Report = serde_json::from_slice(&report).expect("a report");
    assert!(report.simulated);
    Outcome {
        success: output.status.success(),
        findings: report.findings.into_iter().map(|c| c.finding).collect(),
        text: text.into_owned(),
    }
}
