//! Every tensor of the autoencoder goldens: forwards in training and evaluation, losses, gradients,
//! running statistics, steps of the distillation with their updates, the perceptual features. The
//! teacher's weights and VGG's come by formula (README of the goldens).

use hrm::backend::{Device, Purpose};
use hrm::dtype::DType;
use hrm::models::tiny_vae::{
    Autoencoder, Features, Kind, Norms, TERMS, Teacher, Terms, Vgg, student_terms, teacher_terms,
};
use hrm::ops::global_norm;
use hrm::tape::{Mode, Tape, Var};
use hrm::tensor::Tensor;
use hrm::train::optimizer::{Optimizer, OptimizerConfig, Rates, Rule, StepFactors};
use serde_json::Value;

use super::noise::Noise;
use crate::common::compare::{relative_error, widen};
use crate::common::devices::devices;
use crate::common::golden::{self, Golden, Place};

const TOLERANCE: f64 = 1e-3;
const GRAD_TOLERANCE: f64 = 2e-3;
/// A bias before a batch norm has no gradient: what is computed is rounding, this small beside the
/// gradient of its layer's weight.
const CANCELLED: f64 = 1e-4;

/// The README's integer hash.
fn by_formula(elems: usize, salt: u64, scale: f64, offset: f64) -> Vec<f32> {
    let one = |i: u64| {
        let mut x = i.wrapping_add(salt.wrapping_mul(0x9E37_79B9)) as u32;
        x = (x ^ x >> 16).wrapping_mul(0x7FEB_352D);
        x = (x ^ x >> 15).wrapping_mul(0x846C_A68B);
        x ^= x >> 16;
        let unit = (x >> 8) as f64 / (1u64 << 24) as f64;
        (offset + scale * (2.0 * unit - 1.0)) as f32
    };
    (0..elems as u64).map(one).collect()
}

fn fill_teacher(golden: &Golden, teacher: &dyn Autoencoder) {
    let fill = &golden.json["teacher_fill"];
    let salt0 = fill["salt0"].as_u64().expect("salt0");
    let tensors = teacher.tensors().unwrap();
    let order = fill["order"].as_array().expect("order");
    for (k, name) in order.iter().map(|n| n.as_str().unwrap()).enumerate() {
        let (_, tensor) = tensors.iter().find(|(n, _)| n == name).expect("a known tensor");
        let dims = tensor.shape().dims().to_vec();
        let is_matrix = dims.len() > 1;
        let (scale, offset) = if name.ends_with("running_mean") {
            (0.1, 0.0)
        } else if name.ends_with("running_var") {
            (0.3, 1.0)
        } else if !is_matrix {
            // A norm's weight is the only vector called weight.
            (0.1, if name.ends_with(".weight") { 1.0 } else { 0.0 })
        } else {
            let transposed = name.starts_with("decoder.");
            let fan = match transposed {
                true => (dims[0] * dims[2] * dims[3]) as f64 / 4.0,
                false => dims[1..].iter().product::<usize>() as f64,
            };
            let head = name.starts_with("fc_mu") || name.starts_with("fc_var");
            ((6.0 / fan).sqrt() * if head { 0.25 } else { 1.0 }, 0.0)
        };
        let values = by_formula(tensor.elems(), salt0 + k as u64, scale, offset);
        tensor.upload(&values).unwrap();
        let head = format!("teacher/w_head/{name}");
        golden.check_exact(&head, &values[..golden.shape(&head)[0]]);
    }
}

fn fill_vgg(vgg: &Vgg) {
    for (i, (_, tensor)) in vgg.tensors().unwrap().into_iter().enumerate() {
        let (salt, scale) = match tensor.shape().dims() {
            [_, from, ..] => (900 + i, (6.0 / (9.0 * *from as f64)).sqrt()),
            _ => (900 + i, 0.05),
        };
        tensor.upload(&by_formula(tensor.elems(), salt as u64, scale, 0.0)).unwrap();
    }
}

