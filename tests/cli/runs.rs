//! Run folders: what is in them, which one a command goes to, how a run ends.

use std::collections::BTreeSet;
use std::process::Stdio;

use crate::lab::{Lab, expect_error, expect_success, stderr, stdout};

#[test]
fn run_folder_holds_plan_log_metrics_and_checkpoints() {
    let lab = Lab::new();
    let every =
        ["train.max_steps=8", "train.checkpoint_every=2", "train.eval_every=4", "train.keep=2"];
    let output = lab.train(&every);
    expect_success(&output);
    let run = "runs/sudoku-mini-1";
    assert_eq!(lab.checkpoints(run), ["best", "final", "step_6", "step_8"]);
    let log = std::fs::read_to_string(lab.path(run).join("train.log")).unwrap();
    assert!(log.contains("best model saved: step 4, validation loss"), "{log}");
    assert!(stdout(&output).contains("batch_size=4"), "the plan is printed");
    let metrics = lab.metrics(run);
    let lines: Vec<(u64, bool)> = metrics
        .iter()
        .map(|l| (l["step"].as_u64().unwrap(), l.get("val_lm_loss").is_some()))
        .collect();
    let (train, val) = (false, true);
    assert_eq!(lines, [(2, train), (4, train), (4, val), (6, train), (8, train), (8, val)]);
    let text = std::fs::read_to_string(lab.path(run).join("metrics.jsonl")).unwrap();
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let names: BTreeSet<&str> = first.as_object().unwrap().keys().map(String::as_str).collect();
    for name in "step epoch samples lm_loss q_halt_loss q_continue_loss accuracy exact_accuracy \
                 act_steps grad_norm lr step_ms data_wait_ms samples_per_s mem_bytes"
        .split_whitespace()
    {
        assert!(names.contains(name), "{name} is missing in {first}");
    }
    assert_eq!(first["samples"], 8);
    // Warm-up: step 2 of 3.
    assert!((first["lr"].as_f64().unwrap() - 1e-3 * 2.0 / 3.0).abs() < 1e-12, "{first}");
    assert_eq!(metrics[3]["epoch"].as_u64(), Some(0));
}

#[test]
fn finished_run_is_left_alone_and_the_next_gets_a_new_number() {
    let lab = Lab::new();
    let short = ["train.max_steps=2"];
    expect_success(&lab.train(&short));
    expect_success(&lab.train(&short));
    assert_eq!(lab.digest("runs/sudoku-mini-1"), lab.digest("runs/sudoku-mini-2"));
    expect_success(&lab.train(&["train.max_steps=2", "train.seed=5"]));
    assert_ne!(lab.digest("runs/sudoku-mini-1"), lab.digest("runs/sudoku-mini-3"));
}

#[test]
fn unfinished_run_of_the_same_plan_goes_on_whatever_is_logged() {
    let lab = Lab::new();
    let plan = ["train.max_steps=6", "train.checkpoint_every=2"];
    expect_success(&lab.train(&plan));
    let whole = lab.digest("runs/sudoku-mini-1");
    let checkpoints = lab.path("runs/sudoku-mini-1/checkpoints");
    for name in ["final", "best", "step_6"] {
        std::fs::remove_file(checkpoints.join(format!("hrm_arc_{name}.safetensors"))).unwrap();
    }
    let other = lab.train(&["train.max_steps=6", "train.checkpoint_every=2", "train.lr=0.5"]);
    expect_success(&other);
    assert!(lab.path("runs/sudoku-mini-2").exists(), "another plan is another run");
    let again = lab.train(&["train.max_steps=6", "train.checkpoint_every=3", "train.log_every=1"]);
    expect_success(&again);
    assert!(stdout(&again).contains("going on from step 4"), "{}", stdout(&again));
    assert_eq!(lab.digest("runs/sudoku-mini-1"), whole);
    assert!(!lab.path("runs/sudoku-mini-3").exists());
}

