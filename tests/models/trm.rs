//! TRM against its goldens: segments, then optimizer steps with averaged weights.

use hrm::backend::{Device, DeviceKind};
use hrm::config::Settings;
use hrm::models::trm::{Config, Loss, PosEncodings, Recompute, Trm};
use hrm::models::{self, Compute, Model, ModelShape, Sizes};
use hrm::train::optimizer::{Rates, Rule};
use serde_json::Value;

use super::hrm::sizes;
use super::{optim, segments};
use crate::common::devices::devices;
use crate::common::golden::{self, Golden};

fn config(json: &Value) -> Config {
    let c = &json["config"];
    assert!(c["rope_theta"].as_f64().is_none_or(|theta| theta as f32 == hrm::nn::rope::THETA));
    let int = |key: &str| c[key].as_u64().unwrap_or_else(|| panic!("config.{key}")) as usize;
    assert_eq!(c["no_ACT_continue"], true, "the variant without a Q-continue loss");
    Config {
        hidden_size: int("hidden_size"),
        num_heads: int("num_heads"),
        layers: int("L_layers"),
        h_cycles: int("H_cycles"),
        l_cycles: int("L_cycles"),
        expansion: c["expansion"].as_f64().expect("config.expansion"),
        mlp_t: c["mlp_t"].as_bool().expect("config.mlp_t"),
        puzzle_emb_ndim: int("puzzle_emb_ndim"),
        puzzle_emb_len: int("puzzle_emb_len"),
        pos_encodings: match c["pos_encodings"].as_str() {
            Some("none") => PosEncodings::None,
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
        start_noise: 0.0,
        depth_curriculum: false,
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
    for place in golden::find("of TRM (trm_*)", of_trm) {
        for (device_name, device) in devices() {
            let name = &place.name;
            println!("{name} on {device_name}");
            let golden = place.open();
            let config = config(&golden.json);
            let sizes = sizes(&golden.json);
            let compute = Compute { recompute, ..Compute::default() };
            let model = Trm::new(&device, config.clone(), sizes, compute).unwrap();
            segments::follow(&golden, &model, model.rope());
            q_continue_is_not_trained(&golden, &model);
            if let Some(n) = golden.json["n_params"].as_u64() {
                assert_eq!(model.params().elems() as u64, n, "{name}: trained numbers");
            }

            let optimizer = &golden.json["optimizer"];
            let number = |key: &str| optimizer[key].as_f64().expect("a rate");
            let rates = Rates {
                lr: number("lr"),
                puzzle_emb_lr: number("puzzle_emb_lr"),
                ..Rates::default()
            };
            let settings = optim::settings(optimizer, Rule::AdamAtan2);
            let steps = optim::Run { golden: &golden, base: &golden, name: "optim" };
            optim::follow(&device, &steps, &ModelShape::new(config, sizes), settings, |_| rates);
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

/// The papers' sizes, 5 to 7 million, without puzzle embeddings: embedding and head of V words, the
/// Q head, and two blocks.
#[test]
fn published_presets_have_the_published_parameters() {
    const C: usize = 512;
    const MLP: usize = 3 * 1536 * C;
    let of = |preset: &str, side: usize, vocab: usize| {
        let of = Settings::load(Some(preset), None, &[]).unwrap();
        assert_eq!((of.train.ema, of.train.batch_size), (0.999, 768), "{preset}");
        let device = Device::shape_only(DeviceKind::Cpu);
        let shape = of.shape(side * side, vocab, 1);
        assert_eq!(shape.dims().prefix, 16, "{preset}");
        let model = shape.build(&device, of.compute()).unwrap();
        (model.params().elems(), 2 * vocab * C + 2 * C + 2)
    };
    for (preset, side, vocab) in [("trm-arc1", 30, 12), ("trm-sudoku", 9, 11), ("trm-maze", 30, 6)]
    {
        let (elems, ends) = of(preset, side, vocab);
        assert_eq!(elems, ends + 2 * (4 * C * C + MLP), "{preset}");
        assert!((6_800_000..6_900_000).contains(&elems), "{preset}: {elems}");
    }
    let (elems, ends) = of("trm-sudoku-mlp", 9, 11);
    assert_eq!(elems, ends + 2 * (3 * 512 * 97 + MLP));
    assert!((5_000_000..5_100_000).contains(&elems), "{elems}");
}

#[test]
fn shapes_that_cannot_be_meant_are_refused() {
    let of = Settings::load(Some("trm-sudoku"), None, &[]).unwrap();
    let models::ModelConfig::Trm(good) = of.model else { panic!("a TRM") };
    let sizes = Sizes { batch_size: 2, seq_len: 16, vocab_size: 6, num_puzzle_ids: 1 };
    let compute = Compute::default();
    let refused = |config: Config, word: &str| {
        let device = Device::shape_only(DeviceKind::Cpu);
        let error = Trm::new(&device, config, sizes, compute).err().expect(word).to_string();
        assert!(error.contains(word), "{error}");
    };
    refused(Config { puzzle_emb_ndim: 513, puzzle_emb_len: 1, ..good.clone() }, "puzzle_emb_len=1");
    refused(Config { layers: 0, ..good.clone() }, "l_layers=0");
    refused(Config { num_heads: 3, ..good.clone() }, "num_heads=3");
    let mixed = Config { num_heads: 3, mlp_t: true, pos_encodings: PosEncodings::None, ..good };
    assert!(Trm::new(&Device::shape_only(DeviceKind::Cpu), mixed, sizes, compute).is_ok());
}
