//! TRM against its goldens: segments, then optimizer steps with averaged weights.

use hrm::dtype::DType;
use hrm::models::Model;
use hrm::models::trm::{Config, Loss, PosEncodings, Recompute, Trm};
use hrm::train::optimizer::{Rates, Rule};
use serde_json::Value;

use super::{optim, segments};
use crate::common::devices::devices;
use crate::common::golden::Golden;

fn config(json: &Value, recompute: Recompute) -> Config {
    let c = &json["config"];
    let int = |key: &str| c[key].as_u64().unwrap_or_else(|| panic!("config.{key}")) as usize;
    assert_eq!(c["no_ACT_continue"], true, "the variant without a Q-continue loss");
    Config {
        batch_size: int("batch_size"),
        seq_len: int("seq_len"),
        vocab_size: int("vocab_size"),
        hidden_size: int("hidden_size"),
        num_heads: int("num_heads"),
        layers: int("L_layers"),
        h_cycles: int("H_cycles"),
        l_cycles: int("L_cycles"),
        expansion: c["expansion"].as_f64().expect("config.expansion"),
        mlp_t: c["mlp_t"].as_bool().expect("config.mlp_t"),
        puzzle_emb_ndim: int("puzzle_emb_ndim"),
        puzzle_emb_len: int("puzzle_emb_len"),
        num_puzzle_ids: int("num_puzzle_identifiers"),
        pos_encodings: match c["pos_encodings"].as_str() {
            Some("none") => PosEncodings::None,
            Some("rope") => PosEncodings::Rope,
            Some("learned") => PosEncodings::Learned,
            other => panic!("config.pos_encodings {other:?}"),
        },
        rope_theta: c["rope_theta"].as_f64().unwrap_or(10_000.0) as f32,
        loss: match json["loss_type"].as_str() {
            Some("stablemax_cross_entropy") => Loss::Stablemax,
            Some("softmax_cross_entropy") => Loss::Softmax,
            other => panic!("loss_type {other:?}"),
        },
        halt_max_steps: int("halt_max_steps"),
        halt_exploration_prob: c["halt_exploration_prob"].as_f64().expect("exploration"),
        recompute,
    }
}

#[test]
fn golden_trm_every_tensor() {
    run(Recompute::None);
}

#[test]
fn golden_trm_with_recomputed_layers() {
    run(Recompute::Layer);
}

fn run(recompute: Recompute) {
    let of_trm = |name: &str, json: &Value| {
        name.starts_with("trm_") && json["config"]["forward_dtype"] == "float32"
    };
    for name in Golden::list(of_trm) {
        for (device_name, device) in devices() {
            println!("{name} on {device_name}");
            let Some(golden) = Golden::open(&name) else { continue };
            let config = config(&golden.json, recompute);
            let model = Trm::new(&device, config.clone(), DType::F32, 0).unwrap();
            segments::follow(&golden, &model, model.rope());
            q_continue_is_not_trained(&golden, &model);
            if let Some(n) = golden.json["n_params"].as_u64() {
                assert_eq!(model.params().elems() as u64, n, "{name}: trained numbers");
            }

            let optimizer = &golden.json["optimizer"];
            let number = |key: &str| optimizer[key].as_f64().expect("a rate");
            let rates = Rates { lr: number("lr"), puzzle_emb_lr: number("puzzle_emb_lr") };
            let settings = optim::settings(optimizer, Rule::AdamAtan2);
            let steps = optim::Run { golden: &golden, base: &golden, name: "optim" };
            optim::follow(&device, &steps, &config.into(), settings, |_| rates);
            golden.finish();
        }
    }
}

/// Row 1 of the Q head, after the last segment.
fn q_continue_is_not_trained(golden: &Golden, model: &Trm) {
    let params = model.params();
    let gradient = |name: &str| params.part(&params.grad, name).unwrap().download::<f32>().unwrap();
    let (w, b) = (gradient("q_head.weight"), gradient("q_head.bias"));
    let row = w.len() / 2;
    assert!(w[row..].iter().chain(&b[1..]).all(|g| *g == 0.0), "{}: row 1", golden.name);
    assert!(w[..row].iter().any(|g| *g != 0.0) && b[0] != 0.0, "{}: row 0", golden.name);
}
