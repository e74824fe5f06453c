//! Tasks that the model never saw.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use hrm::backend::Device;
use hrm::data::augment::PuzzleName;
use hrm::data::{DataSet, Task};
use hrm::models::Model;
use hrm::run::checkpoint::Reader;
use hrm::run::trained::Trained;
use hrm::solve::fit::Tuner;
use hrm::solve::known::Puzzle;
use hrm::solve::{FineTune, GoOn, Options, Origin, Progress, Solver, Stop};
use serde_json::{Value, json};

use super::fixture::{Lab, colours, hrm, json_of, refusal, solid, succeed, unseen, write};

const TABLE: &str = "model.inner.puzzle_emb.weights";

fn solver(lab: &Lab) -> Solver {
    let trained = Trained::open(&lab.path("run/checkpoints/hrm_arc_final.safetensors")).unwrap();
    let data = DataSet::open(&lab.path("data/d")).unwrap();
    Solver::new(trained, Some(data), &Device::cpu()).unwrap()
}

fn task() -> Task {
    Task::parse("u", unseen().to_string().as_bytes()).unwrap()
}

fn bytes(model: &dyn Model) -> Vec<(String, Vec<u8>)> {
    let tensors = model.tensors().unwrap().into_iter();
    tensors.map(|(name, tensor)| (name, tensor.read_bytes().unwrap().to_vec())).collect()
}

#[test]
fn only_the_new_embeddings_change_unless_all_may() {
    let lab = Lab::hrm();
    let (solver, task) = (solver(&lab), task());
    let name = |name: &str| PuzzleName::parse(name);
    let puzzles =
        [Puzzle { id: 1, name: name("u") }, Puzzle { id: 2, name: name("u_t1_0213456789") }];
    for fine_tune in [FineTune::Embedding, FineTune::All] {
        let mut tuner = Tuner::new(solver.start(), 2, &task.train, fine_tune, 0).unwrap();
        let before = bytes(tuner.model());
        let fitted = tuner.run("u", &task.train, &puzzles, 5, |_| Ok(GoOn::Yes)).unwrap();
        assert_eq!(fitted.steps, 5);
        let (mut dense_changed, mut tables) = (0, 0);
        for ((name, old), (_, new)) in before.iter().zip(bytes(tuner.model())) {
            if name != TABLE {
                dense_changed += (*old != new) as usize;
                continue;
            }
            tables += 1;
            let rows = |bytes: &[u8]| -> Vec<Vec<u8>> {
                bytes.chunks_exact(bytes.len() / 3).map(<[u8]>::to_vec).collect()
            };
            let (old, new) = (rows(old), rows(&new));
            assert_eq!(old[0], new[0], "the blank one");
            assert!(old[1] != new[1] && old[2] != new[2] && new[1] != new[2]);
        }
        assert_eq!(tables, 1, "the table of embeddings was looked at");
        match fine_tune {
            FineTune::All => assert!(dense_changed > 5, "{dense_changed}"),
            _ => assert_eq!(dense_changed, 0),
        }
        tuner.reset().unwrap();
        assert_eq!(bytes(tuner.model()), before);
    }
}

/// The dense weights are those that evaluation uses: averaged, where the run averaged.
#[test]
fn fine_tuning_starts_from_the_averaged_weights() {
    let lab = Lab::hrm();
    let solver = solver(&lab);
    let reader = Reader::open(&lab.path("run/checkpoints/hrm_arc_final.safetensors")).unwrap();
    let tuner = Tuner::new(solver.start(), 1, &task().train, FineTune::Embedding, 0).unwrap();
    let mut averaged = 0;
    for (name, bytes) in bytes(tuner.model()).into_iter().filter(|(name, _)| name != TABLE) {
        let short = name.strip_prefix("model.inner.").unwrap();
        let stored = match reader.shape(&format!("ema.{short}")) {
            Some(_) => reader.tensor_bytes(&format!("ema.{short}")),
            None => reader.tensor_bytes(&name),
        };
        averaged += (reader.tensor_bytes(&name).unwrap() != bytes) as usize;
        assert_eq!(bytes, stored.unwrap(), "{name}");
    }
    assert!(averaged > 5, "{averaged}");
}

