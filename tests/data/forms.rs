//! Task collections in the forms in which others hand them out: read where they say which pairs are
//! asked, otherwise named with the way to convert them; one bad part does not end the rest.

use std::fs;
use std::io::Write;
use std::path::Path;

use hrm::data::builders::arc::{self, ArcOptions};
use hrm::data::fetch::{self, Source};
use hrm::data::{DataSet, Task};
use hrm::io::progress::Progress;
use serde_json::{Value, json};

fn task(colour: u8) -> Value {
    let pair = |a: u8, b: u8| json!({ "input": [[a, 0]], "output": [[b, b]] });
    json!({ "train": [pair(colour, 1), pair(1, colour)], "test": [pair(2, colour)] })
}

/// Kaggle's two files: tasks without their answers, and those.
fn kaggle(tasks: &[(&str, Value)]) -> (Value, Value) {
    let (mut challenges, mut solutions) = (json!({}), json!({}));
    for (id, task) in tasks {
        let mut task = task.clone();
        let pairs = task["test"].as_array_mut().unwrap().iter_mut();
        let answers = pairs.map(|pair| pair.as_object_mut().unwrap().remove("output").unwrap());
        solutions[id] = answers.collect();
        challenges[id] = task;
    }
    (challenges, solutions)
}

fn built(dir: &Path) -> (usize, Vec<String>) {
    let options = ArcOptions { num_aug: 1, ..ArcOptions::default() };
    let out = dir.join("out");
    let (_, report) = arc::build(&[dir.join("raw")], &out, &options, Progress::Quiet).unwrap();
    (report.tasks, report.unreadable)
}

