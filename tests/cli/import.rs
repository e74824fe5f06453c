//! `hrm import`: weights come back bit for bit, and what does not fit is said.

use std::path::Path;

use hrm::formats::{Format, HostTensor, StateDict};

use crate::lab::{Lab, expect_error, expect_success, stdout};

type Tensors = Vec<(String, HostTensor)>;

/// Presets, and what makes a model of milliseconds of each. Two steps make the averaged weights
/// differ from the trained ones.
const MODELS: &[(&str, &[&str])] = &[
    ("sudoku-mini", &["model.h_layers=1", "model.l_layers=2", "model.puzzle_emb_ndim=24"]),
    ("sudoku-mini", &["model.h_layers=1", "model.l_layers=1", "model.pos_encodings=learned"]),
    (
        "trm-sudoku-mini",
        &["model.l_layers=1", "model.puzzle_emb_len=3", "model.puzzle_emb_ndim=40"],
    ),
    ("trm-sudoku-mini", &["model.l_layers=1", "model.mlp_t=true", "model.pos_encodings=none"]),
    ("arc-full", &["model.h_layers=1", "model.l_layers=2", "model.max_cycles=2"]),
    ("arc-simple", &["model.h_layers=2"]),
];
const SMALL: &[&str] = &[
    "--data",
    "data",
    "--run-dir",
    "r",
    "--fresh",
    "--threads",
    "1",
    "model.hidden_size=16",
    "model.num_heads=2",
    "train.max_steps=2",
    "train.batch_size=2",
    "train.eval_every=0",
    "train.eval_examples=2",
];

fn run(lab: &Lab, args: &[&str]) -> String {
    let output = lab.hrm(args);
    expect_success(&output);
    stdout(&output)
}

fn read(lab: &Lab, name: &str) -> StateDict {
    StateDict::decode(&std::fs::read(lab.path(name)).unwrap()).unwrap()
}

/// As another program would have saved it: no word about the run.
fn write_foreign(lab: &Lab, name: &str, tensors: Tensors) {
    let format = if name.ends_with("pt") { Format::Pt } else { Format::Safetensors };
    let weights = StateDict { tensors, counters: None, meta: None };
    std::fs::write(lab.path(name), format.encode(&weights).unwrap()).unwrap();
}

fn sorted(weights: StateDict) -> Tensors {
    let mut tensors = weights.tensors;
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(!tensors.is_empty());
    tensors
}

/// Small puzzle embeddings that differ from row to row; training of two steps leaves most at zero.
fn tiny(lab: &Lab) -> Tensors {
    expect_success(&lab.train(&["train.max_steps=2", "--run-dir", "r"]));
    run(lab, &["export", "r", "--output", "e.safetensors"]);
    let mut tensors = read(lab, "e.safetensors").tensors;
    let (_, table) = tensors.iter_mut().find(|(name, _)| name.contains("puzzle_emb")).unwrap();
    let values: Vec<f32> = (0..table.shape.elems()).map(|i| i as f32 / 8.0).collect();
    *table = HostTensor::from_f32s(table.shape, &values);
    tensors
}

const TINY_SAYS: &[&str] =
    &["model.num_heads=2", "model.h_cycles=1", "model.l_cycles=1", "model.halt_max_steps=3"];

fn import(lab: &Lab, file: &str, more: &[&str]) -> std::process::Output {
    lab.hrm(&[&["import", file, "--output", "i.safetensors"], more].concat())
}

#[test]
fn exports_come_back_bit_for_bit_in_both_formats() {
    let lab = Lab::new();
    for (preset, settings) in MODELS {
        comes_back(&lab, preset, settings);
    }
    comes_back(&Lab::of_arc(), "grid-small", &["model.h_layers=2", "model.expansion=2.5"]);
}

