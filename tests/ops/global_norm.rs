use approx::assert_relative_eq;
use hrm::backend::Device;
use hrm::dtype::DType;
use hrm::ops::global_norm::{guard, reference};

use crate::check::{compare, normal, numbers, refuses, tensor};
use crate::common::devices::devices;

fn run(device: &Device, g: &[f64], losses: &[f64], max_norm: f32) -> Vec<f64> {
    let out = tensor(device, DType::F32, &[3], &[f64::NAN; 3]);
    let g = tensor(device, DType::F32, &[g.len()], g);
    let losses = tensor(device, DType::F32, &[losses.len()], losses);
    guard(&g, &losses, max_norm, &out).unwrap();
    numbers(&out)
}

#[test]
fn norm_and_clip_factor_agree_with_reference() {
    for (name, device) in devices() {
        for elems in [1, 15, 17, 16 * 1024, 40_003] {
            let g = normal(elems, 0.1, 1);
            for max_norm in [0.0, 0.5, 1e6] {
                let want = reference::guard::<f64>(&g, &[1.0, -2.0], max_norm);
                let got = run(&device, &g, &[1.0, -2.0], max_norm);
                assert_eq!(got.len(), want.len(), "{name}");
                for (i, (got, want)) in got.iter().zip(want).enumerate() {
                    let at = format!("guard[{i}] of {elems} on {name}");
                    compare(&at, &[*got], &[want], &[want], DType::F32, 1e-6);
                }
            }
        }
    }
}

/// The squares of the first do not fit f32, those of the second vanish in it.
#[test]
fn huge_and_tiny_gradients_have_a_norm() {
    for (_, device) in devices() {
        assert_eq!(run(&device, &[3e25, 4e25], &[0.0], 0.0)[2], 1.0);
        let norm = run(&device, &[3e-30, 4e-30], &[0.0], 0.0)[0];
        assert_relative_eq!(norm, 5e-30, epsilon = 0.0, max_relative = 2e-6);
    }
}

#[test]
fn guard_is_down_for_any_value_that_is_not_finite() {
    for (_, device) in devices() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for at in [0, 16, 30] {
                let mut g = vec![1.0; 31];
                g[at] = bad;
                assert_eq!(run(&device, &g, &[0.0], 1.0)[2], 0.0, "{bad} at {at}");
            }
            assert_eq!(run(&device, &[1.0], &[0.0, bad], 1.0)[2], 0.0, "loss {bad}");
        }
        assert_eq!(run(&device, &[0.0], &[0.0], 1.0), [0.0, 1.0, 1.0]);
    }
}

#[test]
fn bits_do_not_depend_on_threads_or_launch() {
    for (_, device) in devices() {
        let g = normal(100_003, 1.0, 4);
        let norm = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| run(&device, &g, &[0.0], 1.0))
        };
        assert!(norm(1) == norm(2) && norm(2) == norm(2));
    }
}

#[test]
fn mismatches_are_refused() {
    for (_, device) in devices() {
        let of = |dtype, n: usize| tensor(&device, dtype, &[n], &vec![0.0; n]);
        let (g, losses) = (of(DType::F32, 4), of(DType::F32, 1));
        let short = guard(&g, &losses, 1.0, &of(DType::F32, 2));
        refuses("guard", short, &["global_norm", "guard (3)", "(2)", "(3)"]);
        let half = guard(&of(DType::Bf16, 4), &losses, 1.0, &of(DType::F32, 3));
        refuses("g", half, &["global_norm", "g", "bf16", "f32"]);
    }
}
