//! `hrm bench`: what it says, what it cuts, what it files.

use serde_json::Value;

use crate::lab::{Lab, expect_error, expect_success, stdout};

#[test]
fn a_step_is_timed_profiled_and_filed() {
    let lab = Lab::empty();
    let asked = ["bench", "--shape", "tiny-vae-pro", "--quick", "--no-python"];
    let output = lab.hrm(&[&asked[..], &["--profile", "--record", "--json"]].concat());
    expect_success(&output);
    let said: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let lines = said["results"].as_array().unwrap();
    assert_eq!(lines.len(), 1, "an autoencoder computes in f32 only: {said}");
    let line = &lines[0];
    assert_eq!((&line["shape"], &line["variant"]), (&"tiny-vae-pro".into(), &"hrm f32".into()));
    for number in ["step_ms", "fastest_ms", "peak_bytes", "gemm_limit_share"] {
        assert!(line[number].as_f64().unwrap() > 0.0, "{number}: {line}");
    }
    for number in ["f32_flops_per_s", "memory_bytes_per_s"] {
        assert!(said["limits"][number].as_f64().unwrap() > 1e8, "{said}");
    }
    let shares: Vec<(&str, &str, f64)> = line["profile"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| {
            (s["op"].as_str().unwrap(), s["pass"].as_str().unwrap(), s["frac"].as_f64().unwrap())
        })
        .collect();
    let all: f64 = shares.iter().map(|(.., frac)| frac).sum();
    assert!((all - 1.0).abs() < 1e-6, "{all}: {shares:?}");
    for pass in ["forward", "backward"] {
        assert!(shares.iter().any(|s| (s.0, s.1) == ("conv", pass)), "{pass}: {shares:?}");
    }
    let folders = std::fs::read_dir(lab.path("benches/results")).unwrap();
    let folders: Vec<_> = folders.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    let filed = std::fs::read_to_string(folders[0].join("step.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&filed).unwrap(), said);
    let table = std::fs::read_to_string(folders[0].join("step.txt")).unwrap();
    for words in ["hrm bench --shape tiny-vae-pro", "GFLOP/s in f32 products", "by op:"] {
        assert!(table.contains(words), "{words}: {table}");
    }
    let here = lab.path("").display().to_string();
    assert!(!filed.contains(&here) && !table.contains(&here), "no path of this machine");
}

#[test]
fn what_takes_too_long_is_cut_and_unknown_shapes_are_answered() {
    let lab = Lab::empty();
    let asked =
        ["bench", "--shape", "arc-full-b2", "--no-python", "--limit-s", "1", "--threads", "1"];
    let output = lab.hrm(&asked);
    expect_success(&output);
    let table = stdout(&output);
    let cut = table.lines().filter(|line| line.contains("cut after ")).count();
    assert_eq!(cut, 2, "f32 and bf16: {table}");
    assert!(table.contains("PyTorch was not timed: --no-python"), "{table}");
    let error = expect_error(&lab.hrm(&["bench", "--shape", "huge"]));
    assert!(error.contains("b32-s81-h128, ") && error.contains("tiny-vae-pro"), "{error}");
}
