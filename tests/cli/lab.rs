//! A fresh folder with a tiny Sudoku data set, and the binary run inside it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

pub struct Lab {
    dir: tempfile::TempDir,
}

/// A model that takes milliseconds per step; everything that has state is switched on.
const TINY: &[&str] = &[
    "train",
    "sudoku-mini",
    "--data",
    "data",
    "--threads",
    "1",
    "model.hidden_size=16",
    "model.num_heads=2",
    "model.h_layers=1",
    "model.l_layers=1",
    "model.h_cycles=1",
    "model.l_cycles=1",
    "model.puzzle_emb_ndim=8",
    "model.halt_max_steps=3",
    "train.batch_size=4",
    "train.warmup_steps=3",
    "train.ema=0.9",
    "train.log_every=2",
    "train.precision=bf16",
    "data.sampler=shuffle",
];

/// [`TINY`] and `more`; hrm_seed has no cycles of two levels, which it would refuse.
fn tiny<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let has_levels = !more.contains(&"model.arch=hrm_seed");
    let is_known = |setting: &&&str| has_levels || !setting.contains("_cycles=");
    TINY.iter().filter(is_known).chain(more).copied().collect()
}

impl Lab {
    pub fn empty() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn new() -> Self {
        let lab = Self::empty();
        lab.build_data("data", 1);
        lab
    }

    /// With ARC tasks of grids from 1 x 1 to 5 x 5 in place of boards.
    pub fn of_arc() -> Self {
        let lab = Self::empty();
        std::fs::create_dir(lab.path("tasks")).unwrap();
        for task in 0..12_usize {
            let grid = |side: usize| -> Vec<Vec<usize>> {
                (0..side).map(|r| (0..side).map(|c| (r * 3 + c + task) % 10).collect()).collect()
            };
            let side = 1 + task % 5;
            let pair = |input: usize, output: usize| serde_json::json!({"input": grid(input), "output": grid(output)});
            let (shown, asked) = ([pair(side, side), pair(1 + side / 2, side)], [pair(side, 1)]);
            let task_json = serde_json::json!({"train": shown, "test": asked});
            let path = lab.path("tasks").join(format!("task{task}.json"));
            std::fs::write(path, task_json.to_string()).unwrap();
        }
        let args = ["data", "build", "--dataset-dirs", "tasks", "--output-dir", "data"];
        let sizes = ["--canvas", "6", "--num-aug", "2", "--holdout", "test-pairs"];
        expect_success(&lab.hrm(&[&args[..], &sizes[..]].concat()));
        lab
    }

    pub fn build_data(&self, dir: &str, seed: u64) {
        self.build_boards(dir, seed, 10);
    }

    /// 40 boards to train on and `test` others.
    pub fn build_boards(&self, dir: &str, seed: u64, test: usize) {
        let (seed, test) = (seed.to_string(), test.to_string());
        let sizes = ["--size", "4", "--train", "40", "--test", &test, "--num-aug", "2"];
        let mut args = vec!["data", "build-sudoku", "--output-dir", dir, "--seed", &seed];
        args.extend(sizes);
        expect_success(&self.hrm(&args));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hrm"));
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    pub fn hrm(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// `hrm train` on the tiny model.
    pub fn train(&self, more: &[&str]) -> Output {
        self.hrm(&tiny(more))
    }

    pub fn train_command(&self, more: &[&str]) -> Command {
        self.command(&tiny(more))
    }

    pub fn start_training(&self, more: &[&str]) -> Child {
        let mut command = self.command(&tiny(more));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Last word of the last line of `hrm digest`.
    pub fn digest(&self, path: &str) -> String {
        let output = self.hrm(&["digest", path]);
        expect_success(&output);
        let text = stdout(&output);
        let word = text.lines().last().unwrap().split_whitespace().last().unwrap();
        assert_eq!(word.len(), 64, "{text}");
        word.to_owned()
    }

    /// The lines of metrics.jsonl without what depends on time, and on what a process did before.
    pub fn metrics(&self, run: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path(run).join("metrics.jsonl")).unwrap();
        let timeless = |line: &str| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            let times = ["step_ms", "data_wait_ms", "samples_per_s", "val_samples_per_s"];
            for name in [&times[..], &["mem_bytes"]].concat() {
                line.as_object_mut().unwrap().shift_remove(name);
            }
            line
        };
        text.lines().map(timeless).collect()
    }

    pub fn checkpoints(&self, run: &str) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.path(run).join("checkpoints"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .map(|n| n.trim_start_matches("hrm_arc_").trim_end_matches(".safetensors").to_owned())
            .collect();
        names.sort();
        names
    }
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
pub fn expect_success(output: &Output) {
    let (out, err) = (stdout(output), stderr(output));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
}

/// Exit code 1 and `error: ` on stderr; returns the message.
#[track_caller]
pub fn expect_error(output: &Output) -> String {
    let err = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{}\n{}\n{err}", output.status, stdout(output));
    let at = err.find("error: ").unwrap_or_else(|| panic!("no `error: ` in {err}"));
    err[at..].to_owned()
}

pub fn step_file(run: &Path, step: u64) -> PathBuf {
    run.join(format!("checkpoints/hrm_arc_step_{step}.safetensors"))
}
