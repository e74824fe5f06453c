//! The `.npy` layout out and in, and the commands of `hrm data` as a user gives them.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use hrm::cli::data::{DataArgs, run};
use hrm::data::builders::arc::ArcOptions;
use hrm::data::builders::sudoku::SudokuOptions;
use hrm::data::ensure::{BuildSpec, ensure};
use hrm::data::fetch::{self, Source};
use hrm::data::{DataSet, Grid, Kind, npy};
use hrm::formats::Program;
use hrm::io::progress::Progress;
use serde_json::{Value, json};

use crate::fixture;

fn rows(data: &DataSet, split: &str) -> Vec<(u32, Vec<i32>)> {
    let shard = data.split(split).unwrap();
    let seq_len = data.seq_len();
    let row = |i| {
        let mut tokens = vec![0; 2 * seq_len];
        let (input, label) = tokens.split_at_mut(seq_len);
        (shard.decode(i, 0, input, label).unwrap(), tokens)
    };
    (0..shard.examples()).map(row).collect()
}

fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut found, mut open) = (vec![], vec![dir.to_owned()]);
    while let Some(folder) = open.pop() {
        for path in fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
            } else {
                found.push((path.strip_prefix(dir).unwrap().to_owned(), fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn npy_export_and_import_round_trip_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (data, _) = fixture::small(&at("d"), 8, 6);
    npy::export(&data, &at("npy"), None, Progress::Quiet).unwrap();
    assert_eq!(files(&at("npy")).len(), 13);
    for kind in [None, Some(Kind::Tokens)] {
        let back = at(&format!("back{}", kind.is_some()));
        npy::import(&at("npy"), &back, kind, Progress::Quiet).unwrap();
        let back = DataSet::open(&back).unwrap();
        back.verify().unwrap();
        assert_eq!(back.kind(), kind.unwrap_or(Kind::Arc));
        assert_eq!(back.identifiers().unwrap(), data.identifiers().unwrap());
        for split in ["train", "test"] {
            assert_eq!(rows(&back, split), rows(&data, split));
            let (a, b) = (back.split(split).unwrap(), data.split(split).unwrap());
            assert_eq!((a.groups(), a.puzzles()), (b.groups(), b.puzzles()));
        }
        let again = at(&format!("again{}", kind.is_some()));
        npy::export(&back, &again, None, Progress::Quiet).unwrap();
        assert!(files(&again) == files(&at("npy")), "the files come out the same");
        let [a, b] = [&back, &data].map(|d| d.split("train").unwrap().bytes());
        // The provenance differs in length.
        assert!(kind.is_some() || a.abs_diff(b) < 100, "variants share grids again: {a} {b}");
    }
}

#[test]
fn what_came_from_trm_goes_back_as_trm() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (data, _) = fixture::small(&at("d"), 8, 6);
    for (program, name) in [(Program::Hrm, "hrm"), (Program::Trm, "trm")] {
        npy::export(&data, &at(name), Some(program), Progress::Quiet).unwrap();
        npy::import(&at(name), &at(&format!("of-{name}")), None, Progress::Quiet).unwrap();
    }
    let json = |file: &str| -> Value {
        serde_json::from_slice(&fs::read(at("trm").join(file)).unwrap()).unwrap()
    };
    let train = data.split("train").unwrap();
    assert_eq!(json("train/dataset.json")["total_puzzles"], train.puzzles());
    let (names, own) = (json("identifiers.json"), data.identifiers().unwrap());
    for (theirs, ours) in names.as_array().unwrap().iter().zip(own).skip(1) {
        let (task, variant) = ours.split_once("_").unwrap();
        assert_eq!(theirs, &format!("{task}|||{}", variant.replace('_', "|||")));
    }
    let (tasks, test) = (json("test_puzzles.json"), data.split("test").unwrap());
    assert_eq!(tasks.as_object().unwrap().len(), test.groups());
    for group in 0..test.groups() {
        let first = test.puzzle_range(test.group_range(group).unwrap().start).unwrap();
        let asked = &tasks[format!("test{group}")]["test"];
        assert_eq!(asked.as_array().unwrap().len(), first.len());
        for (i, at) in first.enumerate() {
            let pair = test.example(at).unwrap().pair;
            let rows = |grid: &Grid| json!(grid.cells().chunks(grid.w()).collect::<Vec<_>>());
            assert_eq!(asked[i]["input"], rows(&pair.input), "test{group}, pair {i}");
            assert_eq!(asked[i]["output"], rows(&pair.output), "test{group}, pair {i}");
        }
    }
    let of_trm = DataSet::open(&at("of-trm")).unwrap();
    npy::export(&of_trm, &at("back"), None, Progress::Quiet).unwrap();
    assert!(files(&at("back")) == files(&at("trm")), "TRM's files come out the same");
    npy::export(&of_trm, &at("other"), Some(Program::Hrm), Progress::Quiet).unwrap();
    assert!(files(&at("other")) == files(&at("hrm")), "HRM's files are those of the same data");
    let of_hrm = DataSet::open(&at("of-hrm")).unwrap();
    npy::export(&of_hrm, &at("crossed"), Some(Program::Trm), Progress::Quiet).unwrap();
    assert!(files(&at("crossed")) == files(&at("trm")), "and the other way");
}

#[test]
fn an_export_replaces_only_an_export() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (data, _) = fixture::small(&at("d"), 8, 3);
    fixture::small(&at("other"), 8, 3);
    let [own, other] = [files(&at("d")), files(&at("other"))];
    let export = |to: &Path| npy::export(&data, to, None, Progress::Quiet);
    let refusal = |to: &Path| export(to).unwrap_err().to_string();
    let words = "is or holds the data set that is exported";
    assert!(refusal(&at("d")).contains(words));
    assert!(refusal(&at("other")).contains("is no exported data set"), "a data set of our own");
    // Even where the folder is also an export.
    fs::create_dir(at("d/test")).unwrap();
    fs::write(at("d/test/dataset.json"), "{}").unwrap();
    assert!(refusal(&at("other/../d")).contains(words));
    assert!(refusal(dir.path()).contains(words), "a folder above it");
    fs::remove_dir_all(at("d/test")).unwrap();
    assert!(files(&at("d")) == own && files(&at("other")) == other, "nothing was touched");
    export(&at("npy")).unwrap();
    let whole = files(&at("npy"));
    fs::write(at("npy/old"), "").unwrap();
    export(&at("npy")).unwrap();
    assert!(files(&at("npy")) == whole, "an earlier export is replaced");
}

