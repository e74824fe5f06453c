//! The ARC builder on task files in a folder.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::slice::from_ref;

use hrm::data::augment::{PuzzleName, Variant};
use hrm::data::builders::arc::{self, ArcOptions, Holdout};
use hrm::data::canvas::Placement;
use hrm::data::overlap;
use hrm::data::pattern::PatternKind;
use hrm::data::shard::Shard;
use hrm::data::{DataSet, Grid, Pair, Task};
use hrm::io::progress::Progress;
use hrm::rng::{Rng, Stream};

use crate::fixture;

fn rows(grid: &Grid) -> serde_json::Value {
    grid.rows().map(|r| r.to_vec()).collect::<Vec<_>>().into()
}

fn task_json(train: &[Pair], test: &[Pair]) -> String {
    let pairs = |pairs: &[Pair]| -> Vec<serde_json::Value> {
        let json =
            |p: &Pair| serde_json::json!({"input": rows(&p.input), "output": rows(&p.output)});
        pairs.iter().map(json).collect()
    };
    serde_json::json!({ "train": pairs(train), "test": pairs(test) }).to_string()
}

/// `training/` and `evaluation/` with random tasks whose sides are at most `side`.
fn raw(dir: &Path, training: usize, evaluation: usize, side: u32) -> Vec<Task> {
    let mut rng = Rng::new(11, Stream::Test, side as u64);
    let mut tasks = vec![];
    for (set, count) in [("training", training), ("evaluation", evaluation)] {
        fs::create_dir_all(dir.join(set)).unwrap();
        for k in 0..count {
            let mut pairs = |n| (0..n).map(|_| fixture::random_pair(&mut rng, side)).collect();
            let (train, test): (Vec<Pair>, Vec<Pair>) = (pairs(3), pairs(1 + k % 2));
            let path = dir.join(set).join(format!("{set}{k}.json"));
            fs::write(&path, task_json(&train, &test)).unwrap();
            tasks.push(Task::read(&path).unwrap());
        }
    }
    tasks
}

fn build(raw: &Path, out: &Path, options: &ArcOptions) -> (DataSet, arc::ArcReport) {
    let (_, report) = arc::build(&[raw.to_owned()], out, options, Progress::Quiet).unwrap();
    (DataSet::open(out).unwrap(), report)
}

fn options() -> ArcOptions {
    ArcOptions { num_aug: 8, seed: 1, canvas: 12, ..ArcOptions::default() }
}

/// Every example of the split, undone: (task, variant name, pair).
fn undone(data: &DataSet, shard: &Shard) -> Vec<(String, Pair)> {
    let names = data.identifiers().unwrap();
    let undo = |i| {
        let example = shard.example(i).unwrap();
        let name = PuzzleName::parse(&names[example.puzzle_id as usize]);
        let grid = |g| name.undo(g).expect("made by the pattern");
        let pair = Pair { input: grid(&example.pair.input), output: grid(&example.pair.output) };
        (name.task, pair)
    };
    (0..shard.examples()).map(undo).collect()
}

#[test]
fn official_holdout_trains_on_all_but_the_test_pairs_of_evaluation_tasks() {
    let dir = tempfile::tempdir().unwrap();
    let tasks = raw(&dir.path().join("raw"), 3, 2, 5);
    let (data, report) = build(&dir.path().join("raw"), &dir.path().join("d"), &options());
    assert_eq!((report.tasks, report.short_of_variants), (5, 0));
    assert_eq!(data.num_puzzle_ids(), 1 + 5 * 9);
    let (train, test) = (data.split("train").unwrap(), data.split("test").unwrap());
    assert_eq!((train.groups(), train.puzzles()), (5, 45));
    assert_eq!((test.groups(), test.puzzles()), (2, 18));
    assert_eq!(train.examples(), 9 * ((3 + 1) + (3 + 2) + (3 + 1) + 3 + 3));
    assert_eq!(test.examples(), 9 * (1 + 2));
    check_against_tasks(&data, &tasks, |task| task.id.starts_with("evaluation"));
}

#[test]
fn test_pair_holdout_never_trains_on_any_test_pair() {
    let dir = tempfile::tempdir().unwrap();
    let tasks = raw(&dir.path().join("raw"), 3, 2, 5);
    let options = ArcOptions { holdout: Holdout::TestPairs, ..options() };
    let (data, _) = build(&dir.path().join("raw"), &dir.path().join("d"), &options);
    assert_eq!(data.split("train").unwrap().examples(), 9 * 5 * 3);
    assert_eq!(data.split("test").unwrap().examples(), 9 * (1 + 2 + 1 + 1 + 2));
    check_against_tasks(&data, &tasks, |_| true);
}

