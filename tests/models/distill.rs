//! The distillation's steps: memory as planned, the same on every device, resumed bit for bit, and
//! nothing changed by a step that is refused.

use approx::relative_eq;
use hrm::Error;
use hrm::backend::Device;
use hrm::models::tiny_vae::{IMAGE_ELEMS, Kind};
use hrm::run::checkpoint::Side;
use hrm::tensor::Tensor;
use hrm::train::distill::{Needed, Options, StepReport, Trainer};
use hrm::train::optimizer::{OptimizerConfig, Rule};

use crate::common::devices::devices;

const BATCH: usize = 3;
const LR: f64 = 1e-3;

fn options() -> Options {
    Options {
        batch_size: BATCH,
        student: Kind::TinyVae { latent: 5, base: 2 },
        teacher: Some(Kind::StandardVae { latent: 7, base: 2 }),
        projector_is_trained: true,
        vgg: None,
        student_weights: [0.3, 0.1, 0.3, 0.2, 0.1],
        teacher_weights: [1.0, 0.1, 0.0, 0.0, 0.0],
        optimizer: OptimizerConfig {
            rule: Rule::AdamW,
            beta1: 0.9,
            beta2: 0.999,
            weight_decay: 1e-5,
            puzzle_emb_weight_decay: 0.0,
            clip: 1.0,
            ema: 0.0,
        },
        seed: 3,
    }
}

fn cases() -> Vec<(&'static str, Options)> {
    vec![
        ("taught", options()),
        ("frozen projector", Options { projector_is_trained: false, ..options() }),
        (
            "alone, separable",
            Options {
                student: Kind::UltraTinyVae { latent: 5, base: 2 },
                teacher: None,
                ..options()
            },
        ),
    ]
}

fn images(seed: usize) -> Vec<u8> {
    (0..BATCH * IMAGE_ELEMS).map(|i| (i * 31 + i / 7 * seed + seed * 97) as u8).collect()
}

/// Steps `from..to`, two of the teacher where there is one, then the student's.
fn steps(trainer: &mut Trainer, from: u64, to: u64) -> Vec<StepReport> {
    let of_teacher = if trainer.options().teacher.is_some() { 2 } else { 0 };
    (from..to)
        .map(|step| match step < of_teacher {
            true => trainer.step(Side::Teacher, &images(step as usize), step + 1, LR).unwrap(),
            false => {
                let of_student = step + 1 - of_teacher;
                trainer.step(Side::Student, &images(step as usize), of_student, LR).unwrap()
            }
        })
        .collect()
}

fn state(trainer: &Trainer) -> Vec<(String, Vec<u8>)> {
    let bytes = |t: &Tensor| t.read_bytes().unwrap().to_vec();
    trainer.state().unwrap().iter().map(|(name, t)| (name.clone(), bytes(t))).collect()
}

fn values(report: &StepReport) -> Vec<f64> {
    report.losses.iter().map(|(_, loss)| *loss).chain([report.grad_norm]).collect()
}

#[test]
fn devices_follow_the_cpu_in_the_memory_that_is_planned() {
    for (name, options) in cases() {
        let mut cpu = Trainer::new(&Device::cpu(), options.clone()).unwrap();
        let want = steps(&mut cpu, 0, 5);
        for (device_name, device) in devices() {
            let at = format!("{name} on {device_name}");
            let needed = Needed::of(device.kind(), &options).unwrap().memory.total_bytes();
            device.reserve(needed).unwrap();
            let mut trainer = Trainer::new(&device, options.clone()).unwrap();
            let got = steps(&mut trainer, 0, 5);
            assert_eq!(device.usage().span_bytes, needed, "{at}");
            assert_eq!(got.len(), want.len(), "{at}");
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                let names = |r: &StepReport| r.losses.iter().map(|l| l.0).collect::<Vec<_>>();
                assert_eq!(names(got), names(want), "{at}: step {i}");
                for (got, want) in values(got).iter().zip(values(want)) {
                    // A divergence near 0 is the difference of numbers near 1.
                    let near = relative_eq!(*got, want, epsilon = 1e-6, max_relative = 1e-3);
                    assert!(want.is_finite() && near, "{at}: step {i}: {got}, on the CPU {want}");
                }
            }
            let x: Vec<f32> = images(1).iter().map(|&x| x as f32 / 255.0).collect();
            let (mu, log_var) = trainer.encode(Side::Student, &x).unwrap();
            assert_eq!((mu.len(), log_var.len()), (BATCH * 5, BATCH * 5), "{at}");
            let drawn = trainer.decode(Side::Student, &mu).unwrap();
            assert_eq!(drawn.len(), x.len(), "{at}");
            assert!(drawn.iter().all(|x| (0.0..=1.0).contains(x)), "{at}");
        }
    }
}