#[cfg(unix)]
#[test]
fn a_split_that_cannot_be_looked_at_is_not_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (data, _) = fixture::small(&at("d"), 8, 3);
    npy::export(&data, &at("npy"), None, Progress::Quiet).unwrap();
    let file = at("npy/train/dataset.json");
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&file, &file).unwrap();
    let error = npy::import(&at("npy"), &at("out"), None, Progress::Quiet).unwrap_err().to_string();
    assert!(error.contains("train/dataset.json: look at"), "{error}");
    assert!(!at("out").exists());
}

#[test]
fn damaged_npy_folders_are_refused_by_file() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (data, _) = fixture::small(&at("d"), 8, 3);
    npy::export(&data, &at("npy"), None, Progress::Quiet).unwrap();
    let good = files(&at("npy"));
    let refusal = |file: &str, change: &dyn Fn(&mut Vec<u8>)| {
        for (name, bytes) in &good {
            let mut bytes = bytes.clone();
            if name == Path::new(file) {
                change(&mut bytes);
            }
            fs::write(at("npy").join(name), bytes).unwrap();
        }
        let result = npy::import(&at("npy"), &at("out"), None, Progress::Quiet);
        assert!(!at("out").exists());
        result.unwrap_err().to_string()
    };
    let error = refusal("train/all__inputs.npy", &|b| b.truncate(b.len() - 50));
    assert!(error.contains("all__inputs.npy: read row (truncated?)"), "{error}");
    let error = refusal("train/all__labels.npy", &|b| *b.last_mut().unwrap() = 200);
    assert!(error.contains("all__labels.npy") && error.contains("beyond the vocab"), "{error}");
    let error = refusal("train/all__inputs.npy", &|b| b[0] = 0);
    assert!(error.contains("all__inputs.npy"), "{error}");
    let error = refusal("test/all__puzzle_indices.npy", &|b| *b.last_mut().unwrap() = 9);
    assert!(error.contains("all__puzzle_indices.npy: must ascend"), "{error}");
    let error = refusal("test/all__puzzle_identifiers.npy", &|b| *b.last_mut().unwrap() = 9);
    assert!(error.contains("all__puzzle_identifiers.npy: id"), "{error}");
    let error = refusal("identifiers.json", &|b| b.clear());
    assert!(error.contains("identifiers.json"), "{error}");
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    data: DataArgs,
}

/// `hrm data <line>` with `@` for the test's folder.
fn command(dir: &Path, line: &str) -> Result<(), String> {
    let root = dir.to_str().unwrap();
    let words = line.split_whitespace().map(|w| w.replace('@', root));
    let words = ["data".into(), "--quiet".into()].into_iter().chain(words);
    let cli = Cli::try_parse_from(words).map_err(|e| e.to_string())?;
    run(cli.data).map_err(|e| e.to_string())
}

