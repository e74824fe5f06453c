//! The scripts of `tools/` that predict, profile, search, hold tasks out and run on a real card:
//! their arithmetic on inputs made here, and their refusals on a machine that has neither profiler
//! nor card.

mod first_contact;
mod on_gpu;
mod profile;
mod roofline;
mod search;
mod unseen;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn tool(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(name)
}

/// Runs a script with all that it needs, and nothing of NVIDIA, wherever this machine keeps it.
fn run(name: &str, args: &[&str], dir: &Path) -> Output {
    let bin = tempfile::tempdir().unwrap();
    for command in ["env", "git", "python3"] {
        std::os::unix::fs::symlink(real(command), bin.path().join(command)).unwrap();
    }
    Command::new(tool(name))
        .args(args)
        .current_dir(dir)
        .env("PATH", bin.path())
        .output()
        .unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Where a command lies; of Python not the launcher that may stand before it.
fn real(command: &str) -> PathBuf {
    if command == "python3" {
        let asked =
            Command::new(command).args(["-c", "import sys; print(sys.executable)"]).output();
        return text(&asked.expect("python3").stdout).trim().into();
    }
    let path = std::env::var_os("PATH").expect("PATH");
    let found = std::env::split_paths(&path).map(|dir| dir.join(command)).find(|f| f.exists());
    found.unwrap_or_else(|| panic!("{command} is not on the path"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn stdout(name: &str, args: &[&str], dir: &Path) -> String {
    let output = run(name, args, dir);
    assert!(output.status.success(), "{name} {args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn refusal(name: &str, args: &[&str], dir: &Path) -> String {
    let output = run(name, args, dir);
    assert!(!output.status.success(), "{name} {args:?} should fail: {}", text(&output.stdout));
    text(&output.stderr)
}
