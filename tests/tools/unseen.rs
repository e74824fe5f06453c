use std::path::Path;
use std::process::Output;

use serde_json::json;

use crate::{refusal, run, stdout, text};

/// Trained and asked in a moment.
const TINY: &str = "model.hidden_size=16 model.num_heads=1 model.puzzle_emb_ndim=16 model.h_layers=1 \
                    model.l_layers=1 train.batch_size=4 train.max_steps=4 train.eval_every=0 \
                    train.warmup_steps=1 data.num_aug=1";

fn unseen(dir: &Path, args: &[&str]) -> Output {
    let own = ["--hrm", env!("CARGO_BIN_EXE_hrm"), "--out", "out", "--tasks", "tasks"];
    let set = TINY.split_whitespace().flat_map(|setting| ["--set", setting]);
    run("unseen", &own.into_iter().chain(set).chain(args.iter().copied()).collect::<Vec<_>>(), dir)
}

/// Task `number`: its colour everywhere; a second test input is a copy where the first is not.
fn task(number: u8) -> serde_json::Value {
    let pair = |input: &[u8]| json!({ "input": [input], "output": [vec![number; input.len()]] });
    json!({ "train": [pair(&[7, 8]), pair(&[8, 8, 7])],
            "test": [pair(&[9, 8, 9, 0]), pair(&[number; 5])] })
}

/// A line for each way and split and their sum; nothing is trained or asked twice.
#[test]
fn tasks_are_held_out_and_asked_and_a_second_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("tasks/training");
    std::fs::create_dir_all(&folder).unwrap();
    (1..6).for_each(|number| {
        std::fs::write(folder.join(format!("t{number}.json")), task(number).to_string()).unwrap();
    });
    let splits = ["--splits", "2", "--held-out", "2", "arc-small"];
    let way = "a: --steps 2 --variants 2";
    let first = unseen(dir.path(), &[&splits[..], &[way]].concat());
    assert!(first.status.success(), "{}", text(&first.stderr));
    let table = text(&first.stdout);
    let rows: Vec<Vec<&str>> =
        table.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    let heads: Vec<&[&str]> = rows.iter().map(|row| &row[..2]).collect();
    assert_eq!(heads, [["a", "0"], ["a", "1"], ["a", "all"]], "{table}");
    let copies_of: Vec<[&str; 2]> = rows.iter().map(|row| [row[4], row[5]]).collect();
    assert_eq!(copies_of, [["2", "4"], ["2", "4"], ["4", "8"]], "{table}");
    assert_eq!((rows[2][7], rows[2][8]), ("of", "8"), "own pairs: {table}");
    let predictions = || {
        let found = std::fs::read_dir(dir.path().join("out")).unwrap();
        let runs = found.map(|entry| entry.unwrap().path().join("unseen/a"));
        let tasks = runs.filter(|path| path.exists()).flat_map(|path| path.read_dir().unwrap());
        let mut tasks: Vec<_> = tasks
            .map(|task| {
                let path = task.unwrap().path();
                let written = path.join("prediction.json").metadata().unwrap().modified().unwrap();
                (path, written)
            })
            .collect();
        tasks.sort();
        tasks
    };
    let before = predictions();
    assert_eq!(before.len(), 4);
    let second = unseen(dir.path(), &[&splits[..], &[way, "b: --steps 1"]].concat());
    assert!(second.status.success(), "{}", text(&second.stderr));
    assert!(table.lines().all(|line| text(&second.stdout).contains(line)), "{table}");
    assert!(text(&second.stdout).contains("\nb "), "{}", text(&second.stdout));
    assert_eq!(before, predictions(), "asked again");
    let few = unseen(dir.path(), &["--splits", "3", "--held-out", "2", "arc-small"]);
    assert!(text(&few.stderr).contains("5 tasks that fit 7 x 7"), "{}", text(&few.stderr));
}

#[test]
fn nonsense_is_refused_and_help_shows_examples() {
    let dir = tempfile::tempdir().unwrap();
    let said = refusal("unseen", &["arc-small", "no colon"], dir.path());
    assert!(said.contains("is no way of predicting"), "{said}");
    let said = refusal("unseen", &["--hrm", "missing", "arc-small"], dir.path());
    assert!(said.contains("cargo build --release"), "{said}");
    assert!(stdout("unseen", &["--help"], dir.path()).contains("tools/unseen arc-small"));
}
