//! Training on a CUDA device from the command line. Skipped by name where there is none: under
//! `tools/gpusim/run` the simulator is one.

use serde_json::Value;

use crate::lab::{Lab, expect_error, expect_success, stdout};

/// Whether the binary sees a CUDA device.
fn has_cuda(lab: &Lab) -> bool {
    let output = lab.hrm(&["devices", "--json"]);
    expect_success(&output);
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let names = json["devices"].as_array().unwrap().iter().map(|d| d["name"].as_str().unwrap());
    let here = names.clone().any(|name| name == "cuda:0");
    if !here {
        println!("skipped: training on a CUDA device ({})", json["missing"][0]);
    }
    here
}

#[test]
fn a_device_that_is_not_there_is_an_error_that_says_what_is_missing() {
    let lab = Lab::new();
    for device in ["cuda:97", "gpu", "cuda:x"] {
        let error = expect_error(&lab.train(&["train.max_steps=1", "--device", device]));
        assert!(error.contains(device), "{error}");
    }
}

#[test]
fn a_run_on_cuda_learns_and_goes_on_on_the_cpu() {
    let lab = Lab::new();
    if !has_cuda(&lab) {
        return;
    }
    let plan = [
        "train.max_steps=40",
        "train.eval_every=20",
        "train.checkpoint_every=10",
        "train.precision=bf16",
        "train.lr=3e-3",
        "model.puzzle_emb_ndim=16",
        "--run-dir",
        "run",
    ];
    let with = |more: &[&str]| lab.train(&[&plan[..], more].concat());
    expect_success(&with(&["--device", "cuda"]));
    let metrics = lab.metrics("run");
    let losses: Vec<f64> = metrics.iter().filter_map(|l| l["lm_loss"].as_f64()).collect();
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let (first, last) = (mean(&losses[..3]), mean(&losses[losses.len() - 3..]));
    assert!(last < 0.8 * first, "lm_loss {first} -> {last}");
    assert!(metrics.iter().any(|l| l["val_lm_loss"].is_f64()), "it validated");

    // Back to step 30, as after a power cut, and on without the card.
    for name in ["final", "best", "step_40"] {
        let path = lab.path(&format!("run/checkpoints/hrm_arc_{name}.safetensors"));
        std::fs::remove_file(path).unwrap();
    }
    let output = with(&["--device", "cpu"]);
    expect_success(&output);
    assert!(stdout(&output).contains("going on from step 30"), "{}", stdout(&output));
    let after = lab.metrics("run");
    let on_cpu = |step: u64| {
        let line = after.iter().find(|l| l["step"] == step && l["lm_loss"].is_f64()).unwrap();
        line["lm_loss"].as_f64().unwrap()
    };
    let on_cuda = |step: u64| {
        let line = metrics.iter().find(|l| l["step"] == step && l["lm_loss"].is_f64()).unwrap();
        line["lm_loss"].as_f64().unwrap()
    };
    // The same data from the same state: the next line differs by rounding only.
    let (cpu, cuda) = (on_cpu(32), on_cuda(32));
    assert!((cpu - cuda).abs() <= 0.02 * cuda, "step 32: {cuda} on cuda, {cpu} on the CPU");
}
