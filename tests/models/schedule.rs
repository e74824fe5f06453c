//! The learning rate against the official schedule, step by step.

use approx::relative_eq;
use hrm::train::schedule::{Decay, Schedule};

use crate::common::golden;

#[test]
fn golden_lr_schedule() {
    let of_rates = |name: &str, _: &serde_json::Value| name.starts_with("lr_schedule");
    for golden in golden::find("of learning rates (lr_schedule)", of_rates).iter().map(|p| p.open())
    {
        for case in golden.json["cases"].as_array().expect("cases") {
            let number = |key: &str| case[key].as_f64().expect("a number");
            let schedule = Schedule {
                warmup_steps: number("num_warmup_steps") as u64,
                total_steps: number("num_training_steps") as u64,
                min_ratio: number("min_ratio"),
                decay: Decay::Cosine,
            };
            for (step, want) in case["lr"].as_object().expect("rates by step") {
                let got = schedule.lr(number("base_lr"), step.parse().expect("a step"));
                let want = want.as_f64().expect("a rate");
                // One ulp for the last bit of cos and of the JSON parser.
                let near = relative_eq!(got, want, epsilon = 0.0, max_relative = 2.3e-16);
                assert!(
                    want.is_finite() && near,
                    "step {step} of {schedule:?}: {got:e}, golden {want:e}"
                );
                golden.count(1);
            }
        }
        golden.expect_no_failures();
    }
}