fn comes_back(lab: &Lab, preset: &str, settings: &[&str]) {
    run(lab, &[&["train", preset], SMALL, settings].concat());
    for file in ["e.pt", "e.safetensors"] {
        let format = file.rsplit('.').next().unwrap();
        run(lab, &["export", "r", "--to", format, "--output", file]);
        run(lab, &["import", file, "--output", "i.safetensors"]);
        run(lab, &["export", "i.safetensors", "--to", format, "--output", "again"]);
        let (want, got) = (read(lab, file), read(lab, "again"));
        assert_eq!(got.counters, want.counters, "{preset} {file}");
        assert!(sorted(got) == sorted(want), "{preset} {settings:?} {file}: bits differ");
    }
    run(lab, &["export", "r", "--to", "pt", "--dtype", "bf16", "--output", "h.pt"]);
    run(lab, &["import", "h.pt", "--output", "i.safetensors"]);
    // The same without our metadata, under the names of a compiled model.
    let foreign = read(lab, "e.safetensors").tensors.into_iter();
    let foreign = foreign.map(|(name, t)| (format!("_orig_mod.{name}"), t)).collect();
    write_foreign(lab, "f.pt", foreign);
    let args = [&["import", "f.pt", preset, "--output", "i.safetensors"], settings].concat();
    run(lab, &[&args[..], &["model.num_heads=2", "--data", "data"]].concat());
    run(lab, &["export", "i.safetensors", "--output", "again"]);
    let (want, got) = (read(lab, "e.safetensors"), read(lab, "again"));
    assert!(sorted(got) == sorted(want), "{preset} {settings:?}: bits differ");
}

#[test]
fn an_imported_model_scores_as_the_exported_one() {
    let lab = Lab::new();
    run(&lab, &["train", "sudoku-mini", "--data", "data", "--run-dir", "r", "--quick"]);
    run(&lab, &["export", "r", "--to", "pt", "--output", "e.pt"]);
    run(&lab, &["import", "e.pt", "--output", "i.safetensors"]);
    let score = |path: &str, output: &str| {
        run(&lab, &["eval", path, "--output", output]);
        std::fs::read_to_string(lab.path(output).join("predictions.jsonl")).unwrap()
    };
    let predictions = score("r", "a");
    assert!(predictions.lines().count() >= 10, "{predictions}");
    assert_eq!(score("i.safetensors", "b"), predictions);
}

#[test]
fn what_the_shapes_do_not_tell_is_asked_for() {
    let lab = Lab::new();
    write_foreign(&lab, "f.pt", tiny(&lab));
    let error = expect_error(&import(&lab, "f.pt", &["model.num_heads=2", "--data", "data"]));
    assert!(error.contains("do not tell model.h_cycles, model.l_cycles"), "{error}");
    assert!(error.contains("sudoku-mini") && !error.contains("trm-"), "{error}");
    let all = [TINY_SAYS, &["--data", "data"]].concat();
    let output = import(&lab, "f.pt", &all);
    expect_success(&output);
    let said = stdout(&output);
    assert!(said.contains("model.hidden_size=16") && said.contains("model.h_cycles=1"), "{said}");
    for (more, word) in [
        (&["trm-sudoku-mini"] as &[&str], "preset trm-sudoku-mini is trm"),
        (&["sudoku-mini", "model.hidden_size=32"], "the tensors say 16"),
        (&["sudoku-mini", "model.l_layers=3"], "the tensors say 1"),
        (&["sudoku-mini", "model.num_heads=3"], "model.num_heads=3"),
        (&["sudoku-mini", "model.expansion=40"], "mlp.down_proj.weight: (16, 256) in the file"),
        (&["sudoku-mini", "data.canvas=5", "--data", "data"], "canvas 4"),
        (&["sudoku-mini", "model.head=3"], "unknown key model.head"),
        (&["sudoku-mini", "--puzzles", "reset"], "need --data"),
    ] {
        let error = expect_error(&import(&lab, "f.pt", more));
        assert!(error.contains("f.pt: ") && error.contains(word), "{more:?}: {error}");
    }
}

