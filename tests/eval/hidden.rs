//! Test inputs whose answer nobody says, from the files of a challenge to what is handed in.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::cli::{SMALL, stdout};

/// A grid of few cells that no other number has, turned or recoloured.
fn grid(n: usize) -> Value {
    let (h, w) = (1 + n % 4, 2 + n % 3);
    let cell = |r: usize, c: usize| (r * w + c + n * (r + 2 * c) + n / 3) % 10;
    json!((0..h).map(|r| (0..w).map(|c| cell(r, c)).collect()).collect::<Vec<Vec<_>>>())
}

fn known(n: usize) -> Value {
    json!({ "input": grid(n), "output": grid(n + 1) })
}

fn hidden(n: usize) -> Value {
    json!({ "input": grid(n) })
}

/// Tasks of a set: shown is half of the first, none of the second.
fn mixed() -> Vec<(&'static str, &'static str, Vec<Value>)> {
    vec![
        ("training", "a", vec![known(3), hidden(4)]),
        ("training", "b", vec![known(5)]),
        ("evaluation", "c", vec![hidden(6), hidden(7)]),
        ("evaluation", "d", vec![known(8)]),
    ]
}

fn task(number: usize, test: &[Value]) -> Value {
    json!({ "train": [known(10 + 2 * number), known(20 + 2 * number)], "test": test })
}

fn write(path: &Path, json: &Value) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, json.to_string()).unwrap();
}

/// A file per task.
fn single(dir: &Path, tasks: &[(&str, &str, Vec<Value>)]) {
    for (n, (set, id, test)) in tasks.iter().enumerate() {
        write(&dir.join(format!("{set}/{id}.json")), &task(n, test));
    }
}

/// Challenges and solutions of each set; a task without a known output has no solution.
fn combined(dir: &Path, tasks: &[(&str, &str, Vec<Value>)]) {
    for set in ["training", "evaluation"] {
        let (mut challenges, mut solutions) = (Map::new(), Map::new());
        for (n, (_, id, test)) in tasks.iter().enumerate().filter(|(_, task)| task.0 == set) {
            let asked: Vec<Value> =
                test.iter().map(|pair| json!({ "input": pair["input"] })).collect();
            challenges.insert(id.to_string(), task(n, &asked));
            if test.iter().any(|pair| !pair["output"].is_null()) {
                let outputs: Vec<&Value> = test.iter().map(|pair| &pair["output"]).collect();
                solutions.insert(id.to_string(), json!(outputs));
            }
        }
        let path = |what: &str| dir.join(format!("arc-agi_{set}_{what}.json"));
        write(&path("challenges"), &Value::Object(challenges));
        write(&path("solutions"), &Value::Object(solutions));
    }
}

