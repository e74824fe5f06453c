//! The commands, as a user runs them.

use std::path::Path;

use assert_cmd::Command;
use hrm::backend::Device;
use hrm::eval::job::Job;
use hrm::eval::{self, Evaluation, Report};
use hrm::run::trained::Trained;
use serde_json::Value;

use super::fixture::{arc, random_tasks};

fn hrm(dir: &Path, args: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hrm"));
    command.current_dir(dir).args(args).output().unwrap()
}

/// stdout of a command that must succeed.
pub fn stdout(dir: &Path, args: &[&str]) -> String {
    let output = hrm(dir, args);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn refusal(dir: &Path, args: &[&str]) -> String {
    let output = hrm(dir, args);
    assert!(!output.status.success(), "{args:?} succeeded");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub const SMALL: [&str; 8] = [
    "model.hidden_size=32",
    "model.num_heads=2",
    "model.h_layers=1",
    "model.l_layers=1",
    "model.puzzle_emb_ndim=32",
    "model.halt_max_steps=2",
    "train.batch_size=4",
    "train.max_steps=2",
];

#[test]
fn train_ends_with_a_report_and_eval_repeats_it() {
    let dir = tempfile::tempdir().unwrap();
    arc(&dir.path().join("data"), &random_tasks(1, 3));
    // Fewer puzzles, so other puzzle ids; and other tasks under as many ids.
    arc(&dir.path().join("fewer"), &random_tasks(1, 2));
    arc(&dir.path().join("other"), &random_tasks(2, 3));
    let train = ["train", "arc-small", "--data", "data", "--run-dir", "run", "train.best=loss"];
    let train = [&train[..], &SMALL].concat();
    let trained = stdout(dir.path(), &train);
    let log = std::fs::read_to_string(dir.path().join("run/train.log")).unwrap();
    for text in [&trained, &log] {
        assert!(text.contains("copy of the input") && text.contains("tasks solved"), "{text}");
    }
    let read = |path: &str| -> Value {
        serde_json::from_slice(&std::fs::read(dir.path().join(path)).unwrap()).unwrap()
    };
    // Each of the three tasks is trained on and tested with the same pairs.
    let leak = "3 training puzzles of this data set hold an example of its test split";
    // All 12 examples of the split, though the preset validates on 89.
    let chosen =
        "this checkpoint was chosen as the best by its loss on this same split: its scores";
    let html = std::fs::read_to_string(dir.path().join("run/eval/report.html")).unwrap();
    for text in [&trained, &log, &html] {
        assert!(text.contains(leak) && text.contains(chosen), "{text}");
    }
    let mut closing = read("run/eval/eval.json");
    let notes = closing["notes"].as_array().unwrap();
    assert!(notes[0].as_str().unwrap().starts_with(leak), "{notes:?}");
    assert!(notes[1].as_str().unwrap().starts_with(chosen), "{notes:?}");
    assert_eq!(closing["examples"], 12);

    let json = stdout(dir.path(), &["eval", "run", "--json", "--output", "again"]);
    let mut json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json, read("again/eval.json"));
    for report in [&mut json, &mut closing] {
        report["model"].as_object_mut().unwrap().remove("time").unwrap();
    }
    for key in ["model", "identity_baseline", "official", "breakdown", "data_digest"] {
        assert_eq!(json[key], closing[key], "{key}");
    }
    for name in ["submission.json", "predictions.jsonl"] {
        let file = |of: &str| std::fs::read(dir.path().join(of).join(name)).unwrap();
        assert_eq!(file("run/eval"), file("again"), "{name}");
    }
    assert!(json["identity_baseline"]["cell_accuracy"].is_f64());
    let answers = std::fs::read_to_string(dir.path().join("again/predictions.jsonl")).unwrap();
    assert_eq!(answers.lines().count(), 12);

    let checkpoint = "run/checkpoints/hrm_arc_final.safetensors";
    let table = stdout(dir.path(), &["eval", checkpoint, "--split", "train", "--limit", "5"]);
    assert!(table.contains("split train of") && table.contains("5 of 12 examples"), "{table}");
    assert!(
        table.contains("note: this split is what a model of this data is trained on"),
        "{table}"
    );

    let fewer = refusal(dir.path(), &["eval", "run", "--data", "fewer"]);
    assert!(fewer.contains("5 puzzle ids, but the model has embeddings for 7"), "{fewer}");
    let other = refusal(dir.path(), &["eval", "run", "--data", "other"]);
    assert!(other.contains("was trained on data with digest"), "{other}");
    let split = refusal(dir.path(), &["eval", "run", "--split", "dev"]);
    assert!(split.contains("no split \"dev\"; there is test, train"), "{split}");
    let empty = refusal(dir.path(), &["eval", "fewer"]);
    assert!(empty.contains("there is no checkpoint in this folder"), "{empty}");
}

#[test]
fn answers_that_are_there_are_scored_without_the_model() {
    let dir = tempfile::tempdir().unwrap();
    arc(&dir.path().join("data"), &random_tasks(1, 3));
    let train = ["train", "arc-small", "--data", "data", "--run-dir", "run", "train.eval_every=1"];
    stdout(dir.path(), &[&train[..], &SMALL].concat());
    let trained = <Trained>::open(&dir.path().join("run")).unwrap();
    let (data, device) = (trained.data(None).unwrap(), Device::cpu());
    let output = dir.path().join("again");
    let job = || Job::new(&data, "test", &output);
    let seconds = |report: Report| report.model.cost.unwrap().time.wall_s;
    let examples = eval::select(&data, "test", 0).unwrap();
    let known = Evaluation {
        split: "test".into(),
        tokens: vec![0; examples.len() * data.seq_len()],
        seq_len: data.seq_len(),
        q: vec![[0.0; 2]; examples.len()],
        halt_steps: vec![1; examples.len()],
        steps: vec![2; examples.len()],
        asked_again: 0,
        tried: vec![],
        metrics: vec![[1.0; 8]; examples.len()],
        wall_s: 1e6,
        examples,
    };
    let with = |answered: &Evaluation| Job { answered: Some(answered.clone()), ..job() };
    assert_eq!(seconds(with(&known).run(&trained, &device).unwrap()), 1e6);
    // Others are asked: the model answers.
    let fewer = Job { limit: 1, ..with(&known) };
    assert!(seconds(fewer.run(&trained, &device).unwrap()) < 1e6);
    let twice = Job { early_halt: true, ..with(&known) };
    assert!(seconds(twice.run(&trained, &device).unwrap()) < 1e6);
}

#[test]
fn plan_adds_up_and_says_where_its_time_comes_from() {
    let dir = tempfile::tempdir().unwrap();
    arc(&dir.path().join("data"), &random_tasks(1, 3));
    let settings = [&["plan", "--data", "data", "--vram", "64MiB"][..], &SMALL].concat();
    let settings: Vec<&str> = settings.iter().map(|s| &**s).collect();
    let json = stdout(dir.path(), &[&settings[..], &["--json"]].concat());
    let plan: Value = serde_json::from_str(&json).unwrap();
    let memory = plan["memory_bytes"].as_object().unwrap();
    let sum: u64 = memory.values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(plan["total_bytes"], sum);
    assert_eq!(plan["puzzle_embedding_parameters"], 7 * 32);
    assert!(plan["largest_batch"].as_u64().unwrap() > 4);
    assert!(plan["step_s_basis"].as_str().unwrap().contains("measured now"));
    let table = stdout(dir.path(), &settings);
    assert!(table.contains("weights") && table.contains("at least"), "{table}");
    let fresh = stdout(dir.path(), &[&["plan", "--vram", "64MiB"][..], &SMALL].concat());
    assert!(fresh.contains("not built here") && fresh.contains("at most 800 tasks"), "{fresh}");
}

#[test]
fn plan_for_a_card_predicts_every_kernel_and_marks_it() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["plan", "sudoku-extreme", "--card", "4090-laptop", "train.batch_size=8"];
    let json = stdout(dir.path(), &[&args[..], &["--json"]].concat());
    let plan: Value = serde_json::from_str(&json).unwrap();
    let predicted = &plan["predicted"];
    assert_eq!((&plan["device"], &predicted["card"]), (&"cuda".into(), &"4090-laptop".into()));
    let number = |v: &Value| v.as_f64().unwrap();
    let kernels = predicted["kernels"].as_array().unwrap();
    let busy_s: f64 = kernels.iter().map(|k| number(&k["busy_s"])).sum();
    let step_s = number(&predicted["step_s"]);
    assert!((busy_s + number(&predicted["launch_s"]) - step_s).abs() < 1e-9 * step_s);
    assert!((number(&predicted["samples_per_s"]) * step_s - 8.0).abs() < 1e-6);
    let expected_s = number(&predicted["expected_step_s"]);
    let busy_s: f64 = kernels.iter().map(|k| number(&k["expected_busy_s"])).sum();
    assert!((busy_s + number(&predicted["launch_s"]) - expected_s).abs() < 1e-9 * expected_s);
    assert!((1.1..1.6).contains(&(expected_s / step_s)), "{expected_s} {step_s}");
    let share = number(&predicted["tensor_peak_frac"]);
    assert!(share > 0.05 && share < 1.0, "{share}");
    let flops: f64 = kernels.iter().map(|k| number(&k["matmul_flops"])).sum();
    assert!((flops / number(&plan["matmul_flops_per_step"]) - 1.0).abs() < 1e-9);
    assert!(kernels.iter().any(|k| k["limit"] == "tensor cores"));
    let rooms: Vec<u64> = plan["rooms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| {
            assert!(r["largest_batch"].as_u64().unwrap() > 100);
            r["room_bytes"].as_u64().unwrap() >> 30
        })
        .collect();
    assert_eq!(rooms, [16, 24]);

    let table = stdout(dir.path(), &args);
    for text in [
        "not measured",
        "limit",
        "basis",
        "expected",
        "75.9 TFLOPS",
        "come on top",
        "one puzzle id",
    ] {
        assert!(table.contains(text), "{text}: {table}");
    }
    let small = [&args[..], &["--vram", "1MiB"]].concat();
    assert!(stdout(dir.path(), &small).contains("it does not fit"));
    let unknown = refusal(dir.path(), &["plan", "--card", "3090"]);
    assert!(unknown.contains("known are 4090, 4090-laptop, h100, h200"), "{unknown}");
    let both = refusal(dir.path(), &["plan", "--card", "h100", "--device", "cpu"]);
    assert!(both.contains("exclude each other"), "{both}");
}