#[test]
fn precision_by_auto_is_stored_as_its_word_and_kept() {
    let lab = Lab::new();
    let train = |settings: &[&str]| {
        let length = ["train.max_steps=4", "train.checkpoint_every=2"];
        let output =
            lab.train_command(&[&length, settings].concat()).env("HRM_CPU", "portable").output();
        let output = output.unwrap();
        expect_success(&output);
        stdout(&output)
    };
    let unfinished = |run: &str| {
        for name in ["final", "best", "step_4"] {
            let name = format!("checkpoints/hrm_arc_{name}.safetensors");
            std::fs::remove_file(lab.path(run).join(name)).unwrap();
        }
    };
    let stored = |run: &str, word: &str| {
        let plan = std::fs::read_to_string(lab.path(run).join("plan.toml")).unwrap();
        assert!(plan.contains(&format!("precision = \"{word}\"\n")), "{run}: {plan}");
    };
    let said = train(&["train.precision=auto"]);
    assert!(
        said.contains("train.precision=f32: auto, the fastest on this CPU (portable)"),
        "{said}"
    );
    stored("runs/sudoku-mini-1", "f32");
    // Where another word is the fastest, a run that goes on keeps its own.
    train(&["train.precision=bf16"]);
    let whole = lab.digest("runs/sudoku-mini-2");
    for folder in [&[][..], &["--run-dir", "runs/sudoku-mini-2"]] {
        unfinished("runs/sudoku-mini-2");
        let said = train(&[&["train.precision=auto"], folder].concat());
        for words in ["train.precision=bf16: auto, as this run began", "going on from step 2"] {
            assert!(said.contains(words), "{words}: {said}");
        }
        assert!(!said.contains("changed since"), "{said}");
        stored("runs/sudoku-mini-2", "bf16");
        assert_eq!(lab.digest("runs/sudoku-mini-2"), whole);
    }
    assert!(!lab.path("runs/sudoku-mini-3").exists());
}

#[test]
fn named_folder_goes_on_further_and_fresh_moves_it_aside() {
    let lab = Lab::new();
    let constant = |steps: &'static str| vec![steps, "train.checkpoint_every=2", "--run-dir", "r"];
    expect_success(&lab.train(&constant("train.max_steps=4")));
    let four = lab.digest("r");
    let further = lab.train(&constant("train.max_steps=6"));
    expect_success(&further);
    assert!(stdout(&further).contains("changed since that checkpoint: train.max_steps: 4 -> 6"));
    let six = lab.digest("r");
    expect_success(&lab.train(&[&constant("train.max_steps=4")[..], &["--fresh"]].concat()));
    assert_eq!(lab.digest("r"), four);
    assert_eq!(lab.digest("r.old-1"), six);
}

#[test]
fn a_fresh_start_in_the_folder_itself_does_not_go_on_with_the_old_run() {
    let lab = Lab::new();
    expect_success(&lab.train(&["train.max_steps=2", "--run-dir", "r"]));
    std::os::unix::fs::symlink("../data", lab.path("r/data")).unwrap();
    let mut again = lab.train_command(&["train.max_steps=2", "--fresh", "--run-dir", "."]);
    let output = again.current_dir(lab.path("r")).output().unwrap();
    expect_success(&output);
    assert!(!stdout(&output).contains("going on"), "{}", stdout(&output));
    assert_eq!(lab.digest("r"), lab.digest("r.old-1"));
}

#[test]
fn a_folder_that_cannot_be_read_is_passed_over() {
    let lab = Lab::new();
    let run = lab.path("runs/sudoku-mini-1");
    std::fs::create_dir_all(&run).unwrap();
    std::fs::write(run.join("plan.toml"), [0xFF; 4]).unwrap();
    let output = lab.train(&["train.max_steps=2"]);
    expect_success(&output);
    assert!(stderr(&output).contains("passed over: runs/sudoku-mini-1/plan.toml"), "{output:?}");
    assert_eq!(lab.checkpoints("runs/sudoku-mini-2"), ["best", "final"]);
}