fn check_against_tasks(data: &DataSet, tasks: &[Task], held_out: impl Fn(&Task) -> bool) {
    for split in ["train", "test"] {
        for (id, pair) in undone(data, data.split(split).unwrap()) {
            let task = tasks.iter().find(|t| t.id == id).unwrap();
            let is_test = task
                .test
                .iter()
                .any(|q| q.input == pair.input && q.output.as_ref() == Some(&pair.output));
            assert!(is_test || task.train.contains(&pair), "{split}: no pair of {id}");
            if split == "train" {
                assert!(!(is_test && held_out(task)), "test pair of {id} in train");
            } else {
                assert!(is_test && held_out(task));
            }
        }
    }
}

#[test]
fn one_example_per_puzzle_stays_and_test_rows_are_not_moved() {
    let dir = tempfile::tempdir().unwrap();
    raw(&dir.path().join("raw"), 3, 2, 5);
    let (data, _) = build(&dir.path().join("raw"), &dir.path().join("d"), &options());
    let train = data.split("train").unwrap();
    let mut moved = 0;
    for puzzle in 0..train.puzzles() {
        let range = train.puzzle_range(puzzle).unwrap();
        let examples: Vec<_> = range.map(|i| train.example(i).unwrap()).collect();
        assert!(examples.iter().all(|e| e.input_at == e.output_at));
        assert!(examples.iter().any(|e| e.input_at == Placement::default()));
        moved += examples.iter().filter(|e| e.input_at != Placement::default()).count();
    }
    let expected = train.examples() - train.puzzles();
    assert!(moved > expected * 9 / 10 && moved <= expected, "{moved} of {expected}");
    let test = data.split("test").unwrap();
    let corner = |i| test.example(i).unwrap().input_at == Placement::default();
    assert!((0..test.examples()).all(corner));
}

#[test]
fn variants_are_distinct_and_a_symmetric_task_has_few() {
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("raw/training");
    fs::create_dir_all(&raw).unwrap();
    let dot = Grid::from_fn(1, 1, |_, _| 3); // 9 colours, no direction: 9 variants in all
    let pair = Pair { input: dot.clone(), output: dot };
    fs::write(raw.join("dot.json"), task_json(from_ref(&pair), from_ref(&pair))).unwrap();
    let options = ArcOptions { num_aug: 50, ..options() };
    let (data, report) = build(&dir.path().join("raw"), &dir.path().join("d"), &options);
    assert_eq!(report.short_of_variants, 1);
    let train = data.split("train").unwrap();
    assert_eq!(train.puzzles(), 9);
    let contents: HashSet<Grid> = (0..18).map(|i| train.example(i).unwrap().pair.input).collect();
    assert_eq!(contents.len(), 9);
}

#[test]
fn canvas_and_max_tasks_leave_out_the_larger_tasks() {
    let dir = tempfile::tempdir().unwrap();
    let mut tasks = raw(&dir.path().join("raw"), 20, 20, 9);
    let fitting = tasks.iter().filter(|t| t.largest_side() <= 8).count();
    assert!(fitting < 40 && fitting > 2, "{fitting}");
    let options = ArcOptions { canvas: 8, max_tasks: Some(2), num_aug: 1, ..options() };
    let (data, report) = build(&dir.path().join("raw"), &dir.path().join("d"), &options);
    assert_eq!((report.too_large, report.beyond_max_tasks), (40 - fitting, fitting - 2));
    tasks.retain(|t| t.largest_side() <= 8);
    tasks.sort_by_key(|t| (t.largest_cells(), t.id.clone()));
    let wanted: HashSet<&str> = tasks[..2].iter().map(|t| t.id.as_str()).collect();
    let names = data.identifiers().unwrap()[1..].iter().map(|n| PuzzleName::parse(n).task);
    assert_eq!(names.collect::<HashSet<_>>(), wanted.iter().map(|s| s.to_string()).collect());
}

