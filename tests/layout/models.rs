//! A model is one folder, a line in the list, presets and tests: nothing else in `src` knows which
//! models there are.

use std::fs;

use super::{code, names_after, root, rust_files};

/// The places of a model besides its computation.
const MODEL_FILES: &[&str] = &["mod.rs", "config.rs", "names.rs", "foreign.rs", "onnx.rs"];

/// Files that may name a model besides its own, and what for.
const MAY_NAME_A_MODEL: &[(&str, &str)] = &[
    ("src/models/mod.rs", "its folder"),
    ("src/models/list.rs", "the list"),
    ("src/config/preset.rs", "its presets"),
    ("src/cli/train/mod.rs", "help: the presets"),
    ("src/cli/import.rs", "help: an example"),
    ("src/cli/bench/shapes.rs", "the published settings that are timed beside PyTorch's"),
    ("src/run/plan.rs", "its tests: plans of older versions"),
    ("src/models/onnx/tests.rs", "a test"),
    ("src/formats/mod.rs", "the official programs, which have names of models"),
    ("src/import/official.rs", "their settings"),
    ("src/cli/export/official.rs", "their checkpoints"),
    ("src/data/mod.rs", "the names that TRM's program gives to variants"),
    ("src/data/trm.rs", "these names"),
    ("src/data/npy/export.rs", "these names"),
];

/// The crate has this name too: of this model only paths and types tell.
const CRATE: &str = "hrm";

/// Kind and folder of each model: the list in `src/models/list.rs`.
fn models() -> Vec<(String, String)> {
    let text = code("src/models/list.rs");
    let (_, list) = text.split_once("\narchitectures! {").expect("the list of models");
    let (list, _) = list.split_once('}').expect("its end");
    let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let words = entries.map(|entry| entry.split_once(" in ").expect("Kind in folder"));
    words.map(|(kind, folder)| (kind.to_owned(), folder.to_owned())).collect()
}

/// Whether the code, its texts included, has the model's name as a word of its own.
fn names(code: &str, kind: &str, folder: &str) -> bool {
    let is_word = |word: &str| word == kind || word == folder && folder != CRATE;
    code.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(is_word)
        || names_after(code, "models::").contains(&folder)
}

#[test]
fn every_folder_of_a_model_is_listed_and_whole() {
    let models = models();
    assert!(models.len() >= 4, "{models:?}");
    let mut wrong = vec![];
    for folder in fs::read_dir(root().join("src/models")).expect("src/models") {
        let folder = folder.expect("an entry").path();
        let name = folder.file_name().and_then(|name| name.to_str()).expect("a UTF-8 name");
        let listed = models.iter().filter(|(_, listed)| listed == name).count();
        match folder.join("config.rs").exists() {
            true if listed != 1 => {
                wrong.push(format!("src/models/{name} is listed {listed} times"))
            }
            false if listed != 0 => wrong.push(format!("src/models/{name} has no config.rs")),
            _ => {}
        }
    }
    for (_, folder) in &models {
        let missing = MODEL_FILES.iter().map(|file| format!("src/models/{folder}/{file}"));
        wrong.extend(missing.filter(|file| !root().join(file).exists()));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_model_is_named_in_its_places_only() {
    let (models, files) = (models(), rust_files("src"));
    let mut found: Vec<(&str, &str)> = vec![];
    for path in &files {
        let code = code(path);
        for (kind, folder) in &models {
            let is_own = path.starts_with(&format!("src/models/{folder}/"));
            // Says which keys of others a model lacks, and why.
            let explains = path.starts_with("src/models/") && path.ends_with("/foreign.rs");
            if !is_own && !explains && names(&code, kind, folder) {
                found.push((path, folder));
            }
        }
    }
    let allowed = |path: &str| MAY_NAME_A_MODEL.iter().any(|(file, _)| *file == path);
    let wrong: Vec<_> = found.iter().filter(|(path, _)| !allowed(path)).collect();
    assert!(wrong.is_empty(), "these name a model outside its places: {wrong:?}");
    let is_idle = |file: &str| found.iter().all(|(path, _)| *path != file);
    let idle: Vec<_> = MAY_NAME_A_MODEL.iter().filter(|(file, _)| is_idle(file)).collect();
    assert!(idle.is_empty(), "these name no model any more: {idle:?}");
}

#[test]
fn every_way_to_name_a_model_is_seen() {
    for text in [
        "use crate::models::hrm_seed::Config;",
        "use super::{act, hrm_seed};",
        "if word == \"hrm_seed\" {",
        "Arch::HrmSeed => 1,",
    ] {
        assert!(names(text, "HrmSeed", "hrm_seed"), "{text}");
    }
    assert!(names("use crate::models::{Carry, hrm};", "Hrm", "hrm"));
    assert!(!names("hrm::run(\"hrm train\")", "Hrm", "hrm"));
    assert!(!names("let hrm_seeds = 1;", "HrmSeed", "hrm_seed"));
}