#[test]
fn a_new_colour_is_learnt_and_held_out_pairs_confirm_it() {
    let lab = colours();
    let dir = lab.dir();
    write(&lab.path("new.json"), &solid(5));
    let args = ["predict", "run", "new.json", "--budget", "10m", "--json"];
    let json = json_of(dir, &args);
    assert_eq!(json["origin"]["fitted"]["ended"], "reproduced", "{json}");
    assert_eq!(json["own_pairs"], json!({ "right": 3, "of": 3 }));
    assert_eq!(json["held_out"]["answered"], json!({ "right": 3, "of": 3 }));
    assert_eq!(json["tests"][0]["attempts"][0]["right"], true);
    assert_eq!(json["tests"][0]["identity_right"], false);

    // Without learning it cannot know the colour.
    let json = json_of(dir, &[&args[..], &["--fine-tune", "none"]].concat());
    assert_eq!((&json["own_pairs"]["right"], &json["held_out"]), (&json!(0), &Value::Null));
    assert!(json["trust"].to_string().contains("do not trust this answer"), "{json}");
}

/// With nothing learnt, the embedding that it starts from is all that the model knows of it.
#[test]
fn it_starts_from_the_trained_task_that_explains_its_pairs_best() {
    let lab = colours();
    let dir = lab.dir();
    let mut task = solid(3);
    for (pair, input) in task["train"].as_array_mut().unwrap().iter_mut().zip([7, 4, 9]) {
        pair["input"] = json!([[input, 1]]);
    }
    write(&lab.path("new.json"), &task);
    let args = ["predict", "run", "new.json", "--fine-tune", "none", "--budget", "10m"];
    let json = json_of(dir, &[&args[..], &["--json"]].concat());
    assert_eq!(json["origin"]["started_from"], "c3", "{json}");
    assert_eq!(json["own_pairs"], json!({ "right": 3, "of": 3 }));
    assert_eq!(json["tests"][0]["attempts"][0]["right"], true);
    let (text, _) = succeed(dir, &args);
    assert!(text.contains("nearest to c3, whose embedding it starts from"), "{text}");
    // Without the data set nobody knows which embedding is whose.
    let apart = lab.path("alone.safetensors");
    fs::copy(lab.path("run/checkpoints/hrm_arc_final.safetensors"), &apart).unwrap();
    fs::rename(lab.path("data/d"), lab.path("data/away")).unwrap();
    let args = ["predict", "alone.safetensors", "new.json", "--fine-tune", "none", "--json"];
    assert_eq!(json_of(dir, &args)["origin"]["started_from"], Value::Null);
}

#[test]
fn the_result_depends_on_the_seed_but_not_on_the_threads() {
    let lab = Lab::hrm();
    write(&lab.path("u.json"), &unseen());
    let run = |threads: &str, seed: &str| {
        let args = ["predict", "run", "u.json", "--steps", "6", "--budget", "1h", "--json"];
        let more = ["--threads", threads, "--seed", seed, "--output", "out"];
        let mut json = json_of(lab.dir(), &[&args[..], &more].concat());
        json["wall_s"] = Value::Null;
        json
    };
    let one = run("1", "0");
    assert_eq!(one, run("2", "0"));
    assert_ne!(one, run("1", "1"));
    assert_eq!(one["origin"]["fitted"], json!({ "steps": 6, "ended": "steps" }));
    assert_eq!(one["held_out"]["answered"]["of"], 2);
    assert_eq!(one["held_out"]["cut_short"], 0);
}

#[test]
fn the_budget_and_a_signal_end_it_with_an_answer() {
    let lab = Lab::hrm();
    let dir = lab.dir();
    // Two answers to one input: no fit reproduces both and ends before it is told to.
    let mut task = unseen();
    let twice = json!({ "input": task["train"][0]["input"], "output": [[6, 6, 6]] });
    task["train"].as_array_mut().unwrap().push(twice);
    write(&lab.path("u.json"), &task);
    let endless = ["predict", "run", "u.json", "--json", "--steps", "1000000000"];
    let json = json_of(dir, &[&endless[..], &["--budget", "3s"]].concat());
    assert_eq!(json["origin"]["fitted"]["ended"], "time");
    assert!(json["tests"][0]["votes_cast"].as_u64().unwrap() >= 1);

    let mut child = Command::new(env!("CARGO_BIN_EXE_hrm"))
        .current_dir(dir)
        .args(endless)
        .args(["--budget", "1h"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("fine-tuning ")));
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    lines.for_each(drop);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["origin"]["fitted"]["ended"], "stopped");
    assert!(json["tests"][0]["votes_cast"].as_u64().unwrap() >= 1);
}

