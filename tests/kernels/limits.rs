//! What each kernel waits for on an RTX 4090, by the formula of `hrm plan`.

use std::collections::BTreeMap;

use hrm::backend::{DeviceKind, cuda};
use hrm::config::Settings;
use hrm::cost::{Card, Prediction};
use hrm::train::needed::Needed;
use hrm::train::setup;

/// Preset and settings; the first that launches a kernel speaks for it.
const STEPS: &[(&str, &[&str])] = &[
    ("arc1", &["train.batch_size=32"]),
    ("sudoku-extreme", &["train.batch_size=8", "train.precision=f32"]),
    (
        "arc1",
        &[
            "train.batch_size=8",
            "model.num_heads=16",
            "train.optimizer=adamw",
            "train.ema=0.99",
            "train.clip=1",
            "model.pos_encodings=learned",
            "model.loss=softmax",
        ],
    ),
    (
        "sudoku-extreme",
        &[
            "train.batch_size=8",
            "model.num_heads=32",
            "train.precision=f32",
            "train.ema=0.99",
            "model.pos_encodings=learned",
        ],
    ),
    ("trm-sudoku-mlp", &["train.batch_size=32"]),
    ("trm-sudoku-mlp", &["train.batch_size=8", "train.precision=f32"]),
    ("arc-full", &[]),
    ("arc-full", &["train.batch_size=8", "train.precision=f32"]),
    ("arc-small", &["train.precision=bf16", "model.num_heads=8"]),
    ("arc-small", &["train.precision=bf16", "model.num_heads=16"]),
];

fn predict(preset: &str, settings: &[&str]) -> Prediction {
    let card = Card::named("4090").unwrap();
    let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
    let config = Settings::load(Some(preset), None, &settings).unwrap();
    let cells = config.data.canvas * config.data.canvas;
    let shape = config.shape(cells, 12, 1000);
    let needed = Needed::of(DeviceKind::Cuda, &shape, setup::options(&config)).unwrap();
    Prediction::new(&card, &needed.work.launched, |kernel, arch| {
        let (_, _, all) = cuda::resources().find(|(_, name, _)| *name == kernel)?;
        all.iter().find(|r| r.arch == arch).copied()
    })
}

pub fn by_kernel() -> BTreeMap<&'static str, &'static str> {
    let mut limits = BTreeMap::new();
    for (preset, settings) in STEPS {
        for class in predict(preset, settings).classes {
            limits.entry(class.kernel).or_insert(class.limit.name());
        }
    }
    limits
}

/// Of the tensor cores' peak in a whole step, predicted: what fusing and tiling have gained is not
/// lost unnoticed.
#[test]
fn a_step_is_predicted_near_the_peak() {
    for (preset, settings, least) in [
        ("arc1", &["train.batch_size=128"], 0.78),
        ("sudoku-extreme", &["train.batch_size=768"], 0.72),
    ] {
        let p = predict(preset, settings);
        assert!(p.tensor_frac >= least, "{preset}: {:.3} of the peak", p.tensor_frac);
        assert!(p.tensor_frac <= 1.0, "{preset}: {:.3} of the peak", p.tensor_frac);
    }
}
