//! A run that is killed, interrupted or threaded differently ends in the same bits.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use hrm::formats::{HostTensor, StateDict};
use hrm::rng::{Rng, Stream};

use crate::lab::{Lab, expect_error, expect_success, stderr};

const PLAN: &[&str] = &[
    "train.max_steps=60",
    "train.checkpoint_every=1",
    "train.eval_every=5",
    "train.keep=2",
    "train.grad_accum=2",
    "train.write_pt=true",
];

fn with(more: &[&'static str]) -> Vec<&'static str> {
    [PLAN, more].concat()
}

/// Runs that are killed with -9 at random moments, and while a checkpoint is being written, until a
/// process gets through; as many runs as it takes to have met both often enough.
fn killed_run_ends_like_the_uninterrupted_one(settings: &[&'static str]) {
    killed_run_in(&Lab::new(), settings);
}

fn killed_run_in(lab: &Lab, settings: &[&'static str]) {
    let start = Instant::now();
    expect_success(&lab.train(&[&with(settings)[..], &["--run-dir", "whole"]].concat()));
    let whole_ms = start.elapsed().as_millis() as u64;
    let mut rng = Rng::new(11, Stream::Test, settings.len() as u64);
    let (mut kills, mut torn) = (0, 0);
    for run in ["killed-0", "killed-1", "killed-2", "killed-3", "killed-4", "killed-5"] {
        kill_until_one_gets_through(lab, run, settings, whole_ms, &mut rng, &mut kills, &mut torn);
        assert_eq!(lab.digest(run), lab.digest("whole"));
        assert_eq!(lab.metrics(run), lab.metrics("whole"));
        assert_eq!(lab.checkpoints(run), lab.checkpoints("whole"));
        let best = "checkpoints/hrm_arc_best.safetensors";
        assert_eq!(lab.digest(&format!("{run}/{best}")), lab.digest(&format!("whole/{best}")));
        assert!(best_for_pytorch(lab, run) == best_for_pytorch(lab, "whole"), "{run}");
        if kills >= 12 && torn >= 3 {
            break;
        }
    }
    println!("{kills} kills, {torn} half-written checkpoints left behind");
    assert!(kills >= 12 && torn >= 3, "{kills} kills, {torn} while saving: too few");
}

fn best_for_pytorch(lab: &Lab, run: &str) -> Vec<(String, HostTensor)> {
    let file = lab.path(run).join("checkpoints/hrm_arc_best.pt");
    StateDict::decode(&std::fs::read(file).unwrap()).unwrap().tensors
}

/// Every second process is killed while it saves, the others after a random share of the time that
/// the uninterrupted run took.
fn kill_until_one_gets_through(
    lab: &Lab,
    run: &'static str,
    settings: &[&'static str],
    whole_ms: u64,
    rng: &mut Rng,
    kills: &mut u64,
    torn: &mut usize,
) {
    for round in 0.. {
        assert!(round < 300, "no progress");
        let mut child = lab.start_training(&[&with(settings)[..], &["--run-dir", run]].concat());
        if round % 2 == 1 {
            wait_for_saving(lab, run, &mut child);
        } else {
            let most_ms = whole_ms as u32 / 2 + 1;
            let delay_ms = rng.below(most_ms) as u64 + round * whole_ms / 50;
            std::thread::sleep(Duration::from_millis(delay_ms));
        }
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{}", stderr(&child.wait_with_output().unwrap()));
            return;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        *kills += 1;
        if lab.path(run).join("checkpoints").exists() {
            let names = lab.checkpoints(run);
            *torn += names.iter().filter(|n| n.starts_with(".saving-")).count();
        }
    }
}

/// Until a half-written checkpoint is there, or the process has ended.
fn wait_for_saving(lab: &Lab, run: &str, child: &mut Child) {
    let saving = || {
        let there = lab.path(run).join("checkpoints").exists();
        there && lab.checkpoints(run).iter().any(|name| name.starts_with(".saving-"))
    };
    while !saving() && child.try_wait().unwrap().is_none() {}
}

#[test]
fn kill_9_f32() {
    killed_run_ends_like_the_uninterrupted_one(&["train.precision=f32", "train.optimizer=adamw"]);
}

#[test]
fn kill_9_bf16() {
    killed_run_ends_like_the_uninterrupted_one(&[
        "train.precision=bf16",
        "data.sampler=groups",
        "train.log_every=3",
    ]);
}

#[test]
fn kill_9_trm() {
    killed_run_ends_like_the_uninterrupted_one(&[
        "model.arch=trm",
        "model.h_layers=0",
        "model.h_cycles=2",
        "model.mlp_t=true",
        "model.pos_encodings=none",
        "model.puzzle_emb_len=3",
        "train.precision=bf16",
    ]);
}

/// Second moments of matrices are one for each row, and the rates fall in the last steps.
#[test]
fn kill_9_normuon() {
    killed_run_ends_like_the_uninterrupted_one(&[
        "train.precision=bf16",
        "train.optimizer=normuon",
        "train.schedule=wsd",
        "train.lr_min_ratio=0",
    ]);
}

#[test]
fn another_optimizers_moments_are_refused() {
    let lab = Lab::new();
    expect_success(&lab.train(&["train.max_steps=2", "--run-dir", "r"]));
    let more = ["train.max_steps=4", "--run-dir", "r", "train.optimizer=normuon"];
    let error = expect_error(&lab.train(&more));
    let moments = "exp_avg_sq.H_level.layers.0.mlp.down_proj.weight";
    assert!(error.contains("is of another run") && error.contains(moments), "{error}");
}

/// Rows of many lengths, each with its own place to go on from.
#[test]
fn kill_9_packed() {
    let lab = Lab::of_arc();
    let settings = [
        "data.layout=packed",
        "data.sampler=groups",
        "train.batch_size=5",
        "model.start_noise=0.5",
        "model.depth_curriculum=true",
    ];
    killed_run_in(&lab, &settings);
    assert_ne!(lab.digest("whole"), {
        let padded = ["data.sampler=groups", "train.batch_size=5"];
        expect_success(&lab.train(&[&with(&padded)[..], &["--run-dir", "padded"]].concat()));
        lab.digest("padded")
    });
}

/// Sequences; dropout draws on from where it was, attention's probabilities too.
#[test]
fn kill_9_grid_lm() {
    killed_run_in(
        &Lab::of_arc(),
        &[
            "model.arch=grid_lm",
            "model.l_layers=4", // the values that say nothing
            "model.h_cycles=2",
            "model.l_cycles=2",
            "model.puzzle_emb_ndim=0",
            "model.loss=softmax",
            "model.dropout=0.2",
            "model.halt_max_steps=1",
            "model.halt_exploration_prob=0",
            "model.q_continue=false",
            "data.layout=sequence",
            "data.sampler=groups",
            "train.batch_size=5",
            "train.optimizer=normuon",
            "train.recompute=layer",
        ],
    );
}

/// `arc-full`'s model: dropout goes on drawing from where it was.
#[test]
fn kill_9_hrm_seed() {
    killed_run_ends_like_the_uninterrupted_one(&[
        "model.arch=hrm_seed",
        "model.puzzle_emb_ndim=0",
        "model.pos_encodings=sinusoidal",
        "model.loss=softmax",
        "model.dropout=0.2",
        "model.max_cycles=2",
        "model.halt_max_steps=1",
        "model.halt_exploration_prob=0",
        "model.q_continue=false",
        "train.optimizer=adamw",
        "train.clip=1",
        "train.recompute=cycle",
    ]);
}

#[test]
fn one_thread_and_two_give_the_same_bits() {
    threads_give_the_same_bits(&Lab::new(), "sudoku-mini", "data.layout=padded");
    threads_give_the_same_bits(&Lab::of_arc(), "arc-small", "data.layout=packed");
    threads_give_the_same_bits(&Lab::of_arc(), "grid-small", "model.dropout=0.2");
}

fn threads_give_the_same_bits(lab: &Lab, preset: &str, setting: &str) {
    for (precision, optimizer) in [
        ("train.precision=f32", "train.optimizer=adamw"),
        ("train.precision=f32", "train.optimizer=normuon"),
        ("train.precision=bf16", "train.optimizer=adam_atan2"),
        ("train.precision=bf16", "train.optimizer=normuon"),
    ] {
        for (dir, threads) in [("one", "1"), ("two", "2")] {
            let mut command = lab.command(&["train", preset, "--data", "data", setting]);
            command.args(["--fresh", "--threads", threads, "--run-dir", dir, precision, optimizer]);
            let small = ["model.hidden_size=32", "model.num_heads=2", "train.batch_size=12"];
            command.args(small).args(["train.max_steps=3", "train.eval_every=2"]);
            expect_success(&command.output().unwrap());
        }
        assert_eq!(lab.digest("one"), lab.digest("two"), "{preset} {precision} {optimizer}");
    }
}

#[test]
fn saving_logging_and_recomputing_do_not_change_the_result() {
    let lab = Lab::new();
    let often = ["train.checkpoint_every=1", "train.log_every=1", "--run-dir", "often"];
    let seldom = ["train.checkpoint_every=0", "train.log_every=100", "--run-dir", "seldom"];
    let again = ["train.recompute=layer", "train.log_every=4", "--run-dir", "again"];
    for settings in [often, seldom, again] {
        let common = ["train.max_steps=9", "train.eval_every=3"];
        expect_success(&lab.train(&[&common[..], &settings[..]].concat()));
    }
    assert_eq!(lab.checkpoints("seldom"), ["best", "final"]);
    assert_eq!(lab.digest("often"), lab.digest("seldom"));
    assert_eq!(lab.digest("often"), lab.digest("again"));
}

/// The process holds the run folder; its signal handler was there before.
fn wait_for_lock(lab: &Lab, run: &str, child: &Child) {
    let lock = lab.path(run).join("lock");
    let owner = || std::fs::read_to_string(&lock).unwrap_or_default();
    while owner().trim() != child.id().to_string() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn sigterm_and_sigint_save_say_how_to_go_on_and_exit_with_130() {
    let lab = Lab::new();
    let plan = ["train.max_steps=60", "train.checkpoint_every=0", "train.eval_every=7"];
    expect_success(&lab.train(&[&plan[..], &["--run-dir", "whole"]].concat()));
    let mut interrupted = 0;
    for round in 0..100 {
        let child = lab.start_training(&plan);
        wait_for_lock(&lab, "runs/sudoku-mini-1", &child);
        std::thread::sleep(Duration::from_millis(40 * (round % 6)));
        signal(&child, if round % 2 == 0 { "-TERM" } else { "-INT" });
        let output = child.wait_with_output().unwrap();
        // Complete; the signal, if it came in time, ended the closing evaluation.
        if lab.path("runs/sudoku-mini-1/checkpoints/hrm_arc_final.safetensors").exists() {
            break;
        }
        interrupted += 1;
        let err = stderr(&output);
        assert_eq!(output.status.code(), Some(130), "{err}");
        assert!(err.contains("is saved") && err.contains("--run-dir runs/sudoku-mini-1"), "{err}");
    }
    assert!(interrupted >= 1);
    assert_eq!(lab.digest("runs/sudoku-mini-1"), lab.digest("whole"));
    assert_eq!(lab.metrics("runs/sudoku-mini-1"), lab.metrics("whole"));
}

#[test]
fn second_signal_stops_at_once() {
    let lab = Lab::new();
    // One step takes much longer than the test waits.
    let slow = [
        "train.batch_size=256",
        "model.hidden_size=128",
        "model.h_cycles=400",
        "model.l_cycles=10",
    ];
    let mut child = lab.start_training(&[&slow[..], &["--run-dir", "r"]].concat());
    while !lab.path("r/metrics.jsonl").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(500));
    signal(&child, "-INT");
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "the first signal lets the step finish");
    signal(&child, "-INT");
    let start = std::time::Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(lab.checkpoints("r"), [""; 0]);
}

#[test]
fn second_process_in_one_folder_is_refused() {
    let lab = Lab::new();
    let long = ["train.max_steps=100000", "train.eval_every=0", "--run-dir", "r"];
    let mut child = lab.start_training(&long);
    wait_for_lock(&lab, "r", &child);
    let error = expect_error(&lab.train(&long));
    assert!(error.contains(&format!("process {} is training here", child.id())), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    // The lock of a killed process does not block.
    let after = lab.train(&["train.max_steps=1", "--run-dir", "r", "--fresh"]);
    expect_success(&after);
}
