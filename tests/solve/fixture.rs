//! Tasks with known pairs, a data set of them and a checkpoint that `hrm train` made, in a folder.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::{Value, json};

/// One command of the real binary in `dir`, without a terminal.
pub fn hrm(dir: &Path, args: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hrm"));
    command.current_dir(dir).args(args).env("WANDB_MODE", "disabled").output().unwrap()
}

/// stdout and stderr of a command that must succeed.
pub fn succeed(dir: &Path, args: &[&str]) -> (String, String) {
    let output = hrm(dir, args);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

pub fn refusal(dir: &Path, args: &[&str]) -> String {
    let output = hrm(dir, args);
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn json_of(dir: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&succeed(dir, args).0).unwrap()
}

fn pair(input: Value, output: Value) -> Value {
    json!({ "input": input, "output": output })
}

/// Task `number`: each colour becomes the next one.
pub fn task(number: u8) -> Value {
    let next = |rows: [[u8; 2]; 2]| rows.map(|row| row.map(|c| (c + 1) % 10));
    let example = |shift: u8| {
        let rows = [[number, shift], [shift, (number + shift) % 10]];
        pair(json!(rows), json!(next(rows)))
    };
    json!({ "train": [example(1), example(2), example(3)], "test": [example(4)] })
}

/// A task that no data set here holds: every cell becomes colour 5.
pub fn unseen() -> Value {
    let example = |a: u8, b: u8| pair(json!([[a, b, a]]), json!([[5, 5, 5]]));
    json!({ "train": [example(1, 2), example(3, 4)], "test": [example(6, 7)] })
}

pub fn write(path: &Path, task: &Value) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, task.to_string()).unwrap();
}

pub struct Lab {
    folder: tempfile::TempDir,
}

impl Lab {
    /// Tasks `t0` and `t1` (training) and `e2` (evaluation), built with 3 variants each on a canvas
    /// of 4, and a model of `preset` that saw them for a few steps.
    pub fn new(preset: &str, settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        for (name, number) in [("training/t0", 0), ("training/t1", 1), ("evaluation/e2", 2)] {
            write(&dir.join(format!("data/raw/mine/{name}.json")), &task(number));
        }
        let small = ["train.batch_size=8", "train.max_steps=6", "train.eval_every=0"];
        train(dir, preset, &[&small, settings].concat());
        Self { folder }
    }

    pub fn hrm() -> Self {
        Self::new(
            "arc-small",
            &[
                "model.h_layers=1",
                "model.l_layers=1",
                "model.puzzle_emb_ndim=32",
                "model.halt_max_steps=2",
            ],
        )
    }

    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }
}

fn train(dir: &Path, preset: &str, settings: &[&str]) {
    let build = ["data", "build", "--dataset-dirs", "data/raw/mine", "--output-dir", "data/d"];
    succeed(dir, &[&build[..], &["--num-aug", "3", "--canvas", "4"]].concat());
    let train = ["train", preset, "--data", "data/d", "--run-dir", "run"];
    let small = ["model.hidden_size=32", "model.num_heads=2"];
    succeed(dir, &[&train[..], &small, settings].concat());
}

/// Whatever is shown, every cell becomes `colour`.
pub fn solid(colour: u8) -> Value {
    let example = |a: u8, b: u8| pair(json!([[a, b]]), json!([[colour, colour]]));
    json!({ "train": [example(1, 2), example(3, 4), example(6, 8)], "test": [example(2, 9)] })
}

/// A model that has learnt tasks of solid colours, 5 not among them as published.
pub fn colours() -> Lab {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    for colour in [1, 2, 3, 4, 6, 7, 8, 9] {
        write(&dir.join(format!("data/raw/mine/training/c{colour}.json")), &solid(colour));
    }
    let settings = [
        "model.h_layers=1",
        "model.l_layers=1",
        "model.puzzle_emb_ndim=32",
        "model.halt_max_steps=2",
        "train.batch_size=32",
        "train.max_steps=400",
        "train.eval_every=0",
        "train.lr=3e-3",
        "train.warmup_steps=20",
    ];
    train(dir, "arc-small", &settings);
    Lab { folder }
}
