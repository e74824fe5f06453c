//! The shape of the repository as a test: what may import what, where `unsafe` may stand, which
//! files may not use each other, and the places that every op has. Text is read line by line;
//! comments do not count.

#[path = "layout/circles.rs"]
mod circles;
#[path = "layout/comments.rs"]
mod comments;
#[path = "layout/models.rs"]
mod models;

use std::fs;
use std::path::PathBuf;

const BASE: &[&str] = &["error", "dtype", "shape", "rng", "lengths", "sequence"];

/// A module and what it may use besides [`BASE`] and itself. `data` is held to less, see below.
const MAY_IMPORT: &[(&str, &str)] = &[
    ("error", ""),
    ("dtype", ""),
    ("shape", ""),
    ("rng", ""),
    ("lengths", ""),
    ("sequence", ""),
    ("track", ""),
    ("io", ""),
    ("backend", ""),
    ("cost", "backend"),
    ("tensor", "backend"),
    ("tape", "backend tensor"),
    ("ops", "backend tensor tape"),
    ("nn", "backend tensor tape ops"),
    ("models", "backend tensor tape ops nn formats"),
    ("formats", "ops nn io"),
    ("config", "backend models nn ops data"),
    ("data", "io formats"),
    ("eval", "backend tensor tape ops nn models data formats io run"),
    ("run", "backend tensor ops nn models data config track formats io"),
    ("train", "backend tensor tape ops nn models data eval config track io run"),
    ("import", "backend tensor nn models data config formats io run train"),
    ("serve", "backend tensor tape ops nn models data eval solve io"),
    ("watch", "io track run"),
    ("solve", "backend models data eval config io run train"),
    (
        "cli",
        "backend tensor tape ops nn models data eval config track formats io run train import cost \
         serve watch solve",
    ),
];

/// Data never sees a tensor or a device, so it has no use for element types either.
const NOT_FOR_DATA: &str = "dtype";