#[test]
fn commands_go_from_a_folder_to_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let ok = |line: &str| command(dir.path(), line).unwrap_or_else(|e| panic!("{line}: {e}"));
    let source = dir.path().join("repository/data");
    for (set, count) in [("training", 3), ("evaluation", 2)] {
        fs::create_dir_all(source.join(set)).unwrap();
        for k in 0..count {
            let pair = format!(r#"{{"input":[[{k},1,2]],"output":[[{k}],[3]]}}"#);
            let test = format!(r#"{{"input":[[{k},1,2,{k}]],"output":[[{k}],[3]]}}"#);
            let task = format!(r#"{{"train":[{pair},{pair}],"test":[{test}]}}"#);
            fs::write(source.join(set).join(format!("{set}{k}.json")), task).unwrap();
        }
    }
    ok("fetch arc1 --from @/repository --output-dir @/raw");
    assert!(dir.path().join("raw/arc1/evaluation/evaluation1.json").is_file());
    ok("build --dataset-dirs @/raw/arc1 --output-dir @/d --num-aug 5 --canvas 8 \
        --patterns border,tile --holdout test-pairs --max-tasks 4");
    ok("verify @/d");
    ok("stats @/d --json");
    ok("show @/d --output @/sheet.png --count 7 --every 3");
    let png = fs::read(dir.path().join("sheet.png")).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(&png)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    assert!(pixels.chunks(3).any(|p| p == [0x00, 0x74, 0xD9]), "colour 1 is ARC's blue");
    ok("export @/d --output-dir @/npy");
    ok("import @/npy --output-dir @/back");
    ok("build-sudoku --size 4 --train 20 --test 5 --clues 6..9 --num-aug 1 --output-dir @/s");
    ok("show @/s --output @/sudoku.png --split test");
    ok("build-maze --size 7 --train 5 --test 2 --aug --output-dir @/m");
    ok("show @/m --output @/maze.png");
    assert_eq!(DataSet::open(&dir.path().join("m")).unwrap().kind(), Kind::Maze);
}

#[test]
fn wrong_commands_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let error = |line: &str| command(dir.path(), line).unwrap_err();
    assert!(error("verify @/none").contains("there is no data set here"));
    assert!(error("build --output-dir @/d --patterns spiral").contains("there are upscale"));
    assert!(error("build-sudoku --output-dir @/d --clues many").contains("MIN..MAX"));
    assert!(error("build-sudoku --output-dir @/d --train-csv x").contains("--test-csv"));
    assert!(error("fetch arc1 --from @/none.zip --output-dir @").contains("none.zip"));
    fs::create_dir(dir.path().join("empty")).unwrap();
    let empty = error("fetch arc1 --from @/empty --output-dir @/raw");
    assert!(empty.contains("holds no training/*.json"), "{empty}");
    fixture::small(&dir.path().join("d"), 1, 1);
    assert!(error("show @/d --first 1000 --output @/x.png").contains("nothing to draw from 1000"));
    assert!(error("show @/d --split dev --output @/x.png").contains("there is test, train"));
}

#[test]
fn missing_data_is_built_once_and_damage_is_not_built_over() {
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("raw");
    let source = dir.path().join("source/training");
    fs::create_dir_all(&source).unwrap();
    let pair = r#"{"input":[[1,2]],"output":[[2,1]]}"#;
    fs::write(source.join("x.json"), format!(r#"{{"train":[{pair}],"test":[{pair}]}}"#)).unwrap();
    let from = dir.path().join("source");
    fetch::fetch(Source::Arc1, from.to_str(), &raw, Progress::Quiet).unwrap();
    let options = ArcOptions { num_aug: 3, canvas: 4, ..ArcOptions::default() };
    let arc = BuildSpec::Arc { source: Source::Arc1, options };
    let sudoku = SudokuOptions { size: 4, train: 5, test: 2, ..SudokuOptions::default() };
    for spec in [arc, BuildSpec::Sudoku { options: sudoku }] {
        let ensure = || ensure(dir.path(), &spec, Progress::Quiet);
        let first = ensure().unwrap();
        let made = |d: &DataSet| fs::metadata(d.dir().join("dataset.json")).unwrap().modified();
        assert_eq!(made(&first).unwrap(), made(&ensure().unwrap()).unwrap());
        assert!(first.dir().ends_with(spec.folder_name()));
        fs::write(first.dir().join("dataset.json"), "{").unwrap();
        let error = ensure().err().expect("refused").to_string();
        assert!(error.contains("not a data set manifest"), "{error}");
        fs::remove_file(first.dir().join("dataset.json")).unwrap();
        assert!(ensure().err().expect("refused").to_string().contains("remove it"));
    }
}

/// No panic, no endless work: each number at 0, 1 and its maximum is used or refused in a sentence.
#[test]
fn numbers_at_their_ends() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("raw/training")).unwrap();
    let task = r#"{"train":[{"input":[[1,2]],"output":[[2,1]]}],"test":[]}"#;
    fs::write(dir.path().join("raw/training/a.json"), task).unwrap();
    let csv = |name: &str, row: &str| {
        let text = format!("source,question,answer,rating\n{row}\n");
        fs::write(dir.path().join(name), text).unwrap();
    };
    csv("s.csv", "a,1...3..2........,1243341221344321,3");
    csv("t.csv", "a,12..3..2........,1243341221344321,3");
    csv("m.csv", "a,S  # ## G,So #o##oG,1");
    csv("n.csv", "a,S  ## ##G,Soo##o##G,1");
    command(dir.path(), "build --dataset-dirs @/raw --num-aug 1 --output-dir @/d").unwrap();
    let sudoku = "build-sudoku --output-dir @/o --train-csv @/s.csv --test-csv @/t.csv";
    let maze = "build-maze --output-dir @/o --train-csv @/m.csv --test-csv @/n.csv";
    let generated = "build-sudoku --size 4 --train 1 --test 1 --output-dir @/o";
    let mazes = "build-maze --size 5 --train 1 --test 1 --output-dir @/o";
    let flags = [
        ("build --dataset-dirs @/raw --output-dir @/o", "num-aug seed canvas max-tasks"),
        (sudoku, "subsample min-rating num-aug seed"),
        (generated, "num-aug seed clues"),
        ("build-sudoku --size 4 --test 1 --output-dir @/o", "train"),
        ("build-sudoku --size 4 --train 1 --output-dir @/o", "test"),
        ("build-sudoku --train 1 --test 1 --output-dir @/o", "size"),
        (maze, "subsample seed"),
        (mazes, "seed"),
        ("build-maze --size 5 --test 1 --output-dir @/o", "train"),
        ("build-maze --size 5 --train 1 --output-dir @/o", "test"),
        ("build-maze --train 1 --test 1 --output-dir @/o", "size"),
        ("show @/d --output @/s.png", "first count every"),
    ];
    for (line, names) in flags {
        for name in names.split(' ') {
            for value in ["0", "1", "18446744073709551615"] {
                let asked = format!("{line} --{name} {value}");
                if let Err(error) = command(dir.path(), &asked) {
                    assert!(error.len() > 10 && !error.contains("panicked"), "{asked}: {error}");
                }
            }
        }
    }
    let most = "18446744073709551615";
    for (line, name) in [(flags[0].0, "num-aug"), (generated, "num-aug"), (flags[3].0, "train")] {
        let error = command(dir.path(), &format!("{line} --{name} {most}")).unwrap_err();
        assert!(error.contains("at most"), "{name}: {error}");
    }
}

#[test]
fn integers_of_any_width_are_imported() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (data, _) = fixture::small(&at("d"), 8, 3);
    npy::export(&data, &at("npy"), None, Progress::Quiet).unwrap();
    for (name, bytes) in files(&at("npy")) {
        let narrow = name.to_string_lossy().into_owned();
        if !(narrow.ends_with("inputs.npy") || narrow.ends_with("labels.npy")) {
            continue;
        }
        let header = String::from_utf8_lossy(&bytes[..128]).into_owned();
        assert!(header.contains("'shape': (") && !header.contains(", )"), "{header}");
        let mut wide = bytes[..128].to_vec();
        let at_type =
            header.find("|u1").unwrap() - header.chars().filter(|&c| c == '\u{fffd}').count() * 2;
        wide[at_type..at_type + 3].copy_from_slice(b"<i8");
        bytes[128..].iter().for_each(|&token| wide.extend((token as i64).to_le_bytes()));
        fs::write(at("npy").join(&name), wide).unwrap();
    }
    npy::import(&at("npy"), &at("back"), None, Progress::Quiet).unwrap();
    let back = DataSet::open(&at("back")).unwrap();
    for split in ["train", "test"] {
        assert_eq!(rows(&back, split), rows(&data, split));
    }
}

/// The lock of a builder that is at work is waited for; then what it made is found.
#[test]
fn one_builds_and_others_wait() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let spec = BuildSpec::Sudoku {
        options: SudokuOptions { size: 4, train: 20, test: 5, ..SudokuOptions::default() },
    };
    let start = || ensure(&data_dir, &spec, Progress::Quiet).map(|data| data.digest());
    let digests: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect()
    });
    assert!(digests.iter().all(|digest| *digest == digests[0]));
}