#[test]
fn a_resumed_trainer_goes_on_bit_for_bit_in_both_phases() {
    for (name, options) in cases() {
        let device = Device::cpu();
        let mut whole = Trainer::new(&device, options.clone()).unwrap();
        let reports = steps(&mut whole, 0, 5);
        let want = state(&whole);
        for cut in [1, 3] {
            let mut first = Trainer::new(&device, options.clone()).unwrap();
            steps(&mut first, 0, cut);
            let other_seed = Options { seed: options.seed, ..options.clone() };
            let mut second = Trainer::new(&device, other_seed).unwrap();
            for ((_, from), (_, to)) in
                first.state().unwrap().iter().zip(second.state().unwrap().iter())
            {
                to.copy_from(from).unwrap();
            }
            let rest = steps(&mut second, cut, 5);
            assert_eq!(rest, reports[cut as usize..], "{name} cut after {cut}");
            let differ = state(&second)
                .into_iter()
                .zip(&want)
                .find(|(got, want)| got != *want)
                .map(|(got, _)| got.0);
            assert_eq!(differ, None, "{name} cut after {cut}");
        }
    }
}

#[test]
fn a_refused_step_leaves_everything_as_it_was() {
    for (device_name, device) in devices() {
        let mut trainer = Trainer::new(&device, options()).unwrap();
        steps(&mut trainer, 0, 3);
        let all = trainer.state().unwrap();
        let (_, weight) = all.iter().find(|(name, _)| name == "student.fc_var.bias").unwrap();
        let sound: Vec<f32> = weight.download().unwrap();
        let mut bad = sound.clone();
        bad[1] = f32::NAN;
        weight.upload(&bad).unwrap();
        let before = state(&trainer);
        let error = trainer.step(Side::Student, &images(9), 2, LR).unwrap_err();
        let Error::NonFinite { step: 2, what } = &error else { panic!("{device_name}: {error}") };
        assert!(what.contains("matmul"), "{device_name}: {what}");
        assert!(state(&trainer) == before, "{device_name}: a refused step changed the state");
        weight.upload(&sound).unwrap();
        trainer.step(Side::Student, &images(9), 2, LR).unwrap();
    }
}

#[test]
fn what_a_run_does_not_have_is_said() {
    let device = Device::cpu();
    let alone = Options { teacher: None, ..options() };
    let mut trainer = Trainer::new(&device, alone).unwrap();
    let words = |result: hrm::Result<StepReport>| result.unwrap_err().to_string();
    assert!(words(trainer.step(Side::Teacher, &images(1), 1, LR)).contains("model.teacher=none"));
    assert!(words(trainer.step(Side::Student, &images(1)[1..], 1, LR)).contains("3 images"));
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("vgg.safetensors");
    let of_file = || Options { vgg: Some(path.clone()), ..options() };
    let error = Trainer::new(&device, of_file()).map(drop).unwrap_err().to_string();
    assert!(error.contains("vgg.safetensors") && error.contains("model.features"), "{error}");
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &[0; 4]);
    safetensors::serialize_to_file([("other", view.unwrap())], None, &path).unwrap();
    let error = Trainer::new(&device, of_file()).map(drop).unwrap_err().to_string();
    assert!(error.contains("features.0.weight") && error.contains("torchvision"), "{error}");
}
