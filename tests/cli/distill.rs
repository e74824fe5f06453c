//! `hrm distill` from an empty folder: archives in CIFAR-10's format, a whole tiny distillation,
//! what it leaves behind, interruptions, and what it refuses.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use hrm::rng::{Rng, Stream};
use serde_json::Value;

use crate::lab::{Lab, expect_error, expect_success, stderr, stdout};

/// A label and three planes: a bright disc of one colour somewhere on a dark ramp of another.
fn record(rng: &mut Rng) -> Vec<u8> {
    let (cy, cx) = (8 + rng.below(16) as i32, 8 + rng.below(16) as i32);
    let radius = 3 + rng.below(6) as i32;
    let (disc, ramp) = ([0; 3].map(|_| 120 + rng.below(136)), [0; 3].map(|_| rng.below(4)));
    let mut record = vec![rng.below(10) as u8];
    for c in 0..3 {
        for (y, x) in (0..32).flat_map(|y| (0..32).map(move |x| (y, x))) {
            let inside = (y - cy).pow(2) + (x - cx).pow(2) <= radius * radius;
            record.push(if inside { disc[c] } else { ramp[c] * (x + y) as u32 } as u8);
        }
    }
    record
}

/// `cifar-10-binary.tar.gz` with 5 batches of `n` images and a test batch of `n`.
fn archive(path: &Path, seed: u64, n: usize) {
    let mut rng = Rng::new(seed, Stream::Test, 0);
    let mut tar = tar::Builder::new(vec![]);
    let names = (1..=5).map(|i| format!("data_batch_{i}.bin")).chain(["test_batch.bin".into()]);
    for name in names {
        let batch: Vec<u8> = (0..n).flat_map(|_| record(&mut rng)).collect();
        let mut header = tar::Header::new_gnu();
        header.set_size(batch.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("cifar-10-batches-bin/{name}"), &batch[..]).unwrap();
    }
    let bytes = tar.into_inner().unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut gz = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    gz.write_all(&bytes).unwrap();
    gz.finish().unwrap();
}

const ARCHIVE: &str = "cifar-10-binary.tar.gz";

fn lab() -> Lab {
    let lab = Lab::empty();
    archive(&lab.path(ARCHIVE), 1, 8);
    lab
}

/// 40 images, 10 steps of 8 for the teacher, 15 for the student.
const TINY: &[&str] = &[
    "distill",
    "--dataset",
    ARCHIVE,
    "--threads",
    "1",
    "train.teacher_epochs=2",
    "train.epochs=3",
    "train.batch_size=8",
    "train.log_every=4",
];

fn distill(lab: &Lab, more: &[&str]) -> Output {
    lab.hrm(&[TINY, more].concat())
}

fn json(lab: &Lab, path: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(lab.path(path)).unwrap()).unwrap()
}