#[test]
fn patterns_keep_tasks_consistent_and_can_be_undone() {
    let dir = tempfile::tempdir().unwrap();
    let tasks = raw(&dir.path().join("raw"), 3, 2, 5);
    use PatternKind::*;
    let patterns = vec![Upscale, Border, Tile, Mirror];
    let options = ArcOptions { num_aug: 30, patterns, ..options() };
    let (data, _) = build(&dir.path().join("raw"), &dir.path().join("d"), &options);
    data.verify().unwrap();
    check_against_tasks(&data, &tasks, |task| task.id.starts_with("evaluation"));
    let names = data.identifiers().unwrap();
    let used: HashSet<_> = names.iter().filter_map(|n| PuzzleName::parse(n).pattern).collect();
    assert!(used.len() > 4, "{used:?}");
}

#[test]
fn an_id_in_both_sets_is_evaluation_only() {
    let dir = tempfile::tempdir().unwrap();
    let raw_dir = dir.path().join("raw");
    raw(&raw_dir, 2, 2, 4);
    fs::copy(
        raw_dir.join("evaluation/evaluation0.json"),
        raw_dir.join("training/evaluation0.json"),
    )
    .unwrap();
    let (data, report) = build(&raw_dir, &dir.path().join("d"), &options());
    assert_eq!((report.duplicate_ids, report.tasks), (1, 4));
    assert_eq!(data.split("test").unwrap().groups(), 2);
}

#[test]
fn bytes_are_the_same_with_one_and_two_threads_and_from_another_place() {
    let dir = tempfile::tempdir().unwrap();
    let mut built: Vec<Vec<(String, Vec<u8>)>> = vec![];
    for (threads, place) in [(1, "a"), (2, "b")] {
        let raw_dir: PathBuf = dir.path().join(place).join("raw");
        raw(&raw_dir, 70, 5, 5);
        let out = dir.path().join(place).join("out");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| build(&raw_dir, &out, &options()));
        let mut files: Vec<_> = fs::read_dir(&out)
            .unwrap()
            .map(|f| f.unwrap().path())
            .map(|f| (f.file_name().unwrap().to_string_lossy().into(), fs::read(&f).unwrap()))
            .collect();
        files.sort();
        built.push(files);
    }
    assert_eq!(built[0].len(), 4);
    assert!(built[0] == built[1], "files differ");
}

#[test]
fn a_larger_num_aug_continues_the_same_variants() {
    let dir = tempfile::tempdir().unwrap();
    raw(&dir.path().join("raw"), 1, 0, 5);
    let names = |num_aug, out: &str| {
        let options = ArcOptions { num_aug, ..options() };
        let (data, _) = build(&dir.path().join("raw"), &dir.path().join(out), &options);
        let shard = data.split("train").unwrap();
        let first: Vec<_> = (0..4 * 3).map(|i| shard.example(i).unwrap()).collect();
        (data.identifiers().unwrap()[..4].to_vec(), first)
    };
    assert_eq!(names(3, "a"), names(20, "b"));
}

#[test]
fn bad_sources_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (raw_dir, out) = (dir.path().join("raw"), dir.path().join("out"));
    let refusal = |options: &ArcOptions| {
        let built = arc::build(from_ref(&raw_dir), &out, options, Progress::Quiet);
        assert!(!out.exists(), "nothing is left behind");
        built.unwrap_err().to_string()
    };
    assert!(refusal(&options()).contains("read dataset folder"));
    fs::create_dir_all(raw_dir.join("training")).unwrap();
    assert!(refusal(&options()).contains("hrm data fetch"));
    let path = raw_dir.join("training/x.json");
    fs::write(&path, r#"{"train":[{"input":[[1]],"output":[[1,2],[3]]}],"test":[]}"#).unwrap();
    let error = refusal(&options());
    assert!(error.contains("x.json: train pair 0: output grid is ragged"), "{error}");
    fs::write(&path, "{").unwrap();
    assert!(refusal(&options()).contains("x.json: not an ARC task: EOF"));
    fs::write(&path, r#"{"train":[{"input":[[1,1]],"output":[[1]]}],"test":[]}"#).unwrap();
    assert!(refusal(&ArcOptions { canvas: 1, ..options() }).contains("none of the 1 tasks"));
    assert!(refusal(&ArcOptions { canvas: 31, ..options() }).contains("canvas 31"));
}

#[test]
fn an_output_that_is_not_ours_or_not_writable_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let raw_dir = dir.path().join("raw");
    raw(&raw_dir, 1, 1, 4);
    let try_build =
        |out: &Path| arc::build(from_ref(&raw_dir), out, &options(), Progress::Quiet).map(|_| ());
    let mine = dir.path().join("mine");
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join("notes.txt"), "keep").unwrap();
    let error = try_build(&mine).unwrap_err().to_string();
    assert!(error.contains("exists and is no data set"), "{error}");
    let error = try_build(&mine.join("notes.txt/out")).unwrap_err().to_string();
    assert!(error.contains("create folder"), "{error}");
    let error = try_build(Path::new("/proc/out")).unwrap_err().to_string();
    assert!(error.contains("/proc: create folder in"), "{error}");
    assert_eq!(fs::read_dir(&mine).unwrap().count(), 1);
    let ours = dir.path().join("ours");
    try_build(&ours).unwrap();
    try_build(&ours).unwrap(); // a data set is replaced by its rebuild
    DataSet::open(&ours).unwrap().verify().unwrap();
    let left = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 3, "raw, mine, ours: no temporary folder stays");
}

