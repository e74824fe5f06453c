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
const PRINTING: [&[&str]; 6] = [
    &["--help"],
    &["eval", "run", "--json"],
    &["plan", "sudoku-mini"],
    &["devices"],
    &["digest", "run"],
    &["data", "stats", "data"],
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
