use std::fs;

use serde_json::{Value, json};

use crate::{refusal, stdout};

/// One kernel's counters: 128 blocks of 128 threads, so that every multiprocessor of a 4090 has
/// one.
fn counters(set: &[(&str, f64)]) -> Value {
    let mut c = json!({
        "launches": 1, "blocks": 128, "warps": 512, "warp_instructions": 0, "by_class": {},
        "sectors_read": 0, "sectors_written": 0, "unique_sectors_read": 0,
        "unique_sectors_written": 0, "bytes_read": 0, "bytes_written": 0, "bank_conflicts": 0,
        "shared_passes": 0, "mma_flops": 0, "other_flops": 0, "shared_bytes_per_block": 0,
        "threads_per_block": 128,
    });
    for (name, n) in set {
        match name.strip_prefix("class:") {
            Some(class) => c["by_class"][class] = json!(n),
            None => c[*name] = json!(n),
        }
    }
    c
}

#[test]
fn each_unit_limits_and_the_slowest_counts() {
    let dir = tempfile::tempdir().unwrap();
    // A millisecond of each unit, on a 4090: 128 SMs at 2.52 GHz.
    let clocks = 128.0 * 2.52e9 * 1e-3;
    let report = json!({ "simulated": true, "counters": {
        "tensor": counters(&[("mma_flops", 165.2e9), ("shared_passes", clocks / 2.0)]),
        "issue": counters(&[("warp_instructions", 5.0 * clocks), ("class:move", clocks)]),
        "special": counters(&[("class:special", clocks / 2.0)]),
        "double": counters(&[("class:double", clocks / 16.0)]),
        "shared": counters(&[("shared_passes", clocks)]),
        "l2": counters(&[("sectors_read", 5e9 / 32.0), ("unique_sectors_read", 1.0)]),
        "dram": counters(&[("unique_sectors_read", 504e6 / 32.0), ("sectors_read", 504e6 / 32.0),
            ("unique_sectors_written", 504e6 / 32.0), ("sectors_written", 504e6 / 32.0)]),
        "half_idle": counters(&[("shared_passes", clocks), ("blocks", 64.0)]),
        "tiny": counters(&[("warp_instructions", 10.0)]),
    }});
    fs::write(dir.path().join("report.json"), report.to_string()).unwrap();
    let json: Value =
        serde_json::from_str(&stdout("roofline", &["report.json", "--json"], dir.path())).unwrap();
    let of = |name: &str| {
        let kernels = json["kernels"].as_array().unwrap();
        let k = kernels.iter().find(|k| k["kernel"] == name).unwrap();
        (k["busy_s"].as_f64().unwrap() * 1e3, k["limit"].as_str().unwrap().to_owned())
    };
    for (name, limit, ms) in [
        ("tensor", "tensor", 1.0),
        ("issue", "issue", 1.0),
        ("special", "special", 1.0),
        ("double", "special", 1.0),
        ("shared", "shared", 1.0),
        ("l2", "L2", 1.0),
        ("dram", "DRAM", 1.0),
        ("half_idle", "shared", 2.0),
    ] {
        let (got_ms, got) = of(name);
        assert!((got_ms - ms).abs() < 1e-6 && got == limit, "{name}: {got_ms} ms, {got}");
    }
    assert_eq!(of("tiny").1, "launch");
    let step_ms = json["step_s"].as_f64().unwrap() * 1e3;
    assert!((step_ms - (9.0 + 9.0 * 1.5e-3)).abs() < 1e-4, "{step_ms}");
    assert_eq!(json["predicted_not_measured"], true);
}

#[test]
fn the_plan_stands_beside_and_steps_divide() {
    let dir = tempfile::tempdir().unwrap();
    let report = json!({ "counters": {
        "k": counters(&[("mma_flops", 4.0 * 165.2e9), ("launches", 4.0), ("blocks", 512.0)]),
    }});
    let plan = json!({ "predicted": { "card": "4090", "step_s": 0.00123,
        "kernels": [{ "kernel": "k", "busy_s": 0.0009 }] } });
    fs::write(dir.path().join("r"), report.to_string()).unwrap();
    fs::write(dir.path().join("p"), plan.to_string()).unwrap();
    let table = stdout("roofline", &["r", "--steps", "4", "--plan", "p"], dir.path());
    assert!(table.contains("not measured") && table.contains("900.00"), "{table}");
    assert!(table.contains("step 1001.5 us with 1 launches; hrm plan says 1230.0 us"), "{table}");
    let other = refusal("roofline", &["r", "--card", "h100", "--plan", "p"], dir.path());
    assert!(other.contains("the plan is for 4090, not for h100"), "{other}");
    fs::write(dir.path().join("bad"), "{}").unwrap();
    assert!(refusal("roofline", &["bad"], dir.path()).contains("not a report"));
    assert!(refusal("roofline", &["absent"], dir.path()).contains("absent"));
}