/// The cycles of a curriculum's first steps are those of a model that has so few.
#[test]
fn plan_counts_what_a_depth_curriculum_saves() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["plan", "sudoku-mini", "--card", "4090", "train.max_steps=100"];
    for key in ["run_s", "expected_run_s"] {
        let run_s = |more: &[&str]| {
            let json = stdout(dir.path(), &[&args[..], &["--json"], more].concat());
            let plan: Value = serde_json::from_str(&json).unwrap();
            plan["predicted"][key].as_f64().unwrap()
        };
        let (full, few) = (run_s(&[]), run_s(&["model.h_cycles=1", "model.l_cycles=1"]));
        let (got, want) = (run_s(&["model.depth_curriculum=true"]), 0.3 * few + 0.7 * full);
        assert!(few < 0.9 * full && (got - want).abs() < 1e-9 * want, "{key} {few} {full} {got}");
    }
    let text = stdout(dir.path(), &[&args[..], &["model.depth_curriculum=true"]].concat());
    assert_eq!(text.matches("GFLOP in 30 of its steps").count(), 1, "{text}");
}

#[test]
fn devices_name_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let json: Value = serde_json::from_str(&stdout(dir.path(), &["devices", "--json"])).unwrap();
    assert_eq!(json["devices"][0]["name"], "cpu");
    assert!(json["missing"][0].as_str().unwrap().starts_with("cuda"));
    assert!(stdout(dir.path(), &["devices"]).contains("missing  cuda"));
}

#[test]
fn bench_refuses_an_unknown_shape() {
    let dir = tempfile::tempdir().unwrap();
    let error = refusal(dir.path(), &["bench", "--shape", "b1"]);
    assert!(error.contains("choose from b32-s81-h128, b8-s81-h512, b2-s900-h128, b256"), "{error}");
}