#[test]
fn parts_that_cannot_be_read_are_named_and_the_rest_is_built() {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("raw/training");
    fs::create_dir_all(&set).unwrap();
    let write = |name: &str, text: &str| fs::write(set.join(name), text).unwrap();
    write("good.json", &task(3).to_string());
    let (mut challenges, mut solutions) = kaggle(&[("a", task(4)), ("b", task(5)), ("c", task(6))]);
    challenges["b"]["train"][0]["input"] = json!([[10]]);
    solutions["c"] = json!([[[1]], [[2]]]);
    solutions["stray"] = json!([[[1]]]);
    write("arc_training_challenges.json", &challenges.to_string());
    write("arc_training_solutions.json", &solutions.to_string());
    write("b_solutions.json", r#"{"a":[[[1]]]}"#);
    write("re.json", r#"[{"input":[[1]],"output":[[2]]}]"#);
    let line = r#"{"source":"def f(): pass","examples":[[[[1]],[[2]]]]}"#;
    write("barc.jsonl", &format!("{line}\n{line}\n"));
    write("one.jsonl", line);
    write("mini.json", r#"{"train":[{"input":[[null]],"output":[[2]]}],"test":[]}"#);
    write("list.json", r#"{"train":[[[[1]],[[2]]]],"test":[]}"#);
    let (tasks, unreadable) = built(dir.path());
    assert_eq!(tasks, 2, "good and a");
    let all = unreadable.join("\n");
    for (file, what) in [
        ("arc_training_challenges.json", "train pair 0: input grid has colour 10"),
        (
            "arc_training_solutions.json",
            "c: 2 outputs, but the task has 1 test inputs: give one for each",
        ),
        ("arc_training_solutions.json", "stray: does not stand in"),
        ("b_solutions.json", "answers without their tasks: "),
        ("re.json", "is a list of pairs (RE-ARC)"),
        ("barc.jsonl", "holds an object per line (BARC)"),
        ("one.jsonl", "holds an object per line (BARC)"),
        ("mini.json", "a cell is null (Mini-ARC)"),
        ("list.json", "invalid type: sequence, expected an object"),
    ] {
        let named = |line: &String| line.contains(file) && line.contains(what);
        assert!(unreadable.iter().any(named), "{file}: {what}\n{all}");
    }
    assert_eq!(unreadable.len(), 9, "{all}");
}

#[test]
fn the_combined_files_of_kaggle_are_read_from_a_zip_too() {
    let dir = tempfile::tempdir().unwrap();
    let zip_path = dir.path().join("kaggle.zip");
    let mut zip = zip::ZipWriter::new(fs::File::create(&zip_path).unwrap());
    for (set, id) in [("training", "a"), ("evaluation", "b")] {
        let (challenges, solutions) = kaggle(&[(id, task(4))]);
        // The mark of some editors, and what macOS adds.
        for (name, text) in [
            (format!("arc-agi_{set}_challenges.json"), format!("\u{feff}{challenges}")),
            (format!("arc-agi_{set}_solutions.json"), solutions.to_string()),
            (format!("__MACOSX/._arc-agi_{set}_challenges.json"), "\0".into()),
        ] {
            zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
    }
    zip.finish().unwrap();
    let from = zip_path.to_str().unwrap();
    let raw = fetch::fetch(Source::Arc1, Some(from), dir.path(), Progress::Quiet).unwrap();
    for (set, id) in [("training", "a"), ("evaluation", "b")] {
        let read = Task::read(&raw.join(set).join(format!("{id}.json"))).unwrap();
        assert_eq!(read, Task::parse(id, task(4).to_string().as_bytes()).unwrap());
    }
}

/// No pair of it is one of another width's, turned or recoloured.
fn task_of_width(width: usize) -> Value {
    let pair = |height| json!({ "input": vec![vec![1; width]; height], "output": [[1]] });
    json!({ "train": [pair(1), pair(2)], "test": [pair(3)] })
}

/// What Kaggle hands out, unpacked on a Mac: the test set asks a task of each other set anew.
fn unpacked(dir: &Path) {
    let set = |name: &str, tasks: &[(&str, Value)], is_answered: bool| {
        let (challenges, solutions) = kaggle(tasks);
        let path = |what: &str| dir.join(format!("arc-agi_{name}_{what}.json"));
        fs::write(path("challenges"), challenges.to_string()).unwrap();
        if is_answered {
            fs::write(path("solutions"), solutions.to_string()).unwrap();
        }
    };
    fs::create_dir_all(dir.join("__MACOSX")).unwrap();
    set("training", &[("a", task_of_width(4))], true);
    set("evaluation", &[("b", task_of_width(5))], true);
    let again = [("a", task_of_width(4)), ("b", task_of_width(5)), ("c", task_of_width(6))];
    set("test", &again, false);
    fs::write(dir.join("sample_submission.json"), r#"{"a":[{"attempt_1":[[0]]}]}"#).unwrap();
    fs::write(dir.join("__MACOSX/._arc-agi_training_challenges.json"), "\0").unwrap();
}

#[test]
fn a_copy_without_answers_neither_replaces_nor_doubles_a_task() {
    let dir = tempfile::tempdir().unwrap();
    let files = dir.path().join("kaggle/training");
    unpacked(&files);
    let zip_path = dir.path().join("kaggle.zip");
    let mut zip = zip::ZipWriter::new(fs::File::create(&zip_path).unwrap());
    for entry in fs::read_dir(&files).unwrap().map(Result::unwrap) {
        if entry.path().is_file() {
            let name = entry.file_name().into_string().unwrap();
            zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(&fs::read(entry.path()).unwrap()).unwrap();
        }
    }
    zip.finish().unwrap();
    for from in [dir.path().join("kaggle"), zip_path] {
        let raw = dir.path().join("fetched");
        let from = from.to_str().unwrap();
        let raw = fetch::fetch(Source::Arc1, Some(from), &raw, Progress::Quiet).unwrap();
        let read = |name: &str| Task::read(&raw.join(name)).unwrap();
        let whole =
            |id: &str, width| Task::parse(id, task_of_width(width).to_string().as_bytes()).unwrap();
        assert_eq!(read("training/a.json"), whole("a", 4), "{from}");
        assert_eq!(read("evaluation/b.json"), whole("b", 5), "{from}");
        assert_eq!(read("evaluation/c.json").test[0].output, None, "{from}");
        for (set, count) in [("training", 1), ("evaluation", 2)] {
            assert_eq!(fs::read_dir(raw.join(set)).unwrap().count(), count, "{from}: {set}");
        }
    }
}

#[test]
fn an_unpacked_zip_of_kaggle_is_built_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    unpacked(&dir.path().join("raw"));
    let options = ArcOptions { num_aug: 0, ..ArcOptions::default() };
    let (raw, out) = (dir.path().join("raw"), dir.path().join("out"));
    let (_, report) = arc::build(&[raw], &out, &options, Progress::Quiet).unwrap();
    assert_eq!(report.unreadable, Vec::<String>::new());
    assert_eq!((report.tasks, report.duplicate_ids, report.other_files), (3, 2, 1));
    // c is asked without an answer; a is trained on and b tested, each with its own.
    assert_eq!(report.hidden_pairs, 1);
    let data = DataSet::open(&out).unwrap();
    assert_eq!(data.split("train").unwrap().examples(), 3 + 2 + 2);
    let test = data.split("test").unwrap();
    assert_eq!((test.examples(), test.hidden_examples().unwrap()), (2, 1));
}

#[test]
fn a_set_under_another_name_is_told_from_a_task() {
    let (challenges, _) = kaggle(&[("a", task(4)), ("b", task(5))]);
    let error = Task::parse("x", challenges.to_string().as_bytes()).unwrap_err();
    assert!(error.contains("2 tasks by their ids such as a (Kaggle)"), "{error}");
}