/// Every task of `training` stands in `evaluation` under another name, turned and recoloured.
#[test]
fn what_is_held_out_is_not_trained_on_under_another_name() {
    let dir = tempfile::tempdir().unwrap();
    let raw_dir = dir.path().join("raw");
    let tasks = raw(&raw_dir, 3, 0, 5);
    fs::create_dir_all(raw_dir.join("evaluation")).unwrap();
    let mut rng = Rng::new(3, Stream::Test, 0);
    for (k, task) in tasks.iter().enumerate() {
        let variant = Variant::random(&mut rng);
        let moved =
            |pairs: &[Pair]| pairs.iter().map(|p| variant.apply_pair(p)).collect::<Vec<_>>();
        let known = |q: &hrm::data::task::Query| Pair {
            input: q.input.clone(),
            output: q.output.clone().unwrap(),
        };
        let test: Vec<Pair> = task.test.iter().map(known).collect();
        let path = raw_dir.join(format!("evaluation/other{k}.json"));
        // The first demonstration of the task is one of its test pairs, too.
        let shown = [&moved(&test)[..1], &moved(&task.train)].concat();
        fs::write(path, task_json(&shown, &moved(&test))).unwrap();
    }
    let patterns = vec![PatternKind::Border, PatternKind::Mirror];
    let options = ArcOptions { patterns, ..options() };
    let (data, report) = build(&raw_dir, &dir.path().join("d"), &options);
    // 4 test pairs under the names of training, 3 among the demonstrations of evaluation.
    assert_eq!(report.held_out_by_content, 4 + 3);
    assert_eq!(data.train_in("test").unwrap(), 0);
    assert_eq!(data.manifest().provenance["held_out_by_content"], 7);
    let (train, test) = (data.split("train").unwrap(), data.split("test").unwrap());
    assert_eq!((train.groups(), test.groups()), (6, 3));
    let tested: HashSet<_> = undone(&data, test).iter().map(|(_, p)| overlap::content(p)).collect();
    let trained = undone(&data, train);
    assert_eq!(trained.len(), 9 * 6 * 3);
    assert!(trained.iter().all(|(_, pair)| !tested.contains(&overlap::content(pair))));
}

#[test]
fn names_and_folders_that_would_mix_splits_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let raw_dir = dir.path().join("raw");
    raw(&raw_dir, 2, 1, 4);
    let source = raw_dir.join("training/training0.json");
    let like = raw_dir.join("training/training0_t1_0213456789.json");
    fs::copy(&source, &like).unwrap();
    fs::write(raw_dir.join("training/broken.json"), "{").unwrap();
    let (data, report) = build(&raw_dir, &dir.path().join("d"), &options());
    assert_eq!((report.tasks, report.unreadable.len()), (3, 2));
    let named = |i: usize, what: &str| report.unreadable[i].contains(what);
    assert!(named(0, "broken.json: not an ARC task"), "{:?}", report.unreadable);
    assert!(named(1, "has the name of a variant of \"training0\""), "{:?}", report.unreadable);
    assert_eq!(data.num_puzzle_ids(), 1 + 3 * 9);
    for name in ["test", "eval", "Validation", "public_eval"] {
        fs::create_dir(raw_dir.join(name)).unwrap();
        fs::copy(&source, raw_dir.join(name).join("y.json")).unwrap();
        let refused =
            arc::build(from_ref(&raw_dir), &dir.path().join("e"), &options(), Progress::Quiet);
        let error = refused.unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("to test on"), "{error}");
        fs::remove_dir_all(raw_dir.join(name)).unwrap();
    }
}