#[test]
fn the_settings_beside_an_official_checkpoint_are_read() {
    let lab = Lab::new();
    write_foreign(&lab, "f.pt", tiny(&lab));
    let arch = "name: hrm.hrm_act_v1@HierarchicalReasoningModel_ACTV1\n  loss: {name: \
                losses@ACTLossHead, loss_type: softmax_cross_entropy}\n  H_layers: 1\n  L_layers: 1\n  \
                hidden_size: 16\n  num_heads: 2\n  expansion: 4\n  puzzle_emb_ndim: 8\n  \
                pos_encodings: rope\n  halt_exploration_prob: 0.1\n  halt_max_steps: 3\n  \
                H_cycles: 1\n  L_cycles: 1\n";
    let beside = lab.path("all_config.yaml");
    std::fs::write(&beside, format!("arch:\n  {arch}epochs: 10\n")).unwrap();
    let output = import(&lab, "f.pt", &["--data", "data"]);
    expect_success(&output);
    let said = stdout(&output);
    let line = said.lines().find(|line| line.starts_with("from all_config.yaml:")).unwrap();
    for word in ["model.num_heads=2", "model.loss=softmax", "train.precision=bf16"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    assert!(!said.contains("from preset"), "nothing is left to a preset: {said}");
    let error = expect_error(&import(&lab, "f.pt", &["--data", "data", "model.l_cycles=2"]));
    assert!(error.contains("model.l_cycles=2, but all_config.yaml beside it says 1"), "{error}");
    let output = import(&lab, "f.pt", &["--data", "data", "train.precision=f32"]);
    expect_success(&output);
    assert!(!stdout(&output).contains("train.precision=bf16"), "the command line says f32");
    run(&lab, &["export", "i.safetensors", "--to", "pt", "--for", "hrm", "--output", "o/step_0"]);
    let beside_it = std::fs::read_to_string(lab.path("o/all_config.yaml")).unwrap();
    assert!(beside_it.contains("forward_dtype: float32"), "{beside_it}");
    std::fs::write(&beside, format!("arch:\n  {arch}").replace("L_layers: 1", "L_layers: 2"))
        .unwrap();
    let error = expect_error(&import(&lab, "f.pt", &["--data", "data"]));
    assert!(
        error.contains("all_config.yaml says model.l_layers=2, but the tensors say 1"),
        "{error}"
    );
    let trm = "recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1";
    let other = arch.replace("hrm.hrm_act_v1@HierarchicalReasoningModel_ACTV1", trm);
    std::fs::write(&beside, format!("arch:\n  {other}")).unwrap();
    let error = expect_error(&import(&lab, "f.pt", &["--data", "data"]));
    assert!(error.contains("of a model of kind trm, the tensors are those of hrm"), "{error}");
    std::fs::write(&beside, "arch: [").unwrap();
    let error = expect_error(&import(&lab, "f.pt", &["--data", "data"]));
    assert!(error.contains("all_config.yaml: is not YAML"), "{error}");
}

#[test]
fn commands_for_the_official_programs_are_printed() {
    let lab = Lab::new();
    tiny(&lab);
    let own = std::fs::read(lab.path("data/dataset.json")).unwrap();
    let export = |program: &str, more: &[&str]| {
        let output = format!("{program}{}/step_2", more.len());
        let args = ["export", "r", "--to", "pt", "--for", program, "--output", &output];
        let said = run(&lab, &[&args, more].concat());
        (said, lab.path(&output).canonicalize().unwrap().display().to_string())
    };
    let (said, path) = export("hrm", &[]);
    let evaluate = format!("torchrun --nproc-per-node 1 evaluate.py checkpoint={path}");
    assert!(said.contains(&format!("\n  DISABLE_COMPILE=1 {evaluate}\n")), "{said}");
    let (said, path) = export("hrm", &["--compiled"]);
    let evaluate = format!("torchrun --nproc-per-node 1 evaluate.py checkpoint={path}");
    assert!(said.contains(&format!("\n  {evaluate}\n")), "{said}");
    // The command for the data is one that can be given, and spares what it reads.
    let line = said.lines().find_map(|line| line.strip_prefix("  hrm ")).unwrap();
    assert!(line.ends_with("/data --output-dir data/data-hrm --for hrm"), "{line}");
    run(&lab, &line.split(' ').collect::<Vec<_>>());
    assert!(lab.path("data/data-hrm/test/dataset.json").exists());
    assert_eq!(std::fs::read(lab.path("data/dataset.json")).unwrap(), own);

    let (preset, settings) = MODELS[2];
    run(&lab, &[&["train", preset], SMALL, settings].concat());
    let (said, path) = export("trm", &[]);
    let command =
        format!("\n  DISABLE_COMPILE=1 python pretrain.py arch=trm load_checkpoint={path} \\");
    assert!(said.contains(&command), "{said}");
    for word in
        ["arch.L_layers=1", "arch.puzzle_emb_len=3", "arch.loss.loss_type=", "arch.mlp_t=false"]
    {
        assert!(said.contains(&format!(" {word}")), "{word}: {said}");
    }
    assert!(said.contains(" 'data_paths=[\"data/data-trm\"]' 'evaluators=[]'"), "{said}");
    assert!(!said.contains("name="), "what arch=trm says: {said}");

    run(&lab, &[&["train", "sudoku-mini"], SMALL, &["model.puzzle_emb_ndim=0"]].concat());
    let args = ["export", "r", "--to", "pt", "--for", "hrm", "--output", "none/step_2"];
    let error = expect_error(&lab.hrm(&args));
    assert!(error.contains("has no puzzle embeddings"), "{error}");
    assert!(!lab.path("none").exists(), "a refused export left files");
}

#[test]
fn variants_of_the_official_programs_are_named() {
    let lab = Lab::new();
    let whole = tiny(&lab);
    let refusal = |keep: &dyn Fn(&str) -> bool, rename: &dyn Fn(&str) -> String| {
        let kept = whole.iter().filter(|(name, _)| keep(name));
        let tensors = kept.map(|(name, t)| (rename(name), t.clone())).collect();
        write_foreign(&lab, "f.pt", tensors);
        expect_error(&import(&lab, "f.pt", &["--data", "data"]))
    };
    let same = |name: &str| name.to_owned();
    let error = refusal(&|name| !name.contains("L_level") && !name.contains("L_init"), &same);
    assert!(error.contains("plain transformer of the TRM program"), "{error}");
    let error = refusal(&|name| !name.contains("H_level") && !name.contains("H_init"), &same);
    assert!(error.contains("TRM of a single state (trm_singlez"), "{error}");
    let mixed = |name: &str| name.replace("self_attn.qkv_proj", "mlp_t.gate_up_proj");
    let error = refusal(&|_| true, &mixed);
    assert!(error.contains("HRM that mixes positions by an MLP (mlp_t)"), "{error}");
    // A rotation leaves no trace in the tensors of a TRM.
    let error = refusal(&|name| !name.contains("H_level"), &same);
    assert!(error.contains("do not tell") && error.contains("model.pos_encodings"), "{error}");
    for pos in ["rope", "none"] {
        let said = format!("model.pos_encodings={pos}");
        let all = [TINY_SAYS, &["--data", "data", &said, "model.puzzle_emb_len=0"]].concat();
        let output = import(&lab, "f.pt", &all);
        expect_success(&output);
        assert!(stdout(&output).contains(&said));
        expect_success(&lab.hrm(&["eval", "i.safetensors", "--output", pos]));
    }
    let [a, b] = ["rope", "none"]
        .map(|pos| std::fs::read_to_string(lab.path(pos).join("predictions.jsonl")).unwrap());
    assert_ne!(a, b, "with and without a rotation are two models");
}

#[test]
fn missing_odd_and_broken_tensors_are_named() {
    let lab = Lab::new();
    let whole = tiny(&lab);
    let change = |f: &dyn Fn(&mut Tensors)| {
        let mut tensors = whole.clone();
        f(&mut tensors);
        write_foreign(&lab, "f.safetensors", tensors);
        expect_error(&import(&lab, "f.safetensors", &[TINY_SAYS, &["--data", "data"]].concat()))
    };
    let at = |tensors: &[(String, HostTensor)], word: &str| {
        tensors.iter().position(|(name, _)| name.contains(word)).unwrap()
    };
    let error = change(&|tensors| drop(tensors.remove(at(tensors, "o_proj"))));
    assert!(error.contains("self_attn.o_proj.weight: missing; (16, 16) expected"), "{error}");
    let error = change(&|tensors| {
        tensors.push(("model.inner.extra".into(), HostTensor::from_f32s([1], &[0.0])));
    });
    assert!(error.contains("model.inner.extra: (1), unknown here"), "{error}");
    let error = change(&|tensors| {
        let i = at(tensors, "q_head.weight");
        tensors[i].1.bytes[4..8].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    assert!(error.contains("q_head.weight: element 1 is NaN"), "{error}");
    let error = change(&|tensors| {
        let (name, t) = tensors[0].clone();
        tensors.push((format!("_orig_mod.{name}"), t));
    });
    assert!(error.contains("two tensors are"), "{error}");
    let error = change(&|tensors| tensors.truncate(2));
    assert!(error.contains("no model that is known here"), "{error}");
    assert!(!lab.path("i.safetensors").exists(), "a refused file left a checkpoint");
}

fn table(lab: &Lab) -> Vec<f32> {
    run(lab, &["export", "i.safetensors", "--output", "again"]);
    let (_, t) =
        read(lab, "again").tensors.into_iter().find(|(n, _)| n.contains("puzzle_emb")).unwrap();
    assert_eq!(t.shape.last(), 8);
    t.bytes.chunks_exact(4).map(|w| f32::from_le_bytes(w.try_into().unwrap())).collect()
}

#[test]
fn puzzle_embeddings_of_other_data_are_refused_reset_or_resized() {
    let lab = Lab::new();
    let tensors = tiny(&lab);
    let all = [TINY_SAYS, &["--data", "data"]].concat();
    // Sudoku knows one puzzle id; the file has three.
    let rows: Vec<f32> = (0..24).map(|i| i as f32).collect();
    let grown = tensors.into_iter().map(|(name, t)| match name.contains("puzzle_emb") {
        true => (name, HostTensor::from_f32s([3, 8], &rows)),
        false => (name, t),
    });
    write_foreign(&lab, "f.pt", grown.collect());
    let error = expect_error(&import(&lab, "f.pt", &all));
    assert!(error.contains("embeddings of 3 puzzles, data has 1 puzzle ids"), "{error}");
    let fit = |how| {
        let output = import(&lab, "f.pt", &[&all[..], &["--puzzles", how]].concat());
        expect_success(&output);
        (table(&lab), stdout(&output))
    };
    let (reset, said) = fit("reset");
    assert_eq!(reset, rows[8..16], "the mean of the rows is the middle one");
    assert!(said.contains("all 1 are the mean of the 3"), "{said}");
    let (resized, said) = fit("resize");
    assert_eq!(resized, rows[..8]);
    assert!(said.contains("1 of 3 kept by number"), "{said}");
    expect_success(&lab.hrm(&["eval", "i.safetensors"]));
}

#[test]
fn an_export_knows_its_own_data() {
    let lab = Lab::new();
    tiny(&lab);
    let error = expect_error(&import(&lab, "e.safetensors", &["sudoku-mini"]));
    assert!(error.contains("carries its own settings"), "{error}");
    lab.build_data("other", 2);
    let error = expect_error(&import(&lab, "e.safetensors", &["--data", "other"]));
    assert!(error.contains("its puzzle embeddings belong to other puzzles"), "{error}");
    expect_success(&import(&lab, "e.safetensors", &["--data", "other", "--puzzles", "reset"]));
    expect_success(&lab.hrm(&["eval", "i.safetensors"]));
    let error = expect_error(&import(&lab, "i.safetensors", &[]));
    assert!(error.contains("checkpoint of hrm already"), "{error}");
    let error = expect_error(&import(&lab, "absent.pt", &[]));
    assert!(error.contains("absent.pt: open"), "{error}");
}

/// Whatever bytes change, a checkpoint or a clear error comes out, and the error leaves no file.
#[test]
fn damaged_files_are_refused() {
    let lab = Lab::new();
    tiny(&lab);
    run(&lab, &["export", "r", "--to", "pt", "--output", "e.pt"]);
    for name in ["e.pt", "e.safetensors"] {
        let whole = std::fs::read(lab.path(name)).unwrap();
        let last = whole.len() - 1;
        let flipped = |at: usize| {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x20;
            bytes
        };
        let middle = whole.len() / 2;
        let cases =
            [whole[..last].to_vec(), whole[..40].to_vec(), vec![], flipped(0), flipped(middle)];
        for (i, bytes) in cases.into_iter().enumerate() {
            std::fs::write(lab.path("damaged"), bytes).unwrap();
            let error = expect_error(&import(&lab, "damaged", &[]));
            assert!(error.starts_with("error: damaged: "), "{name} {i}: {error}");
            assert!(!lab.path("i.safetensors").exists(), "{name} {i}");
        }
    }
    assert!(!Path::new(&lab.path("damaged-imported.safetensors")).exists());
}
