//! Places that cannot be written to.

use std::path::Path;
use std::process::Command;

use crate::lab::{Lab, expect_error, expect_success};

#[test]
fn run_folder_that_cannot_be_made_is_named() {
    let lab = Lab::new();
    std::fs::write(lab.path("file"), "in the way").unwrap();
    let error = expect_error(&lab.train(&["train.max_steps=1", "--run-dir", "file/run"]));
    assert!(error.contains("file/run"), "{error}");
    let error = expect_error(&lab.train(&["train.max_steps=1", "--run-dir", "/proc/run"]));
    assert!(error.contains("/proc/run"), "{error}");
}

/// A file system of its own; unmounted on drop. `None` where that is not allowed.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(path: &'a Path, bytes: u64) -> Option<Self> {
        std::fs::create_dir(path).unwrap();
        let size = format!("size={bytes}");
        let mut command = Command::new("mount");
        let output = command.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path).output();
        output.is_ok_and(|o| o.status.success()).then_some(Self(path))
    }

    fn grow(&self, bytes: u64) {
        let size = format!("remount,size={bytes}");
        assert!(Command::new("mount").args(["-o", &size]).arg(self.0).status().unwrap().success());
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn full_disk_loses_nothing_and_the_run_goes_on_when_there_is_room() {
    let lab = Lab::new();
    let plan =
        ["train.max_steps=12", "train.checkpoint_every=1", "train.eval_every=0", "train.keep=9"];
    let whole = [&plan[..], &["--run-dir", "whole"]].concat();
    expect_success(&lab.train(&whole));
    let one = std::fs::metadata(lab.path("whole/checkpoints/hrm_arc_final.safetensors"));
    let checkpoint_bytes = one.unwrap().len();
    let place = lab.path("disk");
    let Some(disk) = SmallDisk::mount(&place, 4 * checkpoint_bytes) else {
        println!("skipped: full disk (mounting a tmpfs needs root)");
        return;
    };
    let run = [&plan[..], &["--run-dir", "disk/run"]].concat();
    let error = expect_error(&lab.train(&run));
    assert!(error.contains("earlier ones are intact"), "{error}");
    assert!(error.contains("No space left"), "{error}");
    assert_eq!(lab.checkpoints("disk/run"), ["step_1", "step_2", "step_3"], "no half-written file");
    assert_eq!(lab.digest("disk/run").len(), 64);
    disk.grow(40 * checkpoint_bytes);
    expect_success(&lab.train(&run));
    assert_eq!(lab.digest("disk/run"), lab.digest("whole"));
    assert_eq!(lab.metrics("disk/run"), lab.metrics("whole"));
}

/// Commands that print, in a lab with a trained run.
const PRINTING: &[&[&str]] = &[
    &["--help"],
    &["--version"],
    &["eval", "run"],
    &["eval", "run", "--json"],
    &["eval", "--predictions", "run/eval/predictions.jsonl", "--data", "data", "--json"],
    &["export", "run"],
    &["import", "run/export/hrm_arc_best.safetensors", "--data", "data", "--output", "imported"],
    &["plan", "sudoku-mini"],
    &["plan", "sudoku-mini", "--json"],
    &["devices"],
    &["devices", "--json"],
    &["digest", "run"],
    &["watch", "run", "--once"],
    &["watch", "run", "--json"],
    &["data", "stats", "data"],
    &["data", "stats", "data", "--json"],
    &["data", "verify", "data"],
];

#[test]
fn output_that_cannot_be_written_is_an_error_and_a_closed_pipe_is_none() {
    let lab = Lab::new();
    expect_success(&lab.train(&["train.max_steps=2", "--run-dir", "run"]));
    for args in PRINTING {
        let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = lab.command(args).stdout(full()).output().unwrap();
        let error = expect_error(&output);
        assert!(error.contains("cannot write to standard output: No space left"), "{error}");
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        // Nobody reads either of the two.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = lab.command(args);
        let status = command.stdout(writer.try_clone().unwrap()).stderr(writer).status().unwrap();
        assert!(status.success(), "{args:?}: {status}");
    }
}

#[test]
fn training_goes_on_when_nobody_reads_what_it_says() {
    let lab = Lab::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = lab.train_command(&["train.max_steps=2", "--run-dir", "run"]);
    let status = command.stdout(writer.try_clone().unwrap()).stderr(writer).status().unwrap();
    assert!(status.success(), "{status}");
    assert!(lab.path("run/eval/eval.json").exists());
    // A full disk does not end it either, but is no success.
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = lab.train_command(&["train.max_steps=2", "--run-dir", "told"]);
    let error = expect_error(&command.stdout(full).output().unwrap());
    assert!(error.contains("cannot write to standard output: No space left"), "{error}");
    assert!(lab.path("told/eval/eval.json").exists());
}

/// Folders and files that are links stay links, and what they lead to is used.
#[test]
fn links_are_followed_and_never_replaced() {
    use std::os::unix::fs::symlink;
    let lab = Lab::new();
    std::fs::create_dir(lab.path("disk")).unwrap();
    // Nothing is behind them yet.
    for name in ["run", "scores", "weights.pt"] {
        symlink(lab.path("disk").join(name), lab.path(name)).unwrap();
    }
    std::fs::create_dir_all(lab.path("disk/run")).unwrap();
    symlink("../elsewhere", lab.path("disk/run/checkpoints")).unwrap();
    let train = ["train.max_steps=2", "--run-dir", "run"];
    expect_success(&lab.train(&train));
    expect_success(&lab.hrm(&["eval", "run", "--output", "scores"]));
    expect_success(&lab.hrm(&["export", "run", "--to", "pt", "--output", "weights.pt"]));
    expect_success(&lab.hrm(&["export", "run", "--to", "pt", "--output", "weights.pt"]));
    let whole = ["run/plan.toml", "elsewhere/hrm_arc_final.safetensors", "scores/report.html"];
    for file in whole.into_iter().chain(["weights.pt"]) {
        assert!(lab.path("disk").join(file).is_file(), "{file}");
    }
    expect_success(&lab.train(&[&train[..], &["--fresh"]].concat()));
    assert!(lab.path("disk/run.old-1/plan.toml").is_file());
    assert!(lab.path("disk/run/plan.toml").is_file());
    for name in ["run", "scores", "weights.pt", "disk/run.old-1/checkpoints"] {
        assert!(std::fs::symlink_metadata(lab.path(name)).unwrap().is_symlink(), "{name}");
    }
    expect_success(&lab.hrm(&["export", "run", "--output", "/dev/null"]));
    assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    // What cannot be looked at is not taken for absent.
    symlink("loop", lab.path("loop")).unwrap();
    for args in [
        &["eval", "loop"][..],
        &["watch", "loop", "--once"],
        &["export", "loop"],
        &["data", "stats", "loop"],
        &["eval", "run", "--data", "loop"],
        &["eval", "run", "--output", "loop"],
    ] {
        let error = expect_error(&lab.hrm(args));
        assert!(error.contains("loop") && error.contains("links"), "{args:?}: {error}");
    }
    let error = expect_error(&lab.train(&["train.max_steps=1", "--run-dir", "loop"]));
    assert!(error.contains("loop: ") && error.contains("links"), "{error}");
}

#[test]
fn files_that_are_something_else_or_too_long_are_not_read_whole() {
    let lab = Lab::new();
    let sparse = |name: &str, head: &[u8]| {
        std::fs::write(lab.path(name), head).unwrap();
        let file = std::fs::File::options().write(true).open(lab.path(name)).unwrap();
        file.set_len(5 << 30).unwrap();
    };
    sparse("zeros", b"");
    sparse("archive", b"PK\x03\x04");
    sparse("object", b"{");
    for (args, what) in [
        (&["import", "zeros"][..], "is neither safetensors nor a file of torch.save"),
        (&["import", "archive"], "is longer than the 4096 MiB that weights may have"),
        (&["eval", "--data", "data", "--predictions", "zeros"], "is not a file of predictions"),
        (&["eval", "--data", "data", "--predictions", "object"], "is longer than the 2048 MiB"),
    ] {
        let error = expect_error(&lab.hrm(args));
        assert!(error.contains(what), "{args:?}: {error}");
    }
}