fn build(dir: &Path, raw: &str, to: &str, more: &[&str]) {
    let args = ["data", "build", "--dataset-dirs", raw, "--output-dir", to];
    stdout(dir, &[&args[..], &["--num-aug", "3", "--canvas", "5"], more].concat());
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// (attempts per test input, by task).
fn shape_of(submission: &Value) -> Vec<(String, usize)> {
    let tasks = submission.as_object().unwrap().iter();
    let inputs = |task: &Value| {
        let is_grid = |grid: &Value| grid[0][0].is_u64();
        let inputs = task.as_array().unwrap();
        let whole = |input: &&Value| is_grid(&input["attempt_1"]) && is_grid(&input["attempt_2"]);
        inputs.iter().filter(whole).count()
    };
    tasks.map(|(id, task)| (id.clone(), inputs(task))).collect()
}

#[test]
fn challenges_and_solutions_are_the_same_data_as_a_file_per_task() {
    let lab = tempfile::tempdir().unwrap();
    let dir = lab.path();
    single(&dir.join("single"), &mixed());
    combined(&dir.join("combined"), &mixed());
    for holdout in ["official", "test-pairs"] {
        build(dir, "single", "a", &["--holdout", holdout]);
        build(dir, "combined", "b", &["--holdout", holdout]);
        for name in ["dataset.json", "identifiers.json", "train.shard", "test.shard"] {
            let bytes = |of: &str| fs::read(dir.join(of).join(name)).unwrap();
            assert_eq!(bytes("a"), bytes("b"), "{holdout}: {name}");
        }
        assert!(stdout(dir, &["data", "verify", "a"]).contains("intact"));
        let stats: Value =
            serde_json::from_str(&stdout(dir, &["data", "stats", "a", "--json"])).unwrap();
        // Each task and its 3 variants. The known half of a is held out with the other.
        let (test, train) = if holdout == "official" { (5, 9) } else { (6, 8) };
        assert_eq!(stats["splits"][0]["examples"], 4 * test, "{holdout}");
        assert_eq!(stats["splits"][0]["hidden_examples"], 4 * 3, "{holdout}");
        assert_eq!(stats["splits"][1]["examples"], 4 * train, "{holdout}");
        assert!(stats["splits"][1].get("hidden_examples").is_none());
        assert_eq!(stats["train_in_test"], 0);
    }
    let table = stdout(dir, &["data", "stats", "a"]);
    assert!(table.contains("test has 12 examples without a known answer"), "{table}");
    stdout(dir, &["data", "show", "a", "--split", "test"]);
    // As the Python projects have them: nothing is asked of a hidden one.
    stdout(dir, &["data", "export", "a", "--output-dir", "python", "--for", "trm"]);
    stdout(dir, &["data", "import", "python", "--output-dir", "back"]);
    let stats: Value =
        serde_json::from_str(&stdout(dir, &["data", "stats", "back", "--json"])).unwrap();
    assert_eq!(stats["splits"][0]["hidden_examples"], 12);
    assert_eq!(
        read(&dir.join("python/test_puzzles.json"))["c"]["test"],
        json!([hidden(6), hidden(7)])
    );
}

/// Trains a small model and looks at all that an evaluation leaves.
fn answered(preset: &str, settings: &[&str]) {
    let lab = tempfile::tempdir().unwrap();
    let dir = lab.path();
    combined(&dir.join("raw"), &mixed());
    build(dir, "raw", "data", &[]);
    let train = ["train", preset, "--quick", "--data", "data", "--run-dir", "run"];
    let log = stdout(dir, &[&train[..], settings].concat());
    let note = "note: the answers to 3 of 5 test inputs are not known";
    assert!(log.contains(note) && log.contains("lowest validation loss"), "{log}");
    let metrics = fs::read_to_string(dir.join("run/metrics.jsonl")).unwrap();
    assert!(metrics.contains("\"val_samples\":8,"), "{metrics}");

    for more in [&[][..], &["--count-empty"]] {
        let args = [&["eval", "run", "--json"][..], more].concat();
        let report: Value = serde_json::from_str(&stdout(dir, &args)).unwrap();
        assert_eq!(
            (&report["questions"]["count"], &report["questions"]["hidden"]),
            (&json!(5), &json!(3))
        );
        for column in [&report["model"], &report["identity_baseline"]] {
            assert_eq!(
                (&column["exact"]["of"], &column["exact_published"]["of"]),
                (&json!(8), &json!(2))
            );
            for pass in column["pass_at"].as_array().unwrap() {
                // Of a only the known half counts, and a as a whole is no task to be solved.
                assert_eq!((&pass["passed"]["of"], &pass["solved"]["of"]), (&json!(2), &json!(1)));
            }
        }
    }
    let submission = read(&dir.join("run/eval/submission.json"));
    let whole = [("a", 2), ("c", 2), ("d", 1)].map(|(id, n)| (id.to_owned(), n));
    assert_eq!(shape_of(&submission), whole);
    let lines = fs::read_to_string(dir.join("run/eval/predictions.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 20);
    assert_eq!(lines.iter().filter(|line| line["exact"].is_null()).count(), 12);
    let page = fs::read_to_string(dir.join("run/eval/report.html")).unwrap();
    assert_eq!(page.matches("<article data-state=\"hidden\"").count(), 3);

    // Fewer are asked: what is missing is filled, also where answers come from a file.
    stdout(dir, &["eval", "run", "--limit", "1", "--output", "few"]);
    let few = read(&dir.join("few/submission.json"));
    assert_eq!(shape_of(&few), whole);
    assert_eq!(few["d"], json!([{ "attempt_1": [[0]], "attempt_2": [[0]] }]));
    let file = "run/eval/submission.json";
    let scored = stdout(dir, &["eval", "--predictions", file, "--data", "data", "--json"]);
    let scored: Value = serde_json::from_str(&scored).unwrap();
    assert_eq!(scored["model"]["pass_at"][1]["passed"]["of"], 2);
    assert_eq!(scored["questions"]["hidden"], 3);
    assert_eq!(read(&dir.join("scores/submission.json")), submission);

    let predicted =
        stdout(dir, &["predict", "run", "c", "--budget", "20s", "--steps", "1", "--json"]);
    let predicted: Value = serde_json::from_str(&predicted).unwrap();
    assert!(predicted.to_string().contains("\"right\":null"), "{predicted}");
    let plan = stdout(dir, &[&["plan", preset, "--data", "data"][..], settings].concat());
    assert!(plan.contains("at least"), "{plan}");
}

#[test]
fn a_canvas_model_answers_hidden_inputs_without_a_score() {
    answered("arc-small", &[&SMALL[..], &["train.eval_every=1"]].concat());
}

#[test]
fn a_grid_model_answers_hidden_inputs_without_a_score() {
    let small = ["model.hidden_size=32", "model.num_heads=2", "model.h_layers=1"];
    answered("grid-small", &[&small[..], &["train.max_steps=2", "train.eval_every=1"]].concat());
}

/// Nothing to choose a checkpoint by, and nothing to score.
#[test]
fn a_test_split_without_any_known_answer_is_answered_by_the_last_checkpoint() {
    let lab = tempfile::tempdir().unwrap();
    let dir = lab.path();
    let tasks =
        [("training", "b", vec![known(5)]), ("evaluation", "c", vec![hidden(6), hidden(7)])];
    combined(&dir.join("raw"), &tasks);
    build(dir, "raw", "data", &[]);
    let train = ["train", "arc-small", "--data", "data", "--run-dir", "run", "train.eval_every=1"];
    let log = stdout(dir, &[&train[..], &SMALL].concat());
    assert!(log.contains("no answer of the test split is known: no validation"), "{log}");
    assert!(!dir.join("run/checkpoints/hrm_arc_best.safetensors").exists());
    let table = stdout(dir, &["eval", "run"]);
    let words = |name: &str| -> Vec<String> {
        let line = table.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().map(String::from).collect()
    };
    assert_eq!(words("cell accuracy"), ["-", "-"]);
    assert_eq!(words("pass@2, voted"), ["0/0", "0/0"]);
    assert!(!table.contains("NaN"), "{table}");
    assert!(table.contains("2 of 2 test inputs are not known"), "{table}");
    let submission = read(&dir.join("run/eval/submission.json"));
    assert_eq!(shape_of(&submission), [("c".to_owned(), 2)]);
}
