//! Training on a CUDA device from the command line. Skipped by name where there is none: under
//! `tools/gpusim/run` the simulator is one.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::lab::{Lab, expect_error, expect_success, stdout};

fn json(output: &Output) -> Value {
    expect_success(output);
    serde_json::from_str(&stdout(output)).unwrap()
}

/// Whether the simulator stands in for a card.
fn is_simulated(lab: &Lab) -> bool {
    let devices = json(&lab.hrm(&["devices", "--json"]));
    let simulated = devices["devices"][0]["simulated"] == true;
    if !simulated {
        println!("skipped: counts of the simulator (not run by tools/gpusim/run)");
    }
    simulated
}

/// Whether the binary sees a CUDA device.
fn has_cuda(lab: &Lab) -> bool {
    let json = json(&lab.hrm(&["devices", "--json"]));
    let names = json["devices"].as_array().unwrap().iter().map(|d| d["name"].as_str().unwrap());
    let here = names.clone().any(|name| name == "cuda:0");
    if !here {
        println!("skipped: training on a CUDA device ({})", json["missing"][0]);
    }
    here
}

#[test]
fn a_device_that_is_not_there_is_an_error_that_says_what_is_missing() {
    let lab = Lab::new();
    // Without a driver no number is looked at.
    for (device, named) in [("cuda:97", "cuda"), ("gpu", "gpu"), ("cuda:x", "cuda:x")] {
        let error = expect_error(&lab.train(&["train.max_steps=1", "--device", device]));
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn a_run_on_cuda_learns_and_goes_on_on_the_cpu() {
    let lab = Lab::new();
    if !has_cuda(&lab) {
        return;
    }
    let plan = [
        "train.max_steps=40",
        "train.eval_every=20",
        "train.checkpoint_every=10",
        "train.precision=bf16",
        "train.lr=3e-3",
        "model.puzzle_emb_ndim=16",
        "--run-dir",
        "run",
    ];
    let with = |more: &[&str]| lab.train(&[&plan[..], more].concat());
    expect_success(&with(&["--device", "cuda"]));
    let metrics = lab.metrics("run");
    let losses: Vec<f64> = metrics.iter().filter_map(|l| l["lm_loss"].as_f64()).collect();
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let (first, last) = (mean(&losses[..3]), mean(&losses[losses.len() - 3..]));
    assert!(last < 0.8 * first, "lm_loss {first} -> {last}");
    assert!(metrics.iter().any(|l| l["val_lm_loss"].is_f64()), "it validated");

    // Back to step 30, as after a power cut, and on without the card.
    for name in ["final", "best", "step_40"] {
        let path = lab.path(&format!("run/checkpoints/hrm_arc_{name}.safetensors"));
        std::fs::remove_file(path).unwrap();
    }
    let output = with(&["--device", "cpu"]);
    expect_success(&output);
    assert!(stdout(&output).contains("going on from step 30"), "{}", stdout(&output));
    let after = lab.metrics("run");
    let on_cpu = |step: u64| {
        let line = after.iter().find(|l| l["step"] == step && l["lm_loss"].is_f64()).unwrap();
        line["lm_loss"].as_f64().unwrap()
    };
    let on_cuda = |step: u64| {
        let line = metrics.iter().find(|l| l["step"] == step && l["lm_loss"].is_f64()).unwrap();
        line["lm_loss"].as_f64().unwrap()
    };
    // The same data from the same state: the next line differs by rounding only.
    let (cpu, cuda) = (on_cpu(32), on_cuda(32));
    assert!((cpu - cuda).abs() <= 0.02 * cuda, "step 32: {cuda} on cuda, {cpu} on the CPU");
}

/// Not even the memory that a step works in changes what it computes.
#[test]
fn allocations_of_their_own_change_no_bit() {
    let lab = Lab::new();
    if !has_cuda(&lab) {
        return;
    }
    let digest = |name: &str, each: &str| {
        let plan = ["train.max_steps=3", "--device", "cuda", "--run-dir", name];
        let mut command = lab.train_command(&plan);
        command.env("HRM_ALLOC_EACH", each).env("GPUSIM_LEAKS", "1");
        expect_success(&command.output().unwrap());
        lab.digest(&format!("{name}/checkpoints/hrm_arc_final.safetensors"))
    };
    assert_eq!(digest("each", "1"), digest("arena", "0"));
}

/// `hrm plan` predicts from what each launch says that it moves and multiplies: the same as the
/// simulator sees it move and multiply.
#[test]
fn counted_work_is_what_the_simulator_sees() {
    // The closing scores come in a batch of what is asked: as many boards as a training step has.
    let lab = Lab::empty();
    lab.build_boards("data", 1, 8);
    if !is_simulated(&lab) {
        return;
    }
    let shape = [
        "sudoku-mini",
        "--data",
        "data",
        "model.num_heads=2",
        "model.h_layers=1",
        "model.l_layers=1",
        "model.q_continue=true",
        "model.halt_max_steps=1",
        "train.batch_size=8",
    ];
    let report = lab.path("report.json");
    let train = ["--device", "cuda", "--run-dir", "run", "train.max_steps=1"];
    let mut command = lab.command(&[&["train"], &shape[..], &train].concat());
    command.env("GPUSIM_REPORT", &report).env("GPUSIM_RACES", "0").env("HRM_GEMM", "own");
    expect_success(&command.output().unwrap());
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    let card = ["--card", "4090", "--vram", "1GiB", "--json"];
    let plan = json(&lab.hrm(&[&["plan"], &shape[..], &card].concat()));

    // What these move depends on the data: who halted, how often an id occurs. And `cast` also
    // makes the initial states, which are smaller.
    let by_data = ["act_halt_", "puzzle_emb_", "sign_sgd_rows_", "cast_"];
    let (mut compared, mut wrong) = (0, vec![]);
    for planned in plan["predicted"]["kernels"].as_array().unwrap() {
        let kernel = planned["kernel"].as_str().unwrap();
        if ["copy", "fill"].contains(&kernel) {
            continue; // the driver's
        }
        let seen = &report["counters"][kernel];
        let each = |of: &Value, name: &str| {
            let number = |name: &str| of[name].as_f64().unwrap_or(f64::NAN);
            number(name) / number("launches")
        };
        let moved = each(seen, "unique_sectors_read") + each(seen, "unique_sectors_written");
        let mut same = |what: &str, planned: f64, seen: f64| {
            if !((planned - seen).abs() <= 0.05 * seen) {
                wrong.push(format!("{kernel}: {what}: {planned} planned, {seen} seen"));
            }
        };
        let bytes = each(planned, "bytes");
        if bytes >= 20_000.0 && !by_data.iter().any(|name| kernel.starts_with(name)) {
            same("bytes", bytes, 32.0 * moved);
            compared += 1;
        }
        same("tensor-core flop", each(planned, "tensor_flops"), each(seen, "mma_flops"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared >= 12, "{compared} kernels were compared");
}

#[test]
fn times_of_a_simulated_card_are_refused() {
    let lab = Lab::empty();
    if is_simulated(&lab) {
        let error = expect_error(&lab.hrm(&["bench", "--device", "cuda", "--no-python"]));
        assert!(error.contains("simulated"), "{error}");
    }
}

/// A folder of the simulator as `libcuda.so.1` and under the `given` names of cuBLASLt, and of an
/// empty file for each `broken` one.
fn libraries(lab: &Lab, folder: &str, given: &[&str], broken: &[&str]) -> PathBuf {
    let paths = std::env::var_os("LD_LIBRARY_PATH").unwrap();
    let simulator = std::env::split_paths(&paths).map(|dir| dir.join("libcuda.so.1"));
    let simulator = simulator.filter_map(|path| path.canonicalize().ok()).next().unwrap();
    let folder = lab.path(folder);
    std::fs::create_dir(&folder).unwrap();
    for name in given.iter().chain(&["libcuda.so.1"]) {
        symlink(&simulator, folder.join(name)).unwrap();
    }
    broken.iter().for_each(|name| std::fs::write(folder.join(name), "").unwrap());
    folder
}

/// Ended, with `folder` in place of the simulator's.
fn with_libraries(lab: &Lab, folder: &Path, gemm: &str, args: &[&str]) -> Output {
    let mut command = lab.command(args);
    command.env("LD_LIBRARY_PATH", folder).env("HRM_GEMM", gemm).env("GPUSIM_LEAKS", "1");
    command.output().unwrap()
}

#[test]
fn cublaslt_is_found_under_each_of_its_names() {
    let lab = Lab::empty();
    if !is_simulated(&lab) {
        return;
    }
    const NAMES: [&str; 4] =
        ["libcublasLt.so", "libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11"];
    for i in 0..NAMES.len() {
        let folder = libraries(&lab, &format!("one-{i}"), &NAMES[i..], &NAMES[..i]);
        let said = json(&with_libraries(&lab, &folder, "auto", &["devices", "--json"]));
        let products = format!("cuBLASLt 12.8 ({})", NAMES[i]);
        assert_eq!(said["devices"][0]["products"], products, "the first that works");
        let said = json(&with_libraries(&lab, &folder, "own", &["devices", "--json"]));
        assert_eq!(said["devices"][0]["products"], "own kernels");
    }

    let none = libraries(&lab, "none", &[], &[]);
    let said = stdout(&with_libraries(&lab, &none, "auto", &["devices"]));
    let refused = expect_error(&with_libraries(&lab, &none, "cublaslt", &["train"]));
    assert!(said.contains("products: own kernels"), "{said}");
    for name in NAMES {
        assert!(said.contains(name) && refused.contains(name), "{name}: {said}{refused}");
    }

    // A library that is here and does not work is no reason to go on without it unasked.
    let broken = libraries(&lab, "broken", &[], &["libcublasLt.so.13"]);
    let refused = expect_error(&with_libraries(&lab, &broken, "auto", &["train"]));
    for words in ["libcublasLt.so.13", "file too short", "HRM_GEMM=own", "--device cpu"] {
        assert!(refused.contains(words), "{refused}");
    }
    let said = stdout(&with_libraries(&lab, &broken, "auto", &["devices"]));
    assert!(said.contains("products: none: ") && said.contains("file too short"), "{said}");
}

#[test]
fn a_run_says_who_computed_its_products() {
    let lab = Lab::new();
    if !is_simulated(&lab) {
        return;
    }
    let folder = libraries(&lab, "cuda13", &["libcublasLt.so.13"], &[]);
    for (gemm, products) in
        [("cublaslt", "cuBLASLt 12.8 (libcublasLt.so.13)"), ("own", "own kernels")]
    {
        let mut command =
            lab.train_command(&["train.max_steps=1", "--device", "cuda", "--run-dir", gemm]);
        command.env("LD_LIBRARY_PATH", &folder).env("HRM_GEMM", gemm).env("GPUSIM_LEAKS", "1");
        let output = command.output().unwrap();
        expect_success(&output);
        assert!(stdout(&output).contains(&format!("  products={products}")));
        let plan = std::fs::read_to_string(lab.path(gemm).join("plan.toml")).unwrap();
        assert!(plan.contains(&format!("products = \"{products}\"")), "{plan}");
    }
}
