//! Several trajectories of a question: what they may change, what they cost, what is said of them.

use std::path::Path;
use std::process::{Command, Output};

use hrm::backend::Device;
use hrm::config::Settings;
use hrm::eval::{Answer, Halt, Rollouts, Row};
use hrm::models::hrm::Hrm;
use hrm::models::{Compute, Model};
use serde_json::Value;

use super::answer::{ask_in_batches, opinionated, rows};
use super::fixture::{arc, random_tasks};

const SEGMENTS: usize = 3;

/// Trajectories with so much noise that they end elsewhere.
fn rollouts(count: u32, all: bool) -> Rollouts {
    Rollouts { count, noise: 1.0, segments: SEGMENTS as u32, all, sudoku: false }
}

fn ask(model: &Hrm, of: usize, rows: &[Row], how: Rollouts) -> Vec<Answer> {
    ask_in_batches(model, of, rows, Halt::Rollouts(how)).0
}

#[test]
fn neither_the_batch_nor_the_order_changes_an_answer_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let data = arc(dir.path(), &random_tasks(1, 8));
    let (rows, model) = (rows(&data), opinionated(&data, 7, SEGMENTS));
    let alone = ask(&model, 1, &rows, rollouts(5, false));
    let numbers: Vec<u32> = alone.iter().map(|a| a.tried.as_ref().unwrap().rollouts).collect();
    assert!(numbers.contains(&1) && numbers.contains(&5), "{numbers:?}: nothing is tested");
    for of in [2, 3, 7] {
        assert!(ask(&model, of, &rows, rollouts(5, false)) == alone, "batches of {of}");
        let backwards: Vec<Row> = rows.iter().rev().cloned().collect();
        let mut turned = ask(&model, of, &backwards, rollouts(5, false));
        turned.reverse();
        assert!(turned == alone, "batches of {of}, backwards");
    }
}

/// The first trajectory is the answer without rollouts; more never lower the highest q_halt.
#[test]
fn the_first_is_the_plain_answer_and_more_are_believed_more() {
    let dir = tempfile::tempdir().unwrap();
    let data = arc(dir.path(), &random_tasks(4, 8));
    let (rows, model) = (rows(&data), opinionated(&data, 7, SEGMENTS));
    let plain = ask_in_batches(&model, 7, &rows, Halt::Last).0;
    let mut before = plain.clone();
    for count in [1, 2, 6] {
        let answers = ask(&model, 7, &rows, rollouts(count, true));
        for ((answer, plain), before) in answers.iter().zip(&plain).zip(&before) {
            let tried = answer.tried.as_ref().unwrap();
            assert_eq!((tried.rollouts, answer.steps), (count, count * SEGMENTS as u32));
            assert!(answer.q[0] >= before.q[0], "{} after {}", answer.q[0], before.q[0]);
            let first = tried.after(1).map_or((&answer.tokens, answer.q), |b| (&b.tokens, b.q));
            assert_eq!(first, (&plain.tokens, plain.q), "trajectory 1 of {count}");
        }
        before = answers;
    }
    let moved = before.iter().zip(&plain).filter(|(a, b)| a.q != b.q).count();
    assert!(moved > rows.len() / 2, "noise moves only {moved} of {} answers", rows.len());
    let still = ask(&model, 7, &rows, Rollouts { noise: 0.0, ..rollouts(4, true) });
    for (answer, plain) in still.iter().zip(&plain) {
        let tried = answer.tried.as_ref().unwrap();
        assert_eq!((tried.best, &answer.tokens, answer.q), (1, &plain.tokens, plain.q));
    }
}

/// A model that was trained with more segments says after them what this one says.
#[test]
fn a_trajectory_goes_on_beyond_the_segments_of_training() {
    let dir = tempfile::tempdir().unwrap();
    let data = arc(dir.path(), &random_tasks(4, 8));
    let (rows, short) = (rows(&data), opinionated(&data, 7, SEGMENTS));
    let long = opinionated(&data, 7, SEGMENTS + 2);
    let how = Rollouts { segments: SEGMENTS as u32 + 2, ..rollouts(1, false) };
    let plain = ask_in_batches(&long, 7, &rows, Halt::Last).0;
    for (answer, plain) in ask(&short, 7, &rows, how).iter().zip(&plain) {
        assert_eq!((&answer.tokens, answer.q), (&plain.tokens, plain.q));
        assert_eq!(answer.steps, SEGMENTS as u32 + 2);
    }
}