struct Bench<'a> {
    golden: &'a Golden,
    device: &'a Device,
}

impl Bench<'_> {
    fn tensor(&self, name: &str) -> Tensor {
        let (values, shape) = (self.golden.f32s(name), self.golden.shape(name));
        Tensor::from_slice(self.device, &values, shape, Purpose::Activations).unwrap()
    }

    fn student(&self) -> Box<dyn Autoencoder> {
        let of = |name: &str| self.golden.shape(&format!("student/w/{name}")).to_vec();
        let kind = Kind::TinyVae { latent: of("fc_mu.weight")[0], base: of("enc1.weight")[0] };
        let student = kind.build(self.device, &[], 0).unwrap();
        let tensors = student.tensors().unwrap();
        let names = self.golden.names("student/w/");
        assert_eq!(names.len(), tensors.len(), "tensors of the student");
        for (name, tensor) in tensors {
            let full = format!("student/w/{name}");
            assert_eq!(tensor.shape().dims(), self.golden.shape(&full), "{full}");
            match tensor.dtype() {
                DType::F32 => tensor.upload(&self.golden.f32s(&full)).unwrap(),
                _ => tensor.upload(&self.golden.i32s(&full)).unwrap(),
            }
        }
        student
    }

    fn teacher(&self) -> Box<dyn Autoencoder> {
        let latent = self.golden.shape("distill/latent_projector.weight")[1];
        let base = self.golden.shape("teacher/train/after/encoder.1.running_mean")[0];
        let teacher = Kind::StandardVae { latent, base }.build(self.device, &[], 0).unwrap();
        fill_teacher(self.golden, &*teacher);
        teacher
    }

    fn check(&self, name: &str, got: &Tensor) {
        self.golden.check_f32(name, &got.download::<f32>().unwrap(), TOLERANCE);
    }

    fn evaluation(&self, who: &str, model: &dyn Autoencoder) {
        let x = self.tensor("x");
        let p = model.params().constants().unwrap();
        let mut tape = Tape::no_grad(self.device);
        let [mu, log_var] =
            model.encode(&mut tape, &p, Norms::Evaluation, &Var::constant(x.clone())).unwrap();
        self.check(&format!("{who}/eval/mu"), &mu.tensor);
        self.check(&format!("{who}/eval/log_var"), &log_var.tensor);
        self.check(&format!("{who}/eval/recon"), &model.reconstruct(&x).unwrap());
    }

    /// Reconstruction and KL with their weights, backward, and what it leaves.
    fn training(&self, who: &str, model: &dyn Autoencoder, weights: [f64; 5]) {
        let at = |name: &str| format!("{who}/train/{name}");
        let (x, eps) = (self.tensor("x"), self.tensor(&at("eps")));
        let mut tape = Tape::new(self.device);
        let p = model.params().bind(&mut tape, Mode::Set).unwrap();
        let terms = teacher_terms(&mut tape, model, &p, &x, &eps).unwrap();
        self.check(&at("recon"), &terms.x_hat.tensor);
        self.check(&at("mu"), &terms.mu.tensor);
        self.check(&at("log_var"), &terms.log_var.tensor);
        for (name, term) in [("loss_recon", &terms.values[0]), ("loss_kl", &terms.values[1])] {
            self.check(&at(name), &term.as_ref().unwrap().tensor);
        }
        self.backward(tape, &terms, weights);
        self.gradients(&format!("{who}/train"), model);
        let guard = guard_up(self.device);
        model.running().follow(&guard).unwrap();
        model.running().set_batches(1).unwrap();
        self.tensors_after(&at("after"), &model.tensors().unwrap(), None);
    }

    fn backward(&self, tape: Tape, terms: &Terms, weights: [f64; 5]) {
        let weights = weights.map(|w| w as f32);
        let weights = Tensor::from_slice(self.device, &weights, [5], Purpose::Workspace).unwrap();
        terms.backward(tape, &weights).unwrap();
    }

    /// Whole gradients, or norms and heads of them.
    fn gradients(&self, at: &str, model: &dyn Autoencoder) {
        let params = model.params();
        let gradient = |name: &str| -> Option<Vec<f64>> {
            Some(widen(&params.part(&params.grad, name).ok()?.download::<f32>().unwrap()))
        };
        for name in params.names() {
            let got = gradient(name).expect("a parameter");
            let weight = name.strip_suffix("bias").map(|layer| format!("{layer}weight"));
            let weight = weight.and_then(|weight| gradient(&weight)).unwrap_or_default();
            let rounding = CANCELLED * largest(&weight);
            let [whole, head, norm] =
                ["grad", "grad_head", "grad_norm"].map(|part| format!("{at}/{part}/{name}"));
            if self.golden.has(&whole) {
                self.gradient(&whole, &got, rounding);
            }
            if self.golden.has(&head) {
                let len = self.golden.shape(&head)[0];
                self.gradient(&head, &got[..len], rounding);
            }
            if self.golden.has(&norm) {
                let square = got.iter().map(|g| g * g).sum::<f64>();
                self.gradient(&norm, &[square.sqrt()], rounding * (got.len() as f64).sqrt());
            }
        }
    }

    /// Within the tolerance, or no more than `rounding` on both sides.
    fn gradient(&self, name: &str, got: &[f64], rounding: f64) {
        let want = self.golden.f64s(name);
        let error = relative_error(got, &want);
        let is_nothing = |x: &[f64]| x.iter().all(|x| x.abs() <= rounding);
        let cancelled = got.len() == want.len() && is_nothing(got) && is_nothing(&want);
        self.golden.judge(name, if cancelled { 0.0 } else { error }, GRAD_TOLERANCE);
    }

    /// Whatever of `tensors` the golden holds under `at`.
    fn tensors_after(&self, at: &str, tensors: &[(String, Tensor)], noise: Option<&Noise>) {
        for (name, tensor) in tensors {
            let full = format!("{at}/{name}");
            if !self.golden.has(&full) {
                continue;
            }
            if tensor.dtype() != DType::F32 {
                self.golden.check_exact(&full, &tensor.download::<i32>().unwrap());
                continue;
            }
            let got = widen(&tensor.download::<f32>().unwrap());
            match noise.filter(|noise| noise.knows(name)) {
                // All of a bias before a norm moves by rounding.
                Some(noise) => noise.check(self.golden, (&full, name), &got, TOLERANCE, 1.0),
                // A bias before a norm that rounding moved is in the mean that the norm sees.
                None if noise.is_some() && name.ends_with("running_mean") => {
                    self.golden.check(&full, &got, 5.0 * TOLERANCE);
                }
                None => self.golden.check(&full, &got, TOLERANCE),
            }
        }
    }
}

