//! How many threads there are: what this process can use, whatever is asked for.

use std::process::Command;

use crate::lab::{Lab, expect_success, stderr, stdout};

/// A step of a small model.
fn train(lab: &Lab, run: &str, threads: &str) -> Command {
    let mut command = lab.command(&["train", "sudoku-mini", "--data", "data", "--run-dir", run]);
    command.args(["train.max_steps=1", "train.batch_size=4", "model.hidden_size=16"]);
    command.args(["model.num_heads=2", "train.eval_examples=4", "--threads", threads]);
    command
}

fn threads_of_plan(lab: &Lab, run: &str) -> usize {
    let plan = std::fs::read_to_string(lab.path(run).join("plan.toml")).unwrap();
    let plan: toml::Table = plan.parse().unwrap();
    plan["run"]["threads"].as_integer().unwrap() as usize
}

#[test]
fn more_threads_than_can_be_used_are_cut_with_a_word() {
    let lab = Lab::new();
    let usable = std::thread::available_parallelism().unwrap().get();
    let output = train(&lab, "r", "100000").output().unwrap();
    expect_success(&output);
    let word = format!("--threads 100000: going on with {usable}, all that this process can use");
    assert!(stderr(&output).contains(&word), "{}", stderr(&output));
    assert_eq!(threads_of_plan(&lab, "r"), usable);
    let output = train(&lab, "one", "1").output().unwrap();
    assert!(!stderr(&output).contains("--threads"), "{}", stderr(&output));
    assert_eq!(threads_of_plan(&lab, "one"), 1);
    for nonsense in ["0", "1.5", "many", "99999999999999999999999"] {
        let output = train(&lab, "r", nonsense).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{nonsense}: {output:?}");
    }
}

/// An affinity bounds the threads; so does the variable by which others set them, which is no
/// setting of ours.
#[test]
fn a_process_that_may_use_one_core_starts_one_thread() {
    let lab = Lab::new();
    let on_one = |command: &Command| {
        let mut on_one = Command::new("taskset");
        on_one.args(["-c", &first_core()]).arg(command.get_program()).args(command.get_args());
        on_one.current_dir(lab.path(".")).env("RAYON_NUM_THREADS", "3").output().unwrap()
    };
    let output = on_one(&train(&lab, "r", "2"));
    expect_success(&output);
    assert!(stderr(&output).contains("--threads 2: going on with 1,"), "{}", stderr(&output));
    assert_eq!(threads_of_plan(&lab, "r"), 1);
    let output = on_one(&lab.command(&["devices", "--json"]));
    expect_success(&output);
    let devices: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let all = devices["devices"].as_array().unwrap();
    let cpu = all.iter().find(|device| device["name"] == "cpu").unwrap();
    assert_eq!(cpu["threads"], 1, "{devices}");
}

/// A core that this process may run on.
fn first_core() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    list.trim().split([',', '-']).next().unwrap().to_owned()
}
