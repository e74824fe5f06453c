//! Damaged, foreign and unfitting checkpoints.

use std::path::Path;

use crate::lab::{Lab, expect_error, expect_success, stdout, step_file};

const PLAN: &[&str] = &["train.max_steps=6", "train.checkpoint_every=2", "--run-dir", "r"];

/// A run whose newest checkpoint is that of step 6, without `final` and `best`.
fn interrupted_at_6(lab: &Lab) -> String {
    expect_success(&lab.train(PLAN));
    let digest = lab.digest("r");
    for name in ["final", "best"] {
        let path = format!("r/checkpoints/hrm_arc_{name}.safetensors");
        std::fs::remove_file(lab.path(&path)).unwrap();
    }
    digest
}

fn flip(path: &Path, at: impl Fn(usize) -> usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn damaged_newest_is_reported_and_the_one_before_is_used() {
    for (damage, section) in [
        (&(|path: &Path| flip(path, |n| n - 5)) as &dyn Fn(&Path), "tensor "),
        (&|path: &Path| flip(path, |_| 300), "metadata: "),
        (&|path: &Path| flip(path, |_| 2), "header: "),
        (&|path: &Path| truncate(path, 100), "header: "),
        (&|path: &Path| truncate(path, 0), "header: "),
        (&|path: &Path| cut_end(path, 1), "tensor "),
    ] {
        let lab = Lab::new();
        let digest = interrupted_at_6(&lab);
        damage(&step_file(&lab.path("r"), 6));
        let output = lab.train(PLAN);
        expect_success(&output);
        let text = stdout(&output);
        assert!(
            text.contains("damaged checkpoint passed over") && text.contains(section),
            "{text}"
        );
        assert!(text.contains("going on from step 4"), "{text}");
        assert_eq!(lab.digest("r"), digest);
        assert_eq!(lab.checkpoints("r"), ["best", "final", "step_2", "step_4", "step_6"]);
    }
}

fn truncate(path: &Path, bytes: u64) {
    std::fs::File::options().write(true).open(path).unwrap().set_len(bytes).unwrap();
}

fn cut_end(path: &Path, bytes: u64) {
    truncate(path, std::fs::metadata(path).unwrap().len() - bytes);
}

#[test]
fn nothing_but_damaged_checkpoints_is_an_error_not_a_new_start() {
    let lab = Lab::new();
    interrupted_at_6(&lab);
    for step in [2, 4, 6] {
        flip(&step_file(&lab.path("r"), step), |n| n / 2);
    }
    let error = expect_error(&lab.train(PLAN));
    assert!(error.contains("no checkpoint is whole"), "{error}");
    assert_eq!(error.matches("checksum differs").count(), 3, "{error}");
    expect_error(&lab.hrm(&["digest", "r"]));
}

#[test]
fn foreign_file_under_our_name_is_passed_over_by_name() {
    let lab = Lab::new();
    let digest = interrupted_at_6(&lab);
    let foreign = br#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}  "#;
    let mut bytes = (foreign.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(foreign);
    bytes.extend([0; 4]);
    std::fs::write(step_file(&lab.path("r"), 7), &bytes).unwrap();
    std::fs::write(lab.path("foreign.safetensors"), &bytes).unwrap();
    let output = lab.train(PLAN);
    expect_success(&output);
    assert!(stdout(&output).contains("no checkpoint of hrm"), "{}", stdout(&output));
    assert_eq!(lab.digest("r"), digest);
    let error = expect_error(&lab.hrm(&["digest", "foreign.safetensors"]));
    assert!(error.contains("no checkpoint of hrm"), "{error}");
}

#[test]
fn another_model_or_other_data_is_refused_with_the_list() {
    let lab = Lab::new();
    lab.build_data("other", 2);
    let digest = interrupted_at_6(&lab);
    let shape = ["model.hidden_size=32", "model.l_layers=2"];
    let error = expect_error(&lab.train(&[PLAN, &shape].concat()));
    for line in [
        "model.hidden_size: 16 -> 32",
        "model.l_layers: 1 -> 2",
        "z_H: bf16 (4, 17, 16) -> bf16 (4, 17, 32)",
        "absent -> f32",
    ] {
        assert!(error.contains(line), "{line} is not in {error}");
    }
    let error = expect_error(&lab.train(&[PLAN, &["train.batch_size=8"]].concat()));
    assert!(error.contains("carry.0.steps: i32 (4) -> i32 (8)"), "{error}");
    let mut command = lab.command(&["train", "sudoku-mini", "--data", "other", "--run-dir", "r"]);
    let error = expect_error(&command.output().unwrap());
    assert!(error.contains("data digest: "), "{error}");
    assert_eq!(lab.digest("r"), digest, "a refusal changes nothing");
    expect_success(&lab.train(PLAN));
}
