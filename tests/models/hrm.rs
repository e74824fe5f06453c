//! HRM against its goldens.

use hrm::models::hrm::{Config, Hrm, Loss, PosEncodings, Recompute};
use hrm::models::{Compute, Sizes};
use serde_json::Value;

use super::segments;
use crate::common::devices::devices;
use crate::common::golden::{self, Place};

pub fn config(json: &Value) -> Config {
    let c = &json["config"];
    assert!(c["rope_theta"].as_f64().is_none_or(|theta| theta as f32 == hrm::nn::rope::THETA));
    let int = |key: &str| c[key].as_u64().unwrap_or_else(|| panic!("config.{key}")) as usize;
    Config {
        hidden_size: int("hidden_size"),
        num_heads: int("num_heads"),
        h_layers: int("H_layers"),
        l_layers: int("L_layers"),
        h_cycles: int("H_cycles"),
        l_cycles: int("L_cycles"),
        expansion: c["expansion"].as_f64().expect("config.expansion"),
        puzzle_emb_ndim: int("puzzle_emb_ndim"),
        pos_encodings: match c["pos_encodings"].as_str() {
            Some("rope") => PosEncodings::Rope,
            Some("learned") => PosEncodings::Learned,
            other => panic!("config.pos_encodings {other:?}"),
        },
        loss: match json["loss_type"].as_str() {
            Some("stablemax_cross_entropy") => Loss::Stablemax,
            Some("softmax_cross_entropy") => Loss::Softmax,
            other => panic!("loss_type {other:?}"),
        },
        halt_max_steps: int("halt_max_steps"),
        halt_exploration_prob: c["halt_exploration_prob"].as_f64().expect("exploration"),
        q_continue: true,
        start_noise: 0.0,
        depth_curriculum: false,
    }
}

/// Of the data and the batch, for a model of any kind.
pub fn sizes(json: &Value) -> Sizes {
    let int = |key: &str| json["config"][key].as_u64().expect(key) as usize;
    Sizes {
        batch_size: int("batch_size"),
        seq_len: int("seq_len"),
        vocab_size: int("vocab_size"),
        num_puzzle_ids: int("num_puzzle_identifiers"),
    }
}

fn goldens() -> Vec<Place> {
    golden::find("of HRM (hrm_*)", |name, json| {
        name.starts_with("hrm_")
            && json["config"]["forward_dtype"] == "float32"
            && json.get("loss_type").is_some()
    })
}

#[test]
fn golden_hrm_every_tensor() {
    for place in goldens() {
        run(&place, Recompute::None);
    }
}

#[test]
fn golden_hrm_with_recomputed_layers() {
    for place in goldens() {
        run(&place, Recompute::Layer);
    }
}

fn run(place: &Place, recompute: Recompute) {
    for (device_name, device) in devices() {
        println!("{} on {device_name}", place.name);
        let golden = place.open();
        let config = config(&golden.json);
        let compute = Compute { recompute, ..Compute::default() };
        let model = Hrm::new(&device, config, sizes(&golden.json), compute).unwrap();
        segments::follow(&golden, &model, model.rope());
        golden.finish();
    }
}
