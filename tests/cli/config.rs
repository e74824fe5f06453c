//! What the configuration refuses, and how it says so.

use crate::lab::{Lab, expect_error, expect_success, stderr, stdout};

#[test]
fn unknown_key_names_the_nearest_and_lists_all() {
    let lab = Lab::empty();
    for (given, meant) in [
        ("train.batchsize=3", "did you mean train.batch_size?"),
        ("hidden_size=3", "did you mean model.hidden_size?"),
        ("model.halt_max_step=3", "did you mean model.halt_max_steps?"),
        ("data.samplr=groups", "did you mean data.sampler?"),
    ] {
        let error = expect_error(&lab.hrm(&["train", given]));
        assert!(error.contains(meant), "{given}: {error}");
    }
    let error = expect_error(&lab.hrm(&["train", "train.qqqqqq=3"]));
    assert!(!error.contains("did you mean"), "{error}");
    // The names that scripts use.
    for key in "model.hidden_size model.num_heads model.h_layers model.l_layers model.h_cycles \
                model.l_cycles model.expansion model.puzzle_emb_ndim model.pos_encodings model.loss \
                model.puzzle_emb_len model.mlp_t \
                model.dropout model.max_cycles model.halt_max_steps model.halt_exploration_prob \
                model.q_continue model.start_noise model.depth_curriculum train.batch_size train.grad_accum train.max_steps train.epochs \
                train.lr train.puzzle_emb_lr train.weight_decay train.puzzle_emb_weight_decay \
                train.warmup_steps train.lr_min_ratio train.clip train.ema train.optimizer \
                train.schedule train.decay_share train.muon_lr train.muon_momentum train.muon_beta2 \
                train.recompute train.log_every train.eval_every train.checkpoint_every train.keep \
                train.best train.patience train.seed train.precision train.write_pt data.canvas data.num_aug \
                data.sampler"
        .split_whitespace()
    {
        assert!(error.contains(&format!(" {key},")) || error.ends_with(&format!(" {key}\n")), "{key}");
    }
}

#[test]
fn unknown_preset_names_the_nearest_and_lists_all() {
    let error = expect_error(&Lab::empty().hrm(&["train", "sudoku-mimi"]));
    assert!(error.contains("did you mean sudoku-mini?"), "{error}");
    let help = stdout(&Lab::empty().hrm(&["train", "--help"]));
    for (preset, _) in hrm::config::PRESETS {
        assert!(error.contains(preset), "{preset} is not in {error}");
        assert!(help.contains(preset), "{preset} is not in the help");
    }
}