#[test]
fn an_onlooker_hears_the_stages_and_may_end_them() {
    let lab = Lab::hrm();
    let (mut solver, task) = (solver(&lab), task());
    let options = Options { steps: 3, ..Options::default() };
    let mut heard = vec![];
    let outcome = solver.solve(&task, &options, |at| {
        heard.push(at);
        None
    });
    assert!(matches!(outcome.unwrap().origin, Origin::Unseen { same_name: false, .. }));
    assert_eq!(heard[0], Progress::Starting { asked: 0, of: 3 });
    assert!(heard.contains(&Progress::Fitting { step: 0, of: 3 }));
    assert!(heard.iter().any(|at| matches!(at, Progress::HoldingOut { pair: 1, pairs: 2, .. })));

    let refused = solver.solve(&task, &options, |_| Some(Stop::Abandon)).unwrap_err();
    assert!(matches!(refused, hrm::Error::Interrupted(_)), "{refused}");
}

#[test]
fn trm_is_fine_tuned_too() {
    let trm = ["model.arch=trm", "model.puzzle_emb_ndim=32", "model.halt_max_steps=2"];
    let lab =
        Lab::new("arc-small", &[&trm[..], &["model.h_layers=0", "model.l_layers=1"]].concat());
    write(&lab.path("u.json"), &unseen());
    let json = json_of(lab.dir(), &["predict", "run", "u.json", "--steps", "3", "--json"]);
    assert_eq!(json["origin"]["fine_tune"], "embedding");
    assert_eq!(json["origin"]["fitted"]["steps"], 3);
}

#[test]
fn more_variants_than_there_is_time_for_are_refused_and_the_budget_holds() {
    let lab = Lab::hrm();
    write(&lab.path("u.json"), &unseen());
    for many in ["200000", "18446744073709551615"] {
        let text = refusal(lab.dir(), &["predict", "run", "u.json", "--variants", many]);
        assert!(text.contains("at most 4096 of a task can be asked"), "{text}");
    }
    let most = ["predict", "run", "u.json", "--variants", "4096", "--budget", "2s", "--json"];
    let json = json_of(lab.dir(), &most);
    assert!(json["wall_s"].as_f64().unwrap() < 4.0, "{}", json["wall_s"]);
}

#[test]
fn models_without_puzzle_embeddings_say_what_they_can() {
    let lab = Lab::new("arc-simple", &["model.h_layers=1"]);
    let dir = lab.dir();
    write(&lab.path("u.json"), &unseen());
    let text = refusal(dir, &["predict", "run", "u.json", "--fine-tune", "embedding"]);
    assert!(text.contains("has no puzzle embeddings: --fine-tune all"), "{text}");
    for (fine_tune, word) in [(&[][..], "all"), (&["--fine-tune", "none"], "none")] {
        let args = ["predict", "run", "u.json", "--steps", "2", "--json"];
        let json = json_of(dir, &[&args[..], fine_tune].concat());
        assert_eq!(json["origin"]["fine_tune"], word);
    }
}

/// A grid model answers tasks of its data set, and learns a new task's embedding and weights until
/// the task's own pairs are written.
#[test]
fn a_grid_model_answers_what_it_knows_and_learns_what_it_does_not() {
    let small = ["model.hidden_size=32", "model.num_heads=2", "model.h_layers=2"];
    let lab = Lab::new("grid-small", &[&small[..], &["train.muon_lr=0.02"]].concat());
    let dir = lab.dir();
    let known = json_of(dir, &["predict", "run", "e2", "--json"]);
    assert_eq!(known["origin"]["name"], "e2", "{known}");
    assert_eq!(known["puzzles"], 4);
    write(&lab.path("u.json"), &unseen());
    let refused = refusal(dir, &["predict", "run", "u.json", "--fine-tune", "embedding"]);
    assert!(refused.contains("--fine-tune all"), "{refused}");
    let asked = ["predict", "run", "u.json", "--steps", "400", "--variants", "4", "--json"];
    let unseen = json_of(dir, &[&asked[..], &["--budget", "60s"]].concat());
    assert_eq!(unseen["origin"]["fine_tune"], "all", "{unseen}");
    assert_eq!(unseen["own_pairs"], json!({ "right": 2, "of": 2 }), "{unseen}");
}

#[test]
fn a_name_that_another_task_has_is_said() {
    let lab = Lab::hrm();
    write(&lab.path("t1.json"), &unseen());
    let (text, _) = succeed(lab.dir(), &["predict", "run", "t1.json", "--steps", "1"]);
    assert!(text.contains("not trained on (another one of this name was)"), "{text}");
    assert!(text.contains("of 2 of its own examples"), "{text}");
    // Nor is anything recognised where the data set is gone.
    fs::remove_dir_all(lab.path("data")).unwrap();
    let output = hrm(lab.dir(), &["predict", "run", "t1.json", "--steps", "1"]);
    assert!(output.status.success());
    let notes = String::from_utf8_lossy(&output.stderr);
    assert!(notes.contains("trained tasks cannot be recognised"), "{notes}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("taken as never seen, for want of the data set"), "{text}");
}