#[test]
fn hidden_files_byte_order_marks_and_folders_below_a_set() {
    let dir = tempfile::tempdir().unwrap();
    let raw_dir = dir.path().join("raw");
    raw(&raw_dir, 2, 0, 4);
    let at = |name: &str| raw_dir.join("training").join(name);
    let text = fs::read_to_string(at("training0.json")).unwrap();
    fs::create_dir(at("Above")).unwrap();
    fs::write(at("Above/Above1.json"), format!("\u{feff}{text}")).unwrap();
    for name in ["._training0.json", ".DS_Store", "notes.txt", "Thumbs.db"] {
        fs::write(at(name), [0; 9]).unwrap();
    }
    let (data, report) = build(&raw_dir, &dir.path().join("d"), &options());
    assert_eq!((report.tasks, report.other_files, report.unreadable.len()), (3, 2, 0));
    assert!(data.identifiers().unwrap().contains(&"Above1".to_owned()));
}

#[test]
fn the_combined_files_of_kaggle_are_the_same_tasks() {
    let dir = tempfile::tempdir().unwrap();
    let (plain, combined) = (dir.path().join("plain"), dir.path().join("combined"));
    raw(&plain, 2, 2, 4);
    fs::create_dir(&combined).unwrap();
    for set in ["training", "evaluation"] {
        let (mut challenges, mut solutions) = (serde_json::Map::new(), serde_json::Map::new());
        for k in 0..2 {
            let text = fs::read(plain.join(format!("{set}/{set}{k}.json"))).unwrap();
            let mut task: serde_json::Value = serde_json::from_slice(&text).unwrap();
            let tests = task["test"].as_array_mut().unwrap().iter_mut();
            let outputs = tests.map(|t| t.as_object_mut().unwrap().remove("output").unwrap());
            solutions.insert(format!("{set}{k}"), outputs.collect::<Vec<_>>().into());
            challenges.insert(format!("{set}{k}"), task);
        }
        let write = |what: &str, json| {
            let json = serde_json::Value::Object(json).to_string();
            fs::write(combined.join(format!("arc-agi_{set}_{what}.json")), json).unwrap();
        };
        write("challenges", challenges);
        write("solutions", solutions);
    }
    let (a, _) = build(&plain, &dir.path().join("a"), &options());
    let (b, _) = build(&combined, &dir.path().join("b"), &options());
    assert_eq!(a.identifiers().unwrap(), b.identifiers().unwrap());
    for split in ["train", "test"] {
        assert_eq!(undone(&a, a.split(split).unwrap()), undone(&b, b.split(split).unwrap()));
    }
}

#[test]
fn links_are_followed_and_leftovers_removed() {
    let dir = tempfile::tempdir().unwrap();
    let raw_dir = dir.path().join("raw");
    raw(&raw_dir, 1, 1, 4);
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("disk/here")).unwrap();
    std::os::unix::fs::symlink(at("disk/here"), at("link")).unwrap();
    let (left, held) = (at("disk/.here.unfinished-left"), at("disk/.here.unfinished-held"));
    fs::create_dir(&left).unwrap();
    fs::create_dir(&held).unwrap();
    let lock = fs::File::open(&held).unwrap();
    lock.lock().unwrap();
    build(&raw_dir, &at("link"), &options());
    assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
    DataSet::open(&at("disk/here")).unwrap().verify().unwrap();
    assert!(!left.exists() && held.exists());
    drop(lock);
    build(&raw_dir, &at("link"), &options());
    assert!(!held.exists());
}

/// One task: the demonstration is the test pair in other colours, which is what the task shows.
#[test]
fn demonstrations_in_other_colours_are_trained_on() {
    let dir = tempfile::tempdir().unwrap();
    let raw_dir = dir.path().join("raw");
    fs::create_dir_all(raw_dir.join("evaluation")).unwrap();
    let dot =
        |a, b| Pair { input: Grid::from_fn(1, 1, |_, _| a), output: Grid::from_fn(1, 1, |_, _| b) };
    let text = task_json(&[dot(1, 2), dot(3, 4)], &[dot(5, 6)]);
    fs::write(raw_dir.join("evaluation/dots.json"), text).unwrap();
    let (data, report) = build(&raw_dir, &dir.path().join("d"), &options());
    assert_eq!((report.held_out_by_content, data.train_in("test").unwrap()), (0, 0));
    assert_eq!(data.split("train").unwrap().puzzles(), 9);
}
