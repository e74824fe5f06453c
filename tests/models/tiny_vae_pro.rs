//! `tiny_vae_pro` against the step that PyTorch recorded (`tools/baseline/tiny_vae_pro.py`).

use hrm::backend::{Device, Purpose};
use hrm::models::tiny_vae::{Autoencoder, Kind, Norms};
use hrm::ops::{gauss_sample, kl_gauss, mse};
use hrm::tape::{Mode, Tape, Var};
use hrm::tensor::Tensor;
use serde_json::Value;

use crate::common::compare::{assert_close, widen};
use crate::common::devices::devices;

const TOLERANCE: f64 = 1e-4;
const GRADIENT_TOLERANCE: f64 = 2e-3;

fn record() -> Value {
    serde_json::from_str(include_str!("tiny_vae_pro.json")).expect("tiny_vae_pro.json")
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(all) => all.iter().map(|x| x.as_f64().expect("a number")).collect(),
        one => vec![one.as_f64().expect("a number")],
    }
}

/// Uniform values by the integer hash of the recording script.
fn formula(elems: usize, salt: u32, scale: f64, offset: f64) -> Vec<f32> {
    let value = |i: usize| {
        let mut x = (i as u32).wrapping_add(salt.wrapping_mul(0x9E37_79B9));
        x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
        x = (x ^ (x >> 15)).wrapping_mul(0x846C_A68B);
        x ^= x >> 16;
        (offset + scale * (2.0 * f64::from(x >> 8) / f64::from(1 << 24) - 1.0)) as f32
    };
    (0..elems).map(value).collect()
}

fn filled(device: &Device) -> Box<dyn Autoencoder> {
    let model = Kind::TinyVaePro.build(device, &[], 0).unwrap();
    let params = model.params();
    for (salt, name) in params.names().enumerate() {
        let part = params.part(&params.master, name).unwrap();
        let scale = match part.shape().dims() {
            [_, row @ ..] if !row.is_empty() => (3.0 / row.iter().product::<usize>() as f64).sqrt(),
            _ => 0.1,
        };
        part.upload(&formula(part.elems(), salt as u32, scale, 0.0)).unwrap();
    }
    params.refresh().unwrap();
    model
}

#[test]
fn has_no_more_parameters_and_latents_than_the_reference() {
    let [pro, reference] =
        [Kind::TinyVaePro, Kind::TINY].map(|kind| kind.build(&Device::cpu(), &[], 0).unwrap());
    assert_eq!(pro.trainable_elems(), 288_259);
    assert_eq!(pro.params().elems(), pro.trainable_elems());
    assert_eq!(record()["parameters"], pro.trainable_elems());
    assert!(pro.trainable_elems() <= reference.trainable_elems());
    assert_eq!([pro.latent(), Kind::TinyVaePro.latent()], [reference.latent(); 2]);
}

/// With branches at zero and without its sigmoid the model is linear: f(x) - f(0) adds up.
#[test]
fn starts_as_a_linear_map() {
    let device = Device::cpu();
    let model = Kind::TinyVaePro.build(&device, &[], 7).unwrap();
    let logits = |x: &[f32]| {
        let x = Tensor::from_slice(&device, x, [1, 3, 32, 32], Purpose::Activations).unwrap();
        let y: Vec<f32> = model.reconstruct(&x).unwrap().download().unwrap();
        y.iter().map(|&y| f64::from(y / (1.0 - y)).ln()).collect::<Vec<f64>>()
    };
    let (a, b) = (formula(3072, 1, 0.2, 0.3), formula(3072, 2, 0.2, 0.3));
    let sum: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
    let [of_a, of_b, of_sum, of_0] = [&a, &b, &sum, &vec![0.0; 3072]].map(|x| logits(x));
    let parts: Vec<f64> = (0..3072).map(|i| of_a[i] + of_b[i] - of_0[i]).collect();
    assert_close("logits of a sum", &of_sum, &parts, 1e-4);
    assert!(of_sum.iter().any(|y| y.abs() > 0.1), "nothing comes through");
}

#[test]
fn a_step_is_that_of_pytorch() {
    let record = record();
    for (device_name, device) in devices() {
        println!("tiny_vae_pro on {device_name}");
        let model = filled(&device);
        let params = model.params();
        let mut tape = Tape::new(&device);
        let p = params.bind(&mut tape, Mode::Set).unwrap();
        let images = formula(3 * 3072, 1000, 0.5, 0.5);
        let images =
            Tensor::from_slice(&device, &images, [3, 3, 32, 32], Purpose::Activations).unwrap();
        let eps = formula(3 * 64, 1001, 1.5, 0.0);
        let eps = Tensor::from_slice(&device, &eps, [3, 64], Purpose::Activations).unwrap();
        let x = Var::constant(images);
        let [mu, log_var] = model.encode(&mut tape, &p, Norms::Training, &x).unwrap();
        let z = gauss_sample::forward(&mut tape, &mu, &log_var, &eps).unwrap();
        let y = model.decode(&mut tape, &p, Norms::Training, &z).unwrap();
        let recon = mse::forward(&mut tape, &y, &x).unwrap();
        let kl = kl_gauss::forward(&mut tape, &mu, &log_var).unwrap();

        let read = |v: &Var| widen(&v.tensor.download::<f32>().unwrap());
        let kl_weight = record["kl_weight"].as_f64().unwrap();
        let loss = read(&recon)[0] + kl_weight * read(&kl)[0];
        assert_close("loss", &[loss], &numbers(&record["loss"]), TOLERANCE);
        assert_close("mu", &read(&mu)[..64], &numbers(&record["mu"]), TOLERANCE);
        let spread = &read(&log_var)[..64];
        assert_close("log_var", spread, &numbers(&record["log_var"]), TOLERANCE);
        let row: Vec<f64> =
            (0..3 * 32).map(|i| (i / 32) * 1024 + 13 * 32 + i % 32).map(|i| read(&y)[i]).collect();
        assert_close("row", &row, &numbers(&record["row"]), TOLERANCE);

        let seed = |v| Tensor::from_slice(&device, &[v], [1], Purpose::Activations).unwrap();
        tape.backward(&[(&recon, seed(1.0)), (&kl, seed(kl_weight as f32))]).unwrap();
        for (i, name) in params.names().enumerate() {
            let part = params.part(&params.grad, name).unwrap();
            let grad = widen(&part.download::<f32>().unwrap());
            let norm = grad.iter().map(|g| g * g).sum::<f64>().sqrt();
            let along = widen(&formula(grad.len(), 2000 + i as u32, 1.0, 0.0));
            let probe = grad.iter().zip(&along).map(|(g, a)| g * a).sum::<f64>();
            let want = &record["grad"][name];
            let [want_norm, want_probe] = ["norm", "probe"].map(|k| numbers(&want[k])[0]);
            assert_close(name, &[norm], &[want_norm], GRADIENT_TOLERANCE);
            // A sum of both signs: held to the size of its terms.
            let error = (probe - want_probe).abs() / want_norm;
            assert!(error <= GRADIENT_TOLERANCE, "{name}: probe off by {error:e}");
        }
    }
}