fn largest(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |m, x| m.max(x.abs()))
}

fn guard_up(device: &Device) -> Tensor {
    Tensor::from_slice(device, &[0.0_f32, 1.0, 1.0], [3], Purpose::Workspace).unwrap()
}

fn weights_of(json: &Value) -> [f64; 5] {
    ["recon", "kl", "distill_latent", "distill_recon", "perceptual"]
        .map(|key| json["weights"][key].as_f64().expect("a weight"))
}

fn goldens() -> Vec<Place> {
    golden::find("of TinyVAE (vae)", |_, json| json.get("teacher_fill").is_some())
}

/// The official names of the terms in the goldens.
const NAMES: [&str; 5] = ["recon", "kl", "latent_distill", "recon_distill", "perceptual"];

#[test]
fn golden_vae_every_tensor() {
    for place in goldens() {
        let device = Device::cpu();
        let golden = place.open();
        let bench = Bench { golden: &golden, device: &device };
        let weights = weights_of(&golden.json);
        let alone = [1.0, weights[1], 0.0, 0.0, 0.0];
        let student = bench.student();
        bench.evaluation("student", &*student);
        bench.training("student", &*student, alone);
        let teacher = bench.teacher();
        bench.evaluation("teacher", &*teacher);
        bench.training("teacher", &*teacher, alone);
        let vgg = Vgg::new(&device).unwrap();
        fill_vgg(&vgg);
        perceptual(&bench, &vgg);
        let without = [weights[0], weights[1], weights[2], weights[3], 0.0];
        distillation(&bench, &vgg, "distill", weights, usize::MAX);
        distillation(&bench, &vgg, "distill_noperc", without, usize::MAX);
        golden.finish();
    }
}