#[test]
fn values_that_cannot_be_meant_are_refused_by_name() {
    let lab = Lab::empty();
    for (given, says) in [
        ("model.hidden_size=100", "does not divide"),
        ("model.num_heads=64", "multiple of 4"),
        ("model.halt_max_steps=0", "must be at least 1"),
        ("model.h_layers=0", "must be at least 1"),
        ("model.hidden_size=-128", "must not be negative"),
        ("model.hidden_size=99999999999", "absurdly large"),
        ("model.expansion=0", "must be positive"),
        ("model.halt_exploration_prob=1.5", "must be between 0 and 1"),
        ("model.halt_exploration_prob=nan", "must be between 0 and 1"),
        ("model.start_noise=-0.1", "must be 0 or more"),
        ("model.start_noise=inf", "must be 0 or more"),
        ("model.dropout=0.1", "hrm has no dropout"),
        ("model.max_cycles=8", "halt_max_steps"),
        ("model.loss=hinge", "expected `stablemax` or `softmax`"),
        ("model.pos_encodings=none", "does not see positions"),
        ("model.pos_encodings=sine", "expected one of `none`, `rope`, `learned`"),
        ("model.mlp_t=true", "only trm"),
        ("model.puzzle_emb_len=16", "only trm"),
        ("model.arch=gpt", "expected one of `hrm`, `trm`, `hrm_seed`, `transformer`"),
        ("train.recompute=cycle", "only hrm_seed"),
        ("model.q_continue=maybe", "expected true or false"),
        ("train.batch_size=0", "must be at least 1"),
        ("train.batch_size=many", "expected a whole number"),
        ("train.batch_size=1.5", "expected a whole number"),
        ("train.grad_accum=0", "must be at least 1"),
        ("train.lr=0", "must be positive"),
        ("train.lr=-1e-4", "must be positive"),
        ("train.lr=inf", "must be a finite number"),
        ("train.clip=nan", "must be a finite number"),
        ("train.lr_min_ratio=2", "must be between 0 and 1"),
        ("train.ema=1", "below 1"),
        ("train.clip=-1", "must be 0 or more"),
        ("train.max_steps=0", "set one"),
        ("train.optimizer=sgd", "expected one of `adam_atan2`, `adamw`, `normuon`"),
        ("train.muon_lr=0", "must be positive"),
        ("train.muon_momentum=1", "below 1"),
        ("train.schedule=step", "expected `cosine` or `wsd`"),
        ("train.decay_share=1.5", "must be between 0 and 1"),
        ("train.precision=f16", "expected `auto`, `bf16` or `f32`"),
        ("data.sampler=random", "expected `groups` or `shuffle`"),
    ] {
        let error = expect_error(&lab.hrm(&["train", given]));
        assert!(error.contains(says), "{given}: {error}");
        let key = given.split_once('=').unwrap().0;
        assert!(error.contains(key) || key == "model.num_heads", "{given}: {error}");
    }
    for (given, says) in [
        ("model.h_layers=2", "one network"),
        ("model.q_continue=true", "halts on its q_halt"),
        ("model.mlp_t=true", "no attention to rotate for"),
        ("model.puzzle_emb_ndim=9000", "does not fit model.puzzle_emb_len"),
        ("model.dropout=0.1", "trm has no dropout"),
    ] {
        let error = expect_error(&lab.hrm(&["train", "trm-sudoku", given]));
        assert!(error.contains(says), "{given}: {error}");
    }
    assert!(!lab.path("runs").exists(), "nothing is made for a refused configuration");
}

#[test]
fn usage_errors_exit_with_2_and_help_has_an_example() {
    let lab = Lab::empty();
    for args in [&["train", "--no-such-flag"][..], &["no-such-command"], &[]] {
        assert_eq!(lab.hrm(args).status.code(), Some(2), "{args:?}");
    }
    for command in ["train", "digest", "devices"] {
        let output = lab.hrm(&[command, "--help"]);
        expect_success(&output);
        assert!(stdout(&output).contains(&format!("hrm {command} ")), "{}", stdout(&output));
    }
}

#[test]
fn file_lies_between_preset_and_command_line() {
    let lab = Lab::new();
    let file = "preset = \"sudoku-mini\"\n[train]\nmax_steps = 7\nlr = 1\nbatch_size = 2\n";
    std::fs::write(lab.path("my.toml"), file).unwrap();
    let output = lab.train(&["--config", "my.toml", "train.max_steps=1", "--run-dir", "r"]);
    expect_success(&output);
    let plan = std::fs::read_to_string(lab.path("r/plan.toml")).unwrap();
    for line in ["max_steps = 1", "lr = 1.0", "batch_size = 4", "preset = \"sudoku-mini\""] {
        assert!(plan.lines().any(|l| l == line), "{line} is not in\n{plan}");
    }
    std::fs::write(lab.path("my.toml"), "[train]\nbatchsize = 3\n").unwrap();
    let error = expect_error(&lab.hrm(&["train", "--config", "my.toml"]));
    assert!(error.contains("did you mean train.batch_size?"), "{error}");
    std::fs::write(lab.path("my.toml"), "[train\n").unwrap();
    let error = expect_error(&lab.hrm(&["train", "--config", "my.toml"]));
    assert!(error.contains("my.toml"), "{error}");
    let error = expect_error(&lab.hrm(&["train", "--config", "none.toml"]));
    assert!(error.contains("none.toml"), "{error}");
}

#[test]
fn data_that_does_not_fit_the_request_is_refused() {
    let lab = Lab::new();
    let error = expect_error(&lab.train(&["data.canvas=9"]));
    assert!(error.contains("has canvas 4"), "{error}");
    let error = expect_error(&lab.hrm(&["train", "--data", "nowhere"]));
    assert!(error.contains("nowhere"), "{error}");
    let error = expect_error(&lab.train(&["--device", "cuda"]));
    assert!(error.contains("cuda"), "{error}");
    let output = lab.train(&["--threads", "0"]);
    assert!(!output.status.success(), "{}", stderr(&output));
}

