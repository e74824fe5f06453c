//! A model from outside the crate, that of `examples/05-a-model-of-your-own.rs`, through what
//! trains, saves, reads back and asks the others.

use hrm::backend::Device;
use hrm::dtype::DType;
use hrm::ops::act_halt::metric;
use hrm::run::checkpoint::{Meta, Reader, State, save};
use hrm::tensor::Tensor;
use hrm::train::trainer::Trainer;

use crate::common::devices::devices;

#[allow(dead_code)]
#[path = "../../examples/05-a-model-of-your-own.rs"]
mod example;
use example::{RATES, answers, batch, trainer};

/// Losses of the steps, each a row's.
fn steps(trainer: &mut Trainer, numbers: std::ops::Range<usize>) -> Vec<f64> {
    let step = |number| {
        let report = trainer.step(vec![batch(number)], RATES).unwrap();
        report.sums[metric::LM_LOSS] / report.rows as f64
    };
    numbers.map(step).collect()
}

fn bits(trainer: &Trainer) -> Vec<(String, Vec<u8>)> {
    let bytes = |t: Tensor| t.read_bytes().unwrap().to_vec();
    trainer.state().unwrap().into_iter().map(|(name, t)| (name, bytes(t))).collect()
}

#[test]
fn a_model_of_ones_own_learns() {
    for (name, device) in devices() {
        for dtype in [DType::F32, DType::Bf16] {
            let mut trainer = trainer(&device, dtype).unwrap();
            let losses = steps(&mut trainer, 0..80);
            let (first, last) = (losses[0], losses[79]);
            assert!(first > 1.0 && last < 0.1, "{dtype} on {name}: loss {first} to {last}");
            let asked = batch(3);
            let got = answers(&*trainer.model, &asked).unwrap();
            assert_eq!(got, asked.labels, "{dtype} on {name}");
        }
    }
}

#[test]
fn its_checkpoint_continues_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    for (name, device) in devices() {
        let path = dir.path().join(format!("{name}.safetensors"));
        let mut whole = trainer(&device, DType::F32).unwrap();
        steps(&mut whole, 0..5);
        save(&path, &meta(whole.step), &whole.state().unwrap()).unwrap();
        let losses = steps(&mut whole, 5..9);

        let mut resumed = trainer(&device, DType::F32).unwrap();
        let reader = Reader::open(&path).unwrap();
        reader.load(&resumed.state().unwrap()).unwrap();
        resumed.loaded(reader.meta.state.step).unwrap();
        assert_eq!(steps(&mut resumed, 5..9), losses, "{name}");
        assert!(bits(&resumed) == bits(&whole), "{name}: other bits than without a pause");

        let mut other = trainer(&device, DType::F32).unwrap();
        assert!(steps(&mut other, 5..9) != losses, "{name}: the checkpoint makes no difference");
    }
}

fn meta(step: u64) -> Meta {
    let state = State {
        step,
        position: Default::default(),
        samples: 0,
        seed: 1,
        best_val_loss: f64::INFINITY,
        best_step: 0,
        waited: 0,
        validated: 0,
        data_digest: String::new(),
        pending: vec![],
    };
    Meta { program: "a test".into(), plan: String::new(), state }
}

/// What it needs of a device is counted before it is built there, as for the others.
#[test]
fn its_step_runs_on_a_device_without_memory() {
    let device = Device::shape_only(hrm::backend::DeviceKind::Cuda);
    let mut trainer = trainer(&device, DType::Bf16).unwrap();
    trainer.dry_run().unwrap();
    let launched = device.take_work().launched;
    let names: Vec<&str> = launched.iter().map(|launch| launch.kernel).collect();
    for op in ["embedding", "matmul", "bias_relu", "cross_entropy", "adam"] {
        assert!(names.iter().any(|name| name.starts_with(op)), "{op}: {names:?}");
    }
}