/// The student's forward, losses and gradients, on the CUDA device; the teacher and VGG are large,
/// and each op of theirs is the student's too.
#[test]
fn golden_vae_student_on_every_device() {
    for place in goldens() {
        for (device_name, device) in devices() {
            println!("{} on {device_name}", place.name);
            let golden = place.open();
            let bench = Bench { golden: &golden, device: &device };
            let student = bench.student();
            bench.evaluation("student", &*student);
            bench.training("student", &*student, [1.0, weights_of(&golden.json)[1], 0.0, 0.0, 0.0]);
            golden.expect_no_failures();
        }
    }
}

fn perceptual(bench: &Bench, vgg: &Vgg) {
    let x = Var::constant(bench.tensor("x"));
    let other = Var::constant(bench.tensor("distill/step1/x"));
    let mut tape = Tape::no_grad(bench.device);
    // The file holds the first channels only.
    let features = vgg.features(&mut tape, &x).unwrap().tensor;
    let [_, channels, ..] = features.dims::<4>("features (B, C, GH, GW)").unwrap();
    let want = bench.golden.shape("vgg/feat_of_x");
    let plane = want[2] * want[3];
    let features = features.download::<f32>().unwrap();
    let first: Vec<f32> = features
        .chunks_exact(channels * plane)
        .flat_map(|image| image[..want[1] * plane].to_vec())
        .collect();
    bench.golden.check_f32("vgg/feat_of_x", &first, TOLERANCE);
    let distance = Features::Vgg(vgg).distance(&mut tape, &x, &other).unwrap();
    bench.check("vgg/loss_x_vs_step1", &distance.tensor);
}

