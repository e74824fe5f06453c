//! `hrm train --init`: what a run starts from, and how it goes on.

use hrm::formats::StateDict;

use crate::lab::{Lab, expect_error, expect_success, stderr, stdout};

/// One step that moves nothing, so that what comes out is what the run began with.
const STILL: &[&str] = &[
    "train.max_steps=1",
    "train.lr=1e-30",
    "train.weight_decay=0",
    "train.puzzle_emb_lr=0",
    "train.puzzle_emb_weight_decay=0",
    "train.eval_every=0",
];

fn weights(lab: &Lab, run: &str, which: &str) -> Vec<(String, Vec<f32>)> {
    expect_success(&lab.hrm(&["export", run, "--weights", which, "--output", "e"]));
    let read = StateDict::decode(&std::fs::read(lab.path("e")).unwrap()).unwrap();
    let numbers = |bytes: &[u8]| {
        bytes.chunks_exact(4).map(|w| f32::from_le_bytes(w.try_into().unwrap())).collect()
    };
    let mut all: Vec<_> =
        read.tensors.iter().map(|(name, t)| (name.clone(), numbers(&t.bytes))).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[track_caller]
fn expect_same(a: &[(String, Vec<f32>)], b: &[(String, Vec<f32>)]) {
    assert_eq!(a.len(), b.len());
    for ((name, x), (other, y)) in a.iter().zip(b) {
        assert!(name == other && x.len() == y.len(), "{name} {other}");
        // Averaging equal numbers may round.
        let close = |(x, y): (&f32, &f32)| (x - y).abs() <= 1e-6 * y.abs() + 1e-25;
        assert!(x.iter().zip(y).all(close), "{name} differs");
    }
}

#[test]
fn a_run_starts_from_the_weights_that_evaluation_uses() {
    let lab = Lab::new();
    expect_success(&lab.train(&["train.max_steps=4", "--run-dir", "a"]));
    let wanted = weights(&lab, "a", "averaged");
    assert_ne!(wanted, weights(&lab, "a", "trained"));
    let output = lab.train(&[STILL, &["--run-dir", "b", "--init", "a"]].concat());
    expect_success(&output);
    for which in ["averaged", "trained"] {
        expect_same(&weights(&lab, "b", which), &wanted);
    }
    let said = stdout(&output) + &stderr(&output);
    assert!(said.contains("starting from the weights of"), "{said}");
    // What came from elsewhere too.
    expect_success(&lab.hrm(&["export", "a", "--to", "pt", "--output", "a.pt"]));
    expect_success(&lab.hrm(&["import", "a.pt", "--output", "i.safetensors"]));
    let args = [STILL, &["--run-dir", "c", "--init", "i.safetensors"]].concat();
    expect_success(&lab.train(&args));
    expect_same(&weights(&lab, "c", "trained"), &wanted);
}

#[test]
fn an_interrupted_run_needs_its_first_weights_no_more() {
    let lab = Lab::new();
    expect_success(&lab.train(&["train.max_steps=2", "--run-dir", "a"]));
    let best = "a/checkpoints/hrm_arc_best.safetensors";
    let more = ["--run-dir", "b", "--init", best, "train.max_steps=4", "train.checkpoint_every=2"];
    expect_success(&lab.train(&more));
    let digest = lab.digest("b");
    std::fs::remove_file(lab.path(best)).unwrap();
    for name in ["final", "best", "step_4"] {
        let file = lab.path(&format!("b/checkpoints/hrm_arc_{name}.safetensors"));
        std::fs::remove_file(file).ok();
    }
    expect_success(&lab.train(&more));
    assert_eq!(lab.digest("b"), digest);
    let error = expect_error(&lab.train(&["--run-dir", "c", "--init", best]));
    assert!(error.contains("open the checkpoint"), "{error}");
}

#[test]
fn weights_of_another_shape_or_other_data_are_refused() {
    let lab = Lab::new();
    expect_success(&lab.train(&["train.max_steps=2", "--run-dir", "a"]));
    let wide = ["--run-dir", "b", "--init", "a", "model.hidden_size=32"];
    let error = expect_error(&lab.train(&wide));
    assert!(error.contains("does not fit this model"), "{error}");
    lab.build_data("other", 2);
    let other = ["--run-dir", "c", "--init", "a", "--data", "other"];
    let args: Vec<&str> =
        ["train", "sudoku-mini", "model.hidden_size=16"].into_iter().chain(other).collect();
    let error = expect_error(&lab.hrm(&args));
    assert!(error.contains("its puzzle embeddings belong to those puzzles"), "{error}");
    assert!(error.contains("--puzzles reset"), "{error}");
}