#[test]
fn nonsense_and_other_models_are_refused() {
    let build = |preset: &str| {
        let settings = ["model.hidden_size=16", "model.num_heads=1", "train.batch_size=2"];
        let settings: Vec<String> = settings.iter().map(|s| s.to_string()).collect();
        let shape = Settings::load(Some(preset), None, &settings).unwrap().shape(9, 12, 2);
        shape.build(&Device::cpu(), Compute::default()).unwrap()
    };
    let hrm = build("arc-full");
    let word = |model: &dyn Model, how: Rollouts| how.check(model).unwrap_err().to_string();
    assert!(word(&*hrm, rollouts(2, false)).contains("no latent state"));
    let hrm = {
        let dir = tempfile::tempdir().unwrap();
        opinionated(&arc(dir.path(), &random_tasks(1, 2)), 2, SEGMENTS)
    };
    for (how, words) in [
        (rollouts(0, false), "--rollouts 0"),
        (rollouts(5000, false), "--rollouts 5000"),
        (Rollouts { noise: f32::NAN, ..rollouts(2, false) }, "--noise NaN"),
        (Rollouts { noise: -0.1, ..rollouts(2, false) }, "--noise -0.1"),
        (Rollouts { segments: 0, ..rollouts(2, false) }, "--segments 0"),
    ] {
        let said = word(&hrm, how);
        assert!(said.contains(words), "{said}");
    }
    rollouts(2, false).check(&hrm).unwrap();
}

fn hrm(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hrm"));
    command.args(args).args(["--device", "cpu"]).current_dir(dir).env("WANDB_MODE", "disabled");
    command.output().unwrap()
}

/// The command line on boards: a line for each doubling, the first without rollouts, those found by
/// the rules, and the same answers after an interruption's file.
#[test]
fn eval_shows_scores_against_rollouts() {
    let dir = tempfile::tempdir().unwrap();
    let quick = ["train", "sudoku-mini", "--quick", "--run-dir", "run", "data.train_puzzles=50"];
    let trained = hrm(dir.path(), &[&quick[..], &["data.test_puzzles=12"]].concat());
    assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
    let eval = |more: &[&str]| {
        let out = hrm(dir.path(), &[&["eval", "run", "--json"], more].concat());
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_slice::<Value>(&out.stdout).unwrap()
    };
    let plain = eval(&[]);
    assert!(plain.get("rollouts").is_none());
    let several = eval(&["--rollouts", "5", "--noise", "0.5", "--segments", "4", "--all-rollouts"]);
    let lines = several["rollouts"].as_array().unwrap();
    let ks: Vec<u64> = lines.iter().map(|line| line["k"].as_u64().unwrap()).collect();
    assert_eq!(ks, [1, 2, 4, 5]);
    let steps: Vec<f64> = lines.iter().map(|line| line["act_steps"].as_f64().unwrap()).collect();
    assert_eq!(steps, [4.0, 8.0, 16.0, 20.0]);
    let obeys: Vec<u64> =
        lines.iter().map(|line| line["obeys"]["right"].as_u64().unwrap()).collect();
    assert!(obeys.is_sorted(), "{obeys:?}");
    for line in lines {
        assert_eq!(line["obeys"]["of"], several["examples"]);
        assert!(line["exact"]["right"].as_u64() <= line["obeys"]["right"].as_u64());
    }
    assert_eq!(lines[3]["exact"], several["model"]["exact"]);
    assert_eq!(several["official"], Value::Null);
    let page = std::fs::read_to_string(dir.path().join("run/eval/report.html")).unwrap();
    assert!(page.contains("rollouts at most") && page.contains("found by the rules"));
    let refused = hrm(dir.path(), &["eval", "run", "--rollouts", "2", "--early-halt"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--early-halt"));
}
