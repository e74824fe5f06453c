//! Tasks that the model was trained on.

use std::collections::BTreeMap;
use std::fs;

use hrm::data::augment::{PuzzleName, Variant};
use hrm::data::task::Query;
use hrm::data::{DataSet, Grid, Task};
use hrm::solve::known::{Found, by_name, find, trained_as};
use serde_json::{Value, json};

use super::fixture::{Lab, hrm, json_of, refusal, succeed, task, unseen, write};

fn parse(id: &str, task: &Value) -> Task {
    Task::parse(id, task.to_string().as_bytes()).unwrap()
}

#[test]
fn tasks_are_recognised_by_their_pairs() {
    let lab = Lab::hrm();
    let data = DataSet::open(&lab.path("data/d")).unwrap();
    let known = |id: &str, number| match find(&data, &parse(id, &task(number))).unwrap() {
        Found::Known(known) => known,
        other => panic!("{other:?}"),
    };
    let t1 = known("t1", 1);
    assert_eq!((t1.task.as_str(), t1.puzzles.len()), ("t1", 4));
    assert_eq!(t1.puzzles[0].name.to_string(), "t1");
    assert_eq!(t1.trained_on, [true], "a training task's test pairs are trained on");
    assert_eq!(known("renamed", 1).puzzles, t1.puzzles);
    assert_eq!(known("e2", 2).trained_on, [false]);

    // A name alone proves nothing; nor do some of the pairs.
    assert_eq!(find(&data, &parse("t1", &unseen())).unwrap(), Found::OtherPairs);
    assert_eq!(find(&data, &parse("x", &unseen())).unwrap(), Found::No);
    let mut fewer = task(2);
    fewer["train"].as_array_mut().unwrap().pop();
    assert_eq!(find(&data, &parse("e2", &fewer)).unwrap(), Found::OtherPairs);

    let e2 = by_name(&data, "e2").unwrap().unwrap();
    assert_eq!(e2, parse("e2", &task(2)));
    assert_eq!(by_name(&data, "e2_t1_0123456789").unwrap(), None);
}

#[test]
fn pairs_that_were_trained_on_in_another_task_are_named() {
    let lab = Lab::hrm();
    let data = DataSet::open(&lab.path("data/d")).unwrap();
    let variant = Variant { transform: 5, colours: [0, 4, 3, 2, 1, 9, 8, 7, 6, 5] };
    let shown = parse("t0", &task(0)).train.remove(1);
    let moved = variant.apply_pair(&shown);
    let mut asked = parse("x", &unseen());
    asked.test.push(Query { input: moved.input.clone(), output: Some(moved.output.clone()) });
    asked.test.push(Query { input: moved.input.clone(), output: None });
    assert_eq!(trained_as(&data, &asked, None).unwrap(), [None, Some("t0".into()), None]);
    // Its own pairs show what the task is.
    assert_eq!(trained_as(&data, &asked, Some("t0")).unwrap(), [None, None, None]);
    let mut file = unseen();
    let pair = json!({ "input": moved.input, "output": moved.output });
    file["test"].as_array_mut().unwrap().push(pair);
    write(&lab.path("x.json"), &file);
    let asked = ["predict", "run", "x.json", "--steps", "1", "--variants", "2"];
    let (text, _) = succeed(lab.dir(), &asked);
    let line = "test 2: the model was trained on this pair in task t0, turned or recoloured";
    assert!(text.contains(line) && !text.contains("test 1: the model was"), "{text}");
    let json = json_of(lab.dir(), &[&asked[..], &["--json"]].concat());
    assert_eq!(json["tests"][1]["trained_as"], "t0");
    assert_eq!(json["tests"][0].get("trained_as"), None);
}

#[test]
fn a_task_of_the_combined_files_of_kaggle_is_predicted() {
    let lab = Lab::hrm();
    let mut hidden = task(1);
    let answer = hidden["test"][0].as_object_mut().unwrap().remove("output").unwrap();
    let set = json!({ "k1": hidden, "k2": task(0) });
    write(&lab.path("arc_evaluation_challenges.json"), &set);
    write(&lab.path("arc_evaluation_solutions.json"), &json!({ "k1": [answer] }));
    let file = "arc_evaluation_challenges.json";
    let json = json_of(lab.dir(), &["predict", "run", &format!("{file}:k1"), "--json"]);
    assert_eq!(json["origin"]["name"], "t1");
    assert_eq!(json["tests"][0]["output"], task(1)["test"][0]["output"]);
    let many = refusal(lab.dir(), &["predict", "run", file]);
    assert!(many.contains("holds 2 tasks: name one, such as"), "{many}");
    let none = refusal(lab.dir(), &["predict", "run", &format!("{file}:k3")]);
    assert!(none.contains("none of its 2 tasks is called k3"), "{none}");
    write(&lab.path("one.json"), &task(1));
    let one = refusal(lab.dir(), &["predict", "run", "one.json:k3"]);
    assert!(one.contains("one.json is one task: leave out :k3"), "{one}");
}