/// Steps as the reference makes them: losses, gradients and their norm, then parameters, statistics
/// and a validation after the last.
fn distillation(bench: &Bench, vgg: &Vgg, run: &str, weights: [f64; 5], max_steps: usize) {
    let (golden, device) = (bench.golden, bench.device);
    let of_recipe = |key: &str| golden.json["weights"][key].as_f64().expect("a number");
    let (student, teacher) = (bench.student(), bench.teacher());
    let projector = bench.tensor(&format!("{run}/latent_projector.weight"));
    let settings = OptimizerConfig {
        rule: Rule::AdamW,
        beta1: 0.9,
        beta2: 0.999,
        weight_decay: of_recipe("weight_decay"),
        puzzle_emb_weight_decay: 0.0,
        clip: of_recipe("clip"),
        ema: 0.0,
    };
    let guard = guard_up(device);
    let params = student.params();
    let optimizer = Optimizer::new(device, params, settings, guard.clone()).unwrap();
    let mut noise = Noise::default();
    let mut steps = 0;
    for step in (1..).take(max_steps) {
        let at = |name: &str| format!("{run}/step{step}/{name}");
        if !golden.has(&at("grad_norm")) {
            break;
        }
        steps = step;
        // The second run sees the first one's images and noise.
        let input = |name: &str| {
            let own = at(name);
            bench.tensor(&if golden.has(&own) { own } else { format!("distill/step{step}/{name}") })
        };
        let x = input("x");
        let eps = [input("eps_decode"), input("eps_latent")];
        let mut tape = Tape::new(device);
        let p = params.bind(&mut tape, Mode::Set).unwrap();
        let taught_by = Teacher { model: &*teacher, projector: Some(&projector) };
        let (features, eps) = (Some(Features::Vgg(vgg)), [&eps[0], &eps[1]]);
        let terms =
            student_terms(&mut tape, &*student, &p, Some(&taught_by), features, &x, eps).unwrap();
        let mut total = 0.0;
        for (i, name) in NAMES.iter().enumerate() {
            let term = terms.values[i].as_ref().unwrap_or_else(|| panic!("term {}", TERMS[i]));
            let value = term.tensor.download::<f32>().unwrap()[0] as f64;
            golden.check(&at(&format!("loss/{name}")), &[value], TOLERANCE);
            total += weights[i] * value;
        }
        golden.check(&at("loss/total"), &[total], TOLERANCE);
        bench.backward(tape, &terms, weights);
        bench.gradients(&format!("{run}/step{step}"), &*student);
        let rates = Rates { lr: of_recipe("lr"), ..Rates::default() };
        let of_model = largest(&widen(&params.grad.download::<f32>().unwrap()));
        for name in params.names() {
            let gradient = params.part(&params.grad, name).unwrap().download::<f32>().unwrap();
            noise.note_beside(of_model, name, &widen(&gradient), rates.lr);
        }
        let factors = optimizer.factors(rates, step as u64);
        let of = |values: &[f32]| {
            Tensor::from_slice(device, values, [values.len()], Purpose::Workspace).unwrap()
        };
        let factors = StepFactors::over(&of(&factors)).unwrap();
        optimizer.step(params, None, &of(&[0.0]), &factors).unwrap();
        student.running().follow(&guard).unwrap();
        let norm = guard.download::<f32>().unwrap();
        assert_eq!((norm.len(), norm[2]), (global_norm::GUARD, 1.0), "the update was made");
        golden.check(&at("grad_norm"), &[norm[0] as f64], GRAD_TOLERANCE);
    }
    assert!(steps > 0, "{run} has steps");
    student.running().set_batches(steps as u64).unwrap();
    let after = format!("{run}/step{steps}/after");
    bench.tensors_after(&after, &student.tensors().unwrap(), Some(&noise));
    validation(bench, vgg, &*student, run, weights);
}

/// Scores after steps, in which rounding moved some parameters by as much as they moved.
fn validation(bench: &Bench, vgg: &Vgg, student: &dyn Autoencoder, run: &str, weights: [f64; 5]) {
    let at = |name: &str| format!("{run}/validate_on_x/{name}");
    if !bench.golden.has(&at("total")) {
        return;
    }
    let x = Var::constant(bench.tensor("x"));
    let mut tape = Tape::no_grad(bench.device);
    let p = student.params().constants().unwrap();
    let [mu, log_var] = student.encode(&mut tape, &p, Norms::Evaluation, &x).unwrap();
    let x_hat = student.decode(&mut tape, &p, Norms::Evaluation, &mu).unwrap();
    let recon = hrm::ops::mse::forward(&mut tape, &x_hat, &x).unwrap();
    let kl = hrm::ops::kl_gauss::forward(&mut tape, &mu, &log_var).unwrap();
    let far = Features::Vgg(vgg).distance(&mut tape, &x_hat, &x).unwrap();
    let mut total = 0.0;
    for (name, weight, term) in
        [("recon", weights[0], recon), ("kl", weights[1], kl), ("perceptual", weights[4], far)]
    {
        let value = term.tensor.download::<f32>().unwrap()[0] as f64;
        bench.golden.check(&at(name), &[value], 5.0 * TOLERANCE);
        total += weight * value;
    }
    bench.golden.check(&at("total"), &[total], 5.0 * TOLERANCE);
}