#[test]
fn epochs_set_the_length() {
    let lab = Lab::new();
    // 40 boards and 2 variants of each, 4 rows per step.
    let output = lab.train(&["train.epochs=1", "train.log_every=10", "--run-dir", "r"]);
    expect_success(&output);
    let last = lab.metrics("r").pop().unwrap();
    assert_eq!(last["step"].as_u64(), Some(30), "{last}");
    assert_eq!(last["epoch"].as_u64(), Some(1), "{last}");
}

#[test]
fn patience_stops_early_and_that_run_is_finished() {
    let lab = Lab::new();
    let hopeless = [
        "train.max_steps=50",
        "train.lr=1e-12",
        "train.puzzle_emb_lr=0",
        "--run-dir",
        "r",
        "train.weight_decay=0",
        "train.puzzle_emb_weight_decay=0",
        "train.eval_every=1",
        "train.patience=2",
    ];
    let output = lab.train(&hopeless);
    expect_success(&output);
    assert!(stdout(&output).contains("stopping early"), "{}", stdout(&output));
    let last = lab.metrics("r").pop().unwrap();
    assert!(last["step"].as_u64().unwrap() < 50, "{last}");
    let digest = lab.digest("r");
    expect_success(&lab.train(&hopeless));
    assert_eq!(lab.digest("r"), digest, "training on does nothing");
}

#[test]
fn divergence_stops_before_anything_bad_is_saved() {
    let lab = Lab::new();
    let wild = [
        "train.max_steps=30",
        "train.lr=1e38",
        "train.warmup_steps=0",
        "train.optimizer=adamw",
        "train.checkpoint_every=1",
        "train.ema=0",
        "--run-dir",
        "r",
    ];
    let error = expect_error(&lab.train(&wild));
    assert!(error.contains("step ") && error.contains("nothing was saved after step"), "{error}");
    assert!(
        error.contains("hrm train sudoku-mini --run-dir r with one of train.lr=1e37"),
        "{error}"
    );
    assert!(!lab.checkpoints("r").contains(&"final".to_owned()));
    // Going on with the same settings comes to the same end; another rate and a new beginning do
    // not.
    let again = expect_error(&lab.train(&wild));
    assert_eq!(again, error);
    let mut calm = [&wild[..], &["--fresh"]].concat();
    calm[1] = "train.lr=1e-3";
    expect_success(&lab.train(&calm));
    assert!(lab.checkpoints("r").contains(&"final".to_owned()));
}

#[test]
fn digest_of_a_folder_without_checkpoints_is_an_error() {
    let lab = Lab::empty();
    std::fs::create_dir(lab.path("r")).unwrap();
    expect_error(&lab.hrm(&["digest", "r"]));
    expect_error(&lab.hrm(&["digest", "none.safetensors"]));
}

#[test]
fn a_reader_that_goes_away_ends_a_command_quietly() {
    let lab = Lab::empty();
    let mut command = lab.command(&["plan", "arc1", "--card", "4090", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}: {}", output.status, stderr(&output));
    assert_eq!(stderr(&output), "");
}

/// A model that does not move has one loss: the first of equals is the best by it, and the last one
/// is kept where nothing is to be chosen, of which no report says that it was.
#[test]
fn the_best_checkpoint_is_that_of_the_lowest_loss_or_the_last() {
    for (best, step, noted) in [("loss", 4, true), ("last", 8, false)] {
        let lab = Lab::new();
        let best = format!("train.best={best}");
        let still = ["train.lr=1e-30", "train.puzzle_emb_lr=1e-30", "train.weight_decay=0"];
        let every = ["train.max_steps=8", "train.eval_every=4", &best];
        let output = lab.train(&[&every[..], &still].concat());
        expect_success(&output);
        let out = lab.hrm(&["eval", "runs/sudoku-mini-1", "--json"]);
        expect_success(&out);
        assert!(
            stderr(&out).contains(&format!("best.safetensors: step {step}")),
            "{}",
            stderr(&out)
        );
        let report: serde_json::Value = serde_json::from_str(&stdout(&out)).unwrap();
        let notes = report["notes"].as_array().unwrap();
        let is_noted = notes.iter().any(|n| n.as_str().unwrap().contains("chosen as the best"));
        assert_eq!(is_noted, noted, "{best}: {notes:?}");
    }
}