#[test]
fn presets_of_one_command_send_to_it_from_the_other() {
    let error = expect_error(&Lab::empty().hrm(&["train", "tiny-vae"]));
    assert!(
        error.contains("preset of `hrm distill`") && error.contains("hrm distill tiny-vae"),
        "{error}"
    );
}

#[test]
fn distillation_is_configured_like_training() {
    use hrm::config::{DISTILL_PRESETS, DistillConfig, Student, Teacher};
    let load = |preset: Option<&str>, overrides: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(|o| o.to_string()).collect();
        DistillConfig::load(preset, None, &overrides).map_err(|e| e.to_string())
    };
    for (name, _) in DISTILL_PRESETS {
        assert_eq!(load(Some(name), &[]).unwrap().preset, *name);
    }
    let config = load(None, &["model.student=ultra_tiny_vae", "model.teacher=none"]).unwrap();
    assert_eq!(
        (config.model.student, config.model.teacher),
        (Student::UltraTinyVae, Teacher::None)
    );
    // Who asks for steps does not mean the preset's epochs.
    let config = load(None, &["train.max_steps=7"]).unwrap();
    assert_eq!((config.train.max_steps, config.train.epochs), (7, 0));
    for (given, says) in [
        ("train.batchsize=3", "did you mean train.batch_size?"),
        ("train.precision=bf16", "f32 only"),
        ("train.lr=0", "must be positive"),
        ("loss.kl=-1", "must be 0 or more"),
        ("model.student=huge", "tiny_vae"),
    ] {
        let error = load(None, &[given]).unwrap_err();
        assert!(error.contains(says), "{given}: {error}");
    }
    let error = load(Some("arc-small"), &[]).unwrap_err();
    assert!(error.contains("run `hrm train arc-small`"), "{error}");
    let error = load(None, &["loss.recon=0", "model.teacher=none"]).unwrap_err();
    assert!(error.contains("loss.recon=0"), "{error}");
}

#[test]
fn flags_that_cannot_be_meant_are_answered() {
    let lab = Lab::empty();
    std::fs::write(lab.path("task.json"), "{}").unwrap();
    std::fs::create_dir(lab.path("run")).unwrap();
    for (args, says) in [
        (&["train", "--threads", "many"][..], "1 or more"),
        (&["plan", "--vram", "16"], "16GiB"),
        (&["plan", "--puzzles", "99999999999"], "99999999999"),
        (&["predict", "task.json", "run"], "hrm predict RUN TASK.json"),
        (&["predict", "0a1b2c3d", "best.safetensors"], "hrm predict RUN TASK.json"),
        (&["serve", "run", "--timeout", "soon"], "60s"),
    ] {
        let output = lab.hrm(args);
        assert!(!output.status.success() && stderr(&output).contains(says), "{args:?}: {output:?}");
    }
}

#[test]
fn devices_name_the_paths_and_what_auto_becomes() {
    let lab = Lab::empty();
    let devices = |flags: &[&str], forced: Option<&str>| {
        let mut command = lab.command(&[&["devices"], flags].concat());
        command.env_remove("HRM_CPU").envs(forced.map(|path| ("HRM_CPU", path)));
        let output = command.output().unwrap();
        expect_success(&output);
        stdout(&output)
    };
    let said = devices(&[], Some("portable"));
    for words in
        ["products run on portable", "train.precision=auto is f32", "HRM_CPU may be portable"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    let said = devices(&[], None);
    let json: serde_json::Value = serde_json::from_str(&devices(&["--json"], None)).unwrap();
    let cpu = json["devices"].as_array().unwrap().iter().find(|d| d["name"] == "cpu").unwrap();
    let precision = if cpu["fast_bf16"] == true { "bf16" } else { "f32" };
    assert_eq!(cpu["precision"], precision);
    assert!(said.contains(&format!("train.precision=auto is {precision}")), "{said}");
    let here = cpu["paths"].as_array().unwrap();
    assert!(here.contains(&cpu["path"]), "{cpu}");
    if cfg!(target_arch = "x86_64") && !here.contains(&"avx512bf16".into()) {
        assert!(said.contains("missing  cpu: avx512bf16 lacks "), "{said}");
    }
}