#[test]
fn a_whole_distillation_from_an_empty_folder() {
    let lab = lab();
    let output = distill(&lab, &["--run-dir", "r"]);
    expect_success(&output);
    let said = stdout(&output);
    for part in ["40 training and 8 test images", "10 steps of the teacher, 15 of the student"] {
        assert!(said.contains(part), "{said}");
    }
    for part in ["validation step", "PCA-", "student", "teacher", "done: step 25"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    let report = json(&lab, "r/eval/distill.json");
    let [student, teacher] = [0, 1].map(|i| &report["coders"][i]);
    assert_eq!(
        (student["name"].as_str(), teacher["name"].as_str()),
        (Some("student"), Some("teacher"))
    );
    assert_eq!(student["parameters"], 294_403);
    assert_eq!(teacher["parameters"], 8_664_195);
    assert_eq!(student["codes"]["units"], 64);
    let ratio = report["parameter_ratio"].as_f64().unwrap();
    assert!((ratio - 8_664_195.0 / 294_403.0).abs() < 1e-9);
    // Weights only: four bytes per parameter and a few for running statistics, no moments.
    let bytes = student["weight_bytes"].as_f64().unwrap() / 294_403.0;
    assert!((4.0..4.1).contains(&bytes), "{bytes} bytes per parameter");
    for row in [student, teacher, &report["pca"]] {
        let (mse, ssim) = (row["mse"].as_f64().unwrap(), row["ssim"].as_f64().unwrap());
        assert!(mse > 0.0 && mse < 0.5 && ssim <= 1.0, "{row}");
        assert!((row["psnr_db"].as_f64().unwrap() + 10.0 * mse.log10()).abs() < 1e-9);
    }
    assert!(report["pca_clipped"]["mse"].as_f64() <= report["pca"]["mse"].as_f64());
    for picture in ["reconstruction.png", "interpolation.png"] {
        let bytes = std::fs::read(lab.path("r/eval").join(picture)).unwrap();
        assert!(bytes.starts_with(b"\x89PNG"), "{picture}");
    }
    let metrics = lab.metrics("r");
    let phases = |phase: &str| metrics.iter().filter(|m| m["phase"] == phase).count();
    // Every 4 steps, and a line at the end of each phase; 3 validations.
    assert_eq!((phases("teacher"), phases("student")), (3, 5 + 3), "{metrics:?}");
    let losses = ["loss", "recon", "kl", "latent", "output", "perceptual"];
    let last = metrics.iter().rev().find(|m| m.get("loss").is_some()).unwrap();
    for name in losses {
        assert!(last[name].as_f64().is_some_and(f64::is_finite), "{name}: {last}");
    }
    // The same command again has nothing left to do; the score is the same.
    let again = distill(&lab, &["--run-dir", "r"]);
    expect_success(&again);
    assert_eq!(json(&lab, "r/eval/distill.json"), report);
}

#[test]
fn test_scores_a_run_or_a_file_and_others_beside_it() {
    let lab = lab();
    expect_success(&distill(
        &lab,
        &["--run-dir", "r", "train.max_steps=2", "--teacher-epochs", "1"],
    ));
    let alone = ["--run-dir", "alone", "model.teacher=none", "train.max_steps=2"];
    expect_success(&distill(&lab, &alone));
    let output =
        lab.hrm(&["distill", "test", "r", "--beside", "alone", "--json", "--output", "out"]);
    expect_success(&output);
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let names: Vec<&str> =
        report["coders"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["student", "teacher", "student alone"]);
    assert_eq!(json(&lab, "out/distill.json"), report);
    // Without a teacher there is nothing to compare sizes with.
    let file = "alone/checkpoints/hrm_arc_final.safetensors";
    let output = lab.hrm(&["distill", "test", file, "--json"]);
    expect_success(&output);
    let of_file: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert!(
        of_file.get("parameter_ratio").is_none() && lab.path("alone/eval/distill.json").exists()
    );
    assert_eq!(of_file["coders"][0]["mse"], report["coders"][2]["mse"]);
    let error = expect_error(&lab.hrm(&["eval", "r"]));
    assert!(error.contains("hrm distill test"), "{error}");
    // Other images, by name.
    archive(&lab.path("other.tar.gz"), 2, 8);
    let output = lab.hrm(&["distill", "test", "r", "--dataset", "other.tar.gz"]);
    expect_success(&output);
    assert!(stdout(&output).contains("teacher to student: 29.4 times the parameters"));
    archive(&lab.path(ARCHIVE), 3, 8);
    let error = expect_error(&lab.hrm(&["distill", "test", "r"]));
    assert!(error.contains("other images than the run was trained on"), "{error}");
    let error = expect_error(&distill(&lab, &["--run-dir", "r"]));
    assert!(error.contains("data digest"), "{error}");
}

#[test]
fn kill_9_and_resume_end_like_the_uninterrupted_run() {
    let lab = lab();
    let plan = ["train.checkpoint_every=5", "train.keep=2"];
    let start = std::time::Instant::now();
    expect_success(&distill(&lab, &[&plan[..], &["--run-dir", "whole"]].concat()));
    let whole_ms = start.elapsed().as_millis() as u64;
    let mut rng = Rng::new(3, Stream::Test, 1);
    let mut kills = 0;
    for round in 0..60 {
        let arguments = [TINY, &plan, &["--run-dir", "killed"]].concat();
        let mut child = lab.command(&arguments);
        let mut child = child.stdout(std::process::Stdio::null()).spawn().unwrap();
        let delay_ms = rng.below(whole_ms as u32 / 3 + 1) as u64 + round * whole_ms / 20;
        std::thread::sleep(std::time::Duration::from_millis(delay_ms));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    println!("{kills} kills");
    assert!(kills >= 2, "{kills} kills");
    expect_success(&distill(&lab, &[&plan[..], &["--run-dir", "killed"]].concat()));
    let best = "checkpoints/hrm_arc_best.safetensors";
    for file in ["", best] {
        assert_eq!(lab.digest(&format!("killed/{file}")), lab.digest(&format!("whole/{file}")));
    }
    assert_eq!(lab.metrics("killed"), lab.metrics("whole"));
    assert_eq!(lab.checkpoints("killed"), lab.checkpoints("whole"));
    assert_eq!(
        json(&lab, "killed/eval/distill.json")["pca"],
        json(&lab, "whole/eval/distill.json")["pca"]
    );
}

#[test]
fn a_signal_saves_and_says_how_to_go_on() {
    let lab = lab();
    let long = ["train.epochs=100000", "--run-dir", "r", "train.checkpoint_every=0"];
    let mut child = lab.command(&[TINY, &long].concat());
    let child = child.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    let child = child.spawn().unwrap();
    while !lab.path("r/metrics.jsonl").exists()
        || std::fs::metadata(lab.path("r/metrics.jsonl")).unwrap().len() == 0
    {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    let output = child.wait_with_output().unwrap();
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{error}");
    assert!(
        error.contains("is saved") && error.contains("hrm distill tiny-vae --run-dir r"),
        "{error}"
    );
}

#[test]
fn one_thread_and_two_give_the_same_bits() {
    let lab = lab();
    for (dir, threads) in [("one", "1"), ("two", "2")] {
        let few = ["--run-dir", dir, "--threads", threads, "train.max_steps=3"];
        let from = [&TINY[..3], &TINY[5..]].concat();
        expect_success(&lab.hrm(&[&from[..], &few].concat()));
    }
    assert_eq!(lab.digest("one"), lab.digest("two"));
}

#[test]
fn what_cannot_be_distilled_is_refused_with_a_way_on() {
    let lab = lab();
    let error = expect_error(&lab.hrm(&["train", "tiny-vae"]));
    assert!(error.contains("run `hrm distill tiny-vae`"), "{error}");
    let refused = |more: &[&str]| expect_error(&distill(&lab, more));
    let error = refused(&["train.batchsize=3"]);
    assert!(error.contains("did you mean train.batch_size?"), "{error}");
    let error = refused(&["train.precision=bf16"]);
    assert!(error.contains("f32 only"), "{error}");
    let dataset = |dataset: &str| expect_error(&lab.hrm(&["distill", "--dataset", dataset]));
    let error = dataset("cifar-100");
    assert!(error.contains("no such file or folder") && error.contains("fashion-mnist"), "{error}");
    let error = dataset("cifar10");
    assert!(error.contains("hrm data fetch cifar10 --from"), "{error}");
    let good = std::fs::read(lab.path(ARCHIVE)).unwrap();
    for (name, bytes) in [
        ("half.tar.gz", &good[..good.len() / 2]),
        ("noise.tar.gz", &[7; 5000]),
        ("empty.tar.gz", &[]),
    ] {
        std::fs::write(lab.path(name), bytes).unwrap();
        let error = dataset(name);
        assert!(error.contains(name), "{error}");
    }
    std::fs::create_dir(lab.path("folder")).unwrap();
    assert!(dataset("folder").contains("holds no images"));
    assert!(!lab.path("runs").exists(), "no run folder for what never began");
    let error = expect_error(&lab.hrm(&["distill", "test", "folder"]));
    assert!(error.contains("no checkpoint"), "{error}");
    std::fs::write(lab.path("x.safetensors"), &good[..600]).unwrap();
    let error = expect_error(&lab.hrm(&["distill", "test", "x.safetensors"]));
    assert!(error.contains("x.safetensors"), "{error}");
    let help = lab.hrm(&["distill", "--help"]);
    assert!(stdout(&help).contains("hrm distill test runs/tiny-vae-1"));
}

#[test]
fn a_fetched_set_is_found_by_name() {
    let lab = lab();
    expect_success(&lab.hrm(&["data", "fetch", "cifar10", "--from", ARCHIVE]));
    let few = ["--dataset", "cifar10", "train.max_steps=1", "--teacher-epochs", "1"];
    let output = lab.hrm(&[&["distill"][..], &few, &["train.batch_size=8"]].concat());
    expect_success(&output);
    assert!(lab.path("runs/tiny-vae-1/eval/distill.json").exists());
}

#[test]
fn a_distillation_is_planned_without_its_images() {
    let lab = Lab::empty();
    let plan = |more: &[&str]| -> Value {
        let output = lab.hrm(&[&["plan", "tiny-vae", "--vram", "2GiB", "--json"], more].concat());
        expect_success(&output);
        serde_json::from_str(&stdout(&output)).unwrap()
    };
    let on_cpu = plan(&[]);
    let phases = &on_cpu["phases"];
    assert_eq!(phases["teacher"]["parameters"], 8_664_195);
    assert_eq!(phases["student"]["parameters"], 294_403);
    assert_eq!(phases["student"]["projector_parameters"], 64 * 512);
    // 60,000 images make 468 batches of 128.
    assert_eq!(
        (&phases["teacher"]["steps"], &phases["student"]["steps"]),
        (&(20 * 468).into(), &(100 * 468).into())
    );
    let parts = on_cpu["memory_bytes"].as_object().unwrap();
    let sum: u64 = parts.values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(on_cpu["total_bytes"], sum);
    // Weights, gradients and two moments of both, in f32.
    let trained = 4 * (8_664_195 + 294_403 + 64 * 512);
    assert!(parts["weights"].as_u64().unwrap() >= trained);
    assert!(parts["optimizer"].as_u64().unwrap() >= 2 * trained);
    assert!(phases["teacher"]["step_s_at_least"].as_f64().unwrap() > 0.0);
    assert!(on_cpu["step_s_basis"].as_str().unwrap().contains("measured now"));
    let largest = on_cpu["largest_batch"].as_u64().unwrap();
    let at = |batch: u64| plan(&[&format!("train.batch_size={batch}")])["total_bytes"].as_u64();
    assert!(at(largest).unwrap() <= 2 << 30 && at(largest + 1).unwrap() > 2 << 30, "{largest}");

    let on_card = plan(&["--card", "4090"]);
    let step = &on_card["phases"]["student"]["predicted"];
    assert_eq!((&on_card["device"], &step["card"]), (&"cuda".into(), &"4090".into()));
    assert_eq!(step["basis"][0], "predicted, not measured");
    let table = stdout(&lab.hrm(&["plan", "tiny-vae", "--card", "4090", "--vram", "2GiB"]));
    for text in
        ["8,664,195 in the teacher", "32,768 in its projector", "for all steps, not measured"]
    {
        assert!(table.contains(text), "{text}: {table}");
    }
    let alone = plan(&["model.teacher=none", "train.epochs=1", "data.train_images=300"]);
    assert!(alone["phases"]["teacher"].is_null());
    assert_eq!(alone["phases"]["student"]["steps"], 2);
    let refused = expect_error(&lab.hrm(&["plan", "tiny-vae", "--data", "data"]));
    assert!(refused.contains("data.dataset"), "{refused}");
}
