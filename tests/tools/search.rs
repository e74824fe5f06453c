use std::path::Path;
use std::process::Output;

use crate::{refusal, run, stdout, text};

/// A variant that is trained and scored in a moment.
const TINY: &str = "model.hidden_size=16 model.num_heads=1 model.puzzle_emb_ndim=16 train.batch_size=4 \
                    train.max_steps=4 train.eval_every=2 train.best=loss train.warmup_steps=1 \
                    data.train_puzzles=8 data.test_puzzles=6 data.num_aug=1";

fn search(dir: &Path, args: &[&str]) -> Output {
    let own = ["--hrm", env!("CARGO_BIN_EXE_hrm"), "--out", "out"];
    run("search", &[&own[..], args].concat(), dir)
}

/// A line for each seed and checkpoint, the spread of the seeds, and nothing twice.
#[test]
fn variants_and_seeds_become_a_table_and_a_second_search_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (format!("a: {TINY}"), format!("b: {TINY} train.lr=1e-4"));
    let first = search(dir.path(), &["--seeds", "0,1", "sudoku-mini", &a]);
    assert!(first.status.success(), "{}", text(&first.stderr));
    let lines: Vec<String> = text(&first.stdout).lines().map(str::to_owned).collect();
    let heads = |name: &str| {
        let of = lines.iter().filter(|line| line.starts_with(&format!("{name} ")));
        of.map(|line| line.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
    };
    let wanted = ["a 0 best", "a 1 best", "a mean best", "a 0 final", "a 1 final", "a mean final"];
    assert_eq!(heads("a"), wanted, "{lines:?}");
    assert!(text(&first.stderr).contains("2 of 2"), "{}", text(&first.stderr));
    let log = dir.path().join("out/sudoku-mini-a-s0.log");
    let written = std::fs::metadata(&log).unwrap().len();
    let second = search(dir.path(), &["--seeds", "0,1", "sudoku-mini", &a, &b]);
    assert!(second.status.success(), "{}", text(&second.stderr));
    assert_eq!(std::fs::metadata(&log).unwrap().len(), written, "a is trained again");
    let both = text(&second.stdout);
    assert!(lines.iter().all(|line| both.contains(line.as_str())), "{both}");
    assert!(both.contains("\nb "), "{both}");
    let other = format!("a: {TINY} train.lr=1e-5");
    let refused = search(dir.path(), &["sudoku-mini", &other]);
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains("name the variant otherwise"));
}

#[test]
fn nonsense_is_refused_and_help_shows_examples() {
    let dir = tempfile::tempdir().unwrap();
    let said =
        refusal("search", &["--hrm", env!("CARGO_BIN_EXE_hrm"), "x", "no colon"], dir.path());
    assert!(said.contains("is no variant"), "{said}");
    let said = refusal("search", &["--hrm", "missing", "sudoku-mini"], dir.path());
    assert!(said.contains("cargo build --release"), "{said}");
    let out = search(dir.path(), &["sudoku-mini", "a: model.hidden_size=0"]);
    assert!(!out.status.success());
    assert!(text(&out.stderr).contains("hrm train failed"), "{}", text(&out.stderr));
    assert!(stdout("search", &["--help"], dir.path()).contains("tools/search --seeds 0,1,2"));
}