const UNSAFE_ALLOWED: &[&str] = &[
    "src/backend/cpu/",
    "src/backend/cuda/",
    "src/tensor.rs",
    "src/data/shard/reader.rs",
    // Misuses the driver on purpose, which its safe interface does not allow.
    "tests/mutations/host/raw.rs",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Rust files under `dir`, as paths from the root with `/`.
fn rust_files(dir: &str) -> Vec<String> {
    let mut found = vec![];
    for entry in fs::read_dir(root().join(dir)).expect("a folder") {
        let entry = entry.expect("an entry");
        let path = format!("{dir}/{}", entry.file_name().to_str().expect("a UTF-8 name"));
        if entry.path().is_dir() {
            found.extend(rust_files(&path));
        } else if path.ends_with(".rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The text without comments.
fn code(path: &str) -> String {
    let text = fs::read_to_string(root().join(path)).expect("a readable file");
    text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

fn ident(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

/// First names after each `root` path: `crate::a::b`, `crate::{a::b, c}`.
fn names_after<'a>(code: &'a str, root: &str) -> Vec<&'a str> {
    let mut names = vec![];
    for (at, _) in code.match_indices(root) {
        let rest = &code[at + root.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.push(ident(rest));
            continue;
        };
        let (mut depth, mut start) = (0, true);
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && depth == 0 && !c.is_whitespace() => {
                    names.push(ident(&group[i..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Top-level modules that a file uses. `super` as often as the file is deep reaches the root too.
fn imports(path: &str, code: &str) -> Vec<String> {
    let inside =
        path.trim_start_matches("src/").trim_end_matches("/mod.rs").trim_end_matches(".rs");
    let depth = inside.split('/').count();
    let mut names = names_after(code, "crate::");
    let by_super = "super::".repeat(depth);
    // Deeper chains come from inline modules: they stay inside.
    names.extend(names_after(code, &by_super));
    let is_module = |name: &&str| MAY_IMPORT.iter().any(|(module, _)| module == name);
    names.into_iter().filter(is_module).map(str::to_owned).collect()
}

fn module_of(path: &str) -> &str {
    ident(path.trim_start_matches("src/"))
}

fn forbidden(path: &str, code: &str) -> Vec<String> {
    let module = module_of(path);
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == module) else {
        return vec![format!("{path}: module `{module}` is not in the import rule")];
    };
    let mut wrong: Vec<String> = imports(path, code)
        .into_iter()
        .filter(|name| {
            let base = BASE.contains(&&name[..]) && !(module == "data" && name == NOT_FOR_DATA);
            name != module && !base && !allowed.split(' ').any(|other| other == name)
        })
        .map(|name| format!("{path}: `{module}` may not use `{name}`"))
        .collect();
    wrong.dedup();
    wrong
}

#[test]
fn modules_import_only_what_lies_below() {
    let wrong: Vec<String> = rust_files("src")
        .iter()
        .filter(|path| !["src/lib.rs", "src/main.rs"].contains(&&path[..]))
        .flat_map(|path| forbidden(path, &code(path)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What answers needs of training is the checkpoint, which is `run`'s; only fine-tuning trains.
#[test]
fn solving_trains_in_one_file_only() {
    let trains: Vec<String> = rust_files("src/solve")
        .into_iter()
        .filter(|path| imports(path, &code(path)).iter().any(|name| name == "train"))
        .collect();
    assert_eq!(trains, ["src/solve/fit.rs"]);
}

#[test]
fn the_import_rule_sees_every_way_to_import() {
    let wrong = |path: &str, code: &str| forbidden(path, code).len();
    assert_eq!(wrong("src/tape/mod.rs", "use crate::ops::add;"), 1);
    assert_eq!(wrong("src/tape/mod.rs", "use crate::{tensor::Tensor, ops::{add, cast}};"), 1);
    assert_eq!(wrong("src/data/grid.rs", "fn f(x: crate::tensor::Tensor) {}"), 1);
    assert_eq!(wrong("src/data/grid.rs", "use crate::dtype::DType;"), 1);
    assert_eq!(wrong("src/tape/grads.rs", "use super::super::nn::block;"), 1);
    assert_eq!(wrong("src/eval/mod.rs", "use crate::train::run;"), 1);
    assert_eq!(wrong("src/unknown.rs", ""), 1);
    assert_eq!(wrong("src/ops/add/mod.rs", "use super::dispatch;\nuse crate::tape::Tape;"), 0);
    assert_eq!(wrong("src/train/log.rs", "use crate::{Error, models::hrm, data};"), 0);
}

#[test]
fn files_form_no_circle() {
    let files = rust_files("src").into_iter().map(|path| (path.clone(), code(&path)));
    let files: Vec<circles::File> = files.collect();
    assert!(files.len() > 100, "files were found");
    let found = circles::circles(&files);
    let lines: Vec<String> = found.iter().map(|circle| circle.join(" ")).collect();
    assert!(lines.is_empty(), "files that use each other:\n{}", lines.join("\n"));
}

#[test]
fn a_planted_circle_is_found() {
    let circles_of = |texts: &[(&str, &str)]| {
        let file = |(path, code): &(&str, &str)| (path.to_string(), code.to_string());
        circles::circles(&texts.iter().map(file).collect::<Vec<_>>())
    };
    let line = [
        ("src/m/mod.rs", "mod a;\nmod b;\npub use b::{self, Item};\nuse a::Other;"),
        ("src/m/a.rs", "use super::{Rest, b::{Item, f as g}};"),
        ("src/m/b.rs", "use crate::m::c::deep::Name;"),
        ("src/m/c/mod.rs", "pub mod deep;"),
        ("src/m/c/deep.rs", "use super::Size;\n#[cfg(test)]\nmod tests { use super::a; }"),
    ];
    assert_eq!(circles_of(&line), Vec::<Vec<String>>::new());
    let back = [
        "use crate::{Error, m::a::Other};",
        "fn f() { super::super::a::f() }",
        // Through what mod.rs re-exports.
        "use crate::m::Item;",
        "use super::super::{Rest, Item as I};",
    ];
    for text in back {
        let mut planted = line;
        planted[4].1 = text;
        let circle = circles_of(&planted);
        assert_eq!(circle.len(), 1, "{text}");
        assert!(circle[0].contains(&"src/m/c/deep.rs".to_owned()), "{text}: {circle:?}");
        assert!(!circle[0].contains(&"src/m/mod.rs".to_owned()), "{text}: {circle:?}");
    }
}

fn uses_unsafe(code: &str) -> bool {
    // A hyphen joins: 'unsafe-inline' is a word of web pages.
    code.split(|c: char| !(c.is_alphanumeric() || "_-".contains(c)))
        .any(|word| word.trim_start_matches('-') == "unsafe")
        || code.contains("allow(unsafe_code)")
}

#[test]
fn unsafe_stands_only_where_it_may() {
    assert!(uses_unsafe("let x = unsafe { f() };") && uses_unsafe("-unsafe { f() }"));
    assert!(!uses_unsafe("deny(unsafe_code)") && !uses_unsafe("style-src 'unsafe-inline'"));
    let mut files: Vec<String> =
        ["src", "tests", "benches"].iter().flat_map(|d| rust_files(d)).collect();
    files.retain(|path| path != "tests/layout.rs");
    let wrong: Vec<&String> = files
        .iter()
        .filter(|path| !UNSAFE_ALLOWED.iter().any(|allowed| path.starts_with(allowed)))
        .filter(|path| uses_unsafe(&code(path)))
        .collect();
    assert!(wrong.is_empty(), "unsafe code outside {UNSAFE_ALLOWED:?}: {wrong:?}");
}

/// `kernels/<op>.cu`, or several as `kernels/<op>_*.cu`.
fn has_kernels(op: &str) -> bool {
    fs::read_dir(root().join("kernels")).expect("kernels").any(|entry| {
        let name = entry.expect("an entry").file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(".cu"));
        let rest = stem.and_then(|stem| stem.strip_prefix(op));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    })
}

/// The ops of a family, which are files of one folder and share the other places of an op.
const FAMILY: &str = "pointwise";

/// Whether the text holds without comments.
fn holds(file: &str, text: &str) -> bool {
    code(file).contains(text)
}

/// A case of PyTorch's, see `tests/ops/witness`.
fn witness(op: &str) -> (&'static str, String) {
    ("tests/golden/ops.json", format!("\"{op}/"))
}

/// What an op lacks that is a folder.
fn missing_of(op: &str) -> Vec<String> {
    let contract = format!("src/ops/{op}/mod.rs");
    let mut files = vec![contract.clone(), format!("tests/ops/{op}.rs")];
    let mut texts = vec![
        ("src/ops/mod.rs", format!("pub mod {op};")),
        ("tests/ops/main.rs", format!("mod {op};")),
    ];
    if op != FAMILY {
        texts.push(witness(op));
        files.push(format!("src/ops/{op}/reference.rs"));
        texts.push((&contract, "\npub mod reference;".to_owned()));
        texts.push(("benches/ops/main.rs", format!("\"{op}\"")));
    }
    // Two ops whose paths are one: each says which role it has in them.
    if op != FAMILY && !(root().join(&contract).exists() && holds(&contract, "static CONV: Conv")) {
        files.extend(["cpu", "cuda"].map(|path| format!("src/ops/{op}/{path}.rs")));
        texts.extend(["cpu", "cuda"].map(|path| (&contract[..], format!("\nmod {path};"))));
    }
    let mut missing: Vec<String> = files
        .iter()
        .filter(|file| !root().join(file).exists())
        .map(|file| format!("{op}: no file {file}"))
        .collect();
    if !has_kernels(op) {
        missing.push(format!("{op}: no file kernels/{op}.cu or kernels/{op}_*.cu"));
    }
    texts.retain(|(file, text)| root().join(file).exists() && !holds(file, text));
    missing
        .extend(texts.iter().map(|(file, text)| format!("{op}: {file} lacks `{}`", text.trim())));
    missing
}

/// What an op of the family lacks.
fn missing_of_family(op: &str) -> Vec<String> {
    let texts = [
        ("src/ops/pointwise/mod.rs", format!("pub mod {op};")),
        ("kernels/pointwise.cu", format!("POINTWISE({op},")),
        ("tests/ops/pointwise.rs", format!("{op}::forward")),
        ("benches/ops/main.rs", format!("\"{op}\"")),
        witness(op),
    ];
    let mut missing: Vec<String> = texts
        .iter()
        .filter(|(file, text)| !holds(file, text))
        .map(|(file, text)| format!("{op}: {file} lacks `{text}`"))
        .collect();
    let own = format!("src/ops/pointwise/{op}.rs");
    if !holds(&own, "pointwise!(") || !holds(&own, &format!("\"{op}\"")) {
        missing.push(format!("{op}: {own} gives no formulas to pointwise! under its name"));
    }
    missing
}

#[test]
fn every_op_has_all_its_places() {
    let folders: Vec<String> = fs::read_dir(root().join("src/ops"))
        .expect("src/ops")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_str().expect("a UTF-8 name").to_owned())
        .collect();
    let family: Vec<String> = rust_files("src/ops/pointwise")
        .iter()
        .map(|path| ident(path.trim_start_matches("src/ops/pointwise/")).to_owned())
        .filter(|op| op != "mod")
        .collect();
    assert!(folders.len() > 10 && family.len() > 1, "ops were found: {folders:?}, {family:?}");
    let mut missing: Vec<String> = folders.iter().flat_map(|op| missing_of(op)).collect();
    missing.extend(family.iter().flat_map(|op| missing_of_family(op)));
    // The one op that is a file: it moves no memory.
    let (file, text) = witness("reshape");
    missing.extend((!holds(file, &text)).then(|| format!("reshape: {file} lacks `{text}`")));
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn an_op_that_lacks_something_is_told_so() {
    let missing = missing_of("no_such_op");
    let files = ["mod.rs", "reference.rs", "cpu.rs", "cuda.rs", "tests/ops", "kernels/"];
    for place in files.into_iter().chain(["benches", "tests/golden/ops.json"]) {
        assert!(missing.iter().any(|line| line.contains(place)), "{place}: {missing:?}");
    }
}

/// A rule for the lines of a text: those that break it, with their numbers.
type Lines = for<'a> fn(&'a str) -> Vec<(usize, &'a str)>;

fn breaking(rule: Lines, dirs: &[&str]) -> Vec<String> {
    let mut found = vec![];
    for path in dirs.iter().flat_map(|dir| rust_files(dir)) {
        let text = fs::read_to_string(root().join(&path)).expect("a readable file");
        found.extend(rule(&text).iter().map(|(number, line)| format!("{path}:{number}: {line}")));
    }
    found
}

#[test]
fn documentation_stands_alone() {
    let found = breaking(comments::fragments, &["src"]);
    assert!(found.is_empty(), "begin with a noun of the field:\n{}", found.join("\n"));
}

#[test]
fn a_fragment_of_documentation_is_found() {
    let text = "/// Of AdamW.\nconst EPS: f32 = 1e-8;\n/// Epsilon\n/// Of AdamW.\nfn f() {}\n";
    assert_eq!(comments::fragments(text), [(1, "/// Of AdamW.")]);
    assert_eq!(comments::fragments("    //! As above.\n// As above.\n").len(), 1);
}

#[test]
fn comments_fit_their_columns() {
    let found = breaking(comments::long, &["src", "tests", "benches", "examples", "build"]);
    assert!(found.is_empty(), "over {} columns:\n{}", comments::COLUMNS, found.join("\n"));
}

#[test]
fn a_comment_over_its_columns_is_found() {
    let (fits, long) = ("é".repeat(comments::COLUMNS - 3), "x".repeat(comments::COLUMNS - 2));
    let text = format!("// {fits}\n    //{long}\n//{long}\n\"{long}{long}\"\n");
    let numbers: Vec<usize> = comments::long(&text).iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [2]);
}