#[test]
fn votes_are_those_of_the_evaluation() {
    let lab = Lab::hrm();
    let dir = lab.dir();
    succeed(dir, &["eval", "run", "--output", "eval"]);
    let answers = fs::read_to_string(lab.path("eval/predictions.jsonl")).unwrap();
    let mut votes: BTreeMap<Vec<Vec<u8>>, u64> = BTreeMap::new();
    let mut cast = 0;
    for line in answers.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let rows: Vec<Vec<u8>> = line["answer"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row.as_str().unwrap().bytes().map(|b| b - b'0').collect())
            .collect();
        let name = PuzzleName::parse(line["puzzle"].as_str().unwrap());
        if name.task == "e2" {
            cast += 1;
            let width = rows.first().map_or(0, Vec::len);
            let grid = Grid::new(rows.len(), width, rows.concat()).unwrap();
            let grid = name.undo(&grid).unwrap();
            if !grid.is_empty() {
                *votes.entry(grid.rows().map(<[u8]>::to_vec).collect()).or_default() += 1;
            }
        }
    }
    assert_eq!(cast, 4, "{answers}");

    write(&lab.path("e2.json"), &task(2));
    let json = json_of(dir, &["predict", "run", "e2.json", "--json", "--output", "out"]);
    let test = &json["tests"][0];
    assert_eq!((&test["votes_cast"], &test["candidates"]), (&json!(4), &json!(votes.len())));
    assert_eq!(test["unreadable"], json!(4 - votes.values().sum::<u64>()));
    let best = votes.values().max().copied();
    assert_eq!(test["attempts"][0]["votes"].as_u64(), best);
    for attempt in test["attempts"].as_array().unwrap() {
        let grid: Vec<Vec<u8>> = serde_json::from_value(attempt["grid"].clone()).unwrap();
        assert_eq!(attempt["votes"].as_u64(), votes.get(&grid).copied(), "{attempt}");
    }
}

#[test]
fn predict_says_what_it_did_and_leaves_files() {
    let lab = Lab::hrm();
    let dir = lab.dir();
    // By id: the file beside the data set, which also knows which pairs are test pairs.
    let (text, notes) = succeed(dir, &["predict", "run", "t1"]);
    assert!(text.contains("task t1: trained on; asked as 4 variants"), "{text}");
    assert!(text.contains("the model was trained on this very pair"), "{text}");
    assert!(text.contains("copy of the input, wrong"), "{text}");
    assert!(text.contains("of 3 of its own examples"), "{text}");
    assert!(text.contains("input") && text.contains("expected"), "{text}");
    assert!(!text.contains('\x1b') && notes.contains("run/predict/t1"), "{text}{notes}");
    let colours = succeed(dir, &["predict", "run", "t1", "--color", "always"]).0;
    assert!(colours.contains("\x1b[48;2;"), "{colours}");

    let read = |path: &str| fs::read(lab.path(path)).unwrap();
    assert!(read("run/predict/t1/prediction.png").starts_with(b"\x89PNG"));
    let json: Value = serde_json::from_slice(&read("run/predict/t1/prediction.json")).unwrap();
    assert_eq!(json["origin"], json!({ "kind": "known", "name": "t1" }));
    assert_eq!(json["tests"][0]["trained_on"], true);
    assert_eq!(json["tests"][0]["output"], task(1)["test"][0]["output"]);
    for attempt in ["attempt_1", "attempt_2"] {
        assert!(json["submission"]["t1"][0][attempt].is_array(), "{json}");
    }

    // Without task files the data set has to do.
    fs::remove_dir_all(lab.path("data/raw")).unwrap();
    assert!(
        refusal(dir, &["predict", "run", "t1"]).contains("all pairs of this task were trained on")
    );
    let json = json_of(dir, &["predict", "run", "e2", "--json"]);
    assert_eq!(json["tests"][0]["trained_on"], false);
}

#[test]
fn bad_tasks_and_options_are_refused() {
    let lab = Lab::hrm();
    let dir = lab.dir();
    let case = |name: &str, task: &str, expected: &str| {
        fs::write(lab.path(name), task).unwrap();
        let text = refusal(dir, &["predict", "run", name]);
        assert!(text.contains(expected) && text.contains(name.trim_end_matches(".json")), "{text}");
    };
    case("garbage.json", "\u{1}nonsense", "not an ARC task");
    case("untold.json", r#"{"train":[],"test":[{"input":[[1]]}]}"#, "has no train pairs");
    case(
        "unasked.json",
        r#"{"train":[{"input":[[1]],"output":[[1]]}],"test":[]}"#,
        "no test input",
    );
    let wide = r#"{"train":[{"input":[[1]],"output":[[1]]}],"test":[{"input":[[1,2,3,4,5]]}]}"#;
    case("wide.json", wide, "canvas of 4 x 4");
    let absent = refusal(dir, &["predict", "run", "nothing"]);
    assert!(absent.contains("neither a file nor the id of a task"), "{absent}");
    assert!(refusal(dir, &["predict", "run", "nothing.json"]).contains("nothing.json"));
    assert!(refusal(dir, &["predict", "data", "t1"]).contains("no checkpoint in this folder"));
    for budget in ["0s", "-1", "NaN", "soon", "2d"] {
        let text = hrm(dir, &["predict", "run", "t1", "--budget", budget]);
        assert_eq!(text.status.code(), Some(2), "{budget}");
    }
}
