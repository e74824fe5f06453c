//! Tasks solved over HTTP: the answers of `hrm predict`, limits, and every way to end one early.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{PATIENCE, Server, hrm, read_reply};
use super::schema::faults;
use super::{init, path};

/// A task that the model was trained on.
pub fn task(server: &Server) -> Value {
    let (_, mut task) = server.json("GET", "/v1/tasks/task1", "");
    for name in ["name", "puzzle_id", "trained_on_test"] {
        task.as_object_mut().unwrap().shift_remove(name);
    }
    task
}

/// The same with so many test inputs that it is not over before it was cancelled.
fn long(server: &Server) -> Value {
    let mut task = task(server);
    task["test"] = json!(vec![json!({ "input": [[1]] }); 20_000]);
    task
}

fn post(server: &Server, task: &Value) -> (u16, Value) {
    server.json("POST", "/v1/solve", &task.to_string())
}

pub fn begin(server: &Server) -> Value {
    let (status, state) = post(server, &task(server));
    assert_eq!(status, 202, "{state}");
    state
}

fn place(state: &Value) -> String {
    format!("/v1/solve/{}", state["id"].as_str().unwrap())
}

fn until(server: &Server, place: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let (status, state) = server.json("GET", place, "");
        assert_eq!(status, 200, "{state}");
        if holds(&state) {
            return state;
        }
        assert!(start.elapsed() < PATIENCE, "{state}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn running(state: &Value) -> bool {
    state["state"] == "running" && state["progress"]["done"].as_u64().is_some_and(|done| done > 0)
}

fn until_metric(server: &Server, name: &str, value: f64) {
    let start = Instant::now();
    while server.metric(name) != value {
        assert!(start.elapsed() < PATIENCE, "{name} is not {value}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

const CANCELLED: &str = "hrm_solves_total{result=\"cancelled\"}";

#[test]
fn answers_are_those_of_hrm_predict() {
    let server = Server::start(&[]);
    let task = task(&server);
    let state = begin(&server);
    assert_eq!(state["task"], "task");
    let ended = until(&server, &place(&state), |state| state["state"] == "done");
    let (_, document) = server.json("GET", "/openapi.json", "");
    let schema = json!({ "$ref": "#/components/schemas/Solving" });
    assert_eq!(faults(&document, &schema, &ended, "solving"), [""; 0]);
    let file = server.dir.path().join("task.json");
    std::fs::write(&file, task.to_string()).unwrap();
    let args = ["predict", "run", "task.json", "--json", "--threads=1", "--device=cpu"];
    let output = hrm(server.dir.path()).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let want: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (got, want) = (&ended["outcome"]["tests"], &want["tests"]);
    assert_eq!(got.as_array().unwrap().len(), task["test"].as_array().unwrap().len());
    assert_eq!(got, want);
    assert!(!ended["trust"].as_array().unwrap().is_empty());
    // The same, waited for.
    let mut waited = task.clone();
    waited["wait_s"] = json!(20);
    let (status, now) = post(&server, &waited);
    assert_eq!((status, &now["outcome"]["tests"]), (200, got));
    assert_eq!(server.metric("hrm_solves_total{result=\"done\"}"), 2.0);
    assert_eq!(server.metric("hrm_solve_duration_seconds_count"), 2.0);
    // Results stay until they are dropped.
    assert_eq!(server.json("DELETE", &place(&state), "").1["state"], "done");
    assert_eq!(server.json("GET", &place(&state), "").0, 404);
}

#[test]
fn tasks_that_cannot_be_asked_are_refused_at_once() {
    let server = Server::start(&["--solve-budget=5"]);
    let with = |name: &str, value: Value| {
        let mut task = task(&server);
        task[name] = value;
        task
    };
    let pair = json!([{ "input": [[1]], "output": [[1]] }]);
    for (body, word) in [
        (json!({ "train": pair }), "test"),
        (json!({ "train": pair, "test": [] }), "no test input"),
        (json!({ "train": [], "test": pair }), "no train pairs"),
        (json!({ "train": [{ "input": [[1]] }], "test": pair }), "train pair 0: has no output"),
        (with("test", json!([{ "input": [[0, 0, 0, 0, 0, 0]] }])), "canvas"),
        (with("test", json!([{ "input": [[1, 2], [3]] }])), "ragged"),
        (with("budget_s", json!(6)), "budget_s"),
        (with("budget_s", json!(-1)), "budget_s"),
        (with("wait_s", json!(1e300)), "wait_s"),
        (with("wait", json!(1)), "unknown field `wait`"),
    ] {
        let (status, problem) = post(&server, &body);
        assert_eq!(status, 422, "{body}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(word), "{body}: {problem}");
    }
    for method in ["GET", "DELETE"] {
        let (status, problem) = server.json(method, "/v1/solve/0", "");
        assert!(status == 404 && problem.to_string().contains("POST /v1/solve"), "{problem}");
    }
    let off = Server::start(&["--max-solves=0"]);
    let (status, problem) = post(&off, &task(&off));
    assert!(status == 501 && problem.to_string().contains("--max-solves"), "{problem}");
}

#[test]
fn one_is_solved_at_a_time_while_refinements_go_on_and_each_can_be_cancelled() {
    let server = Server::start(&["--max-solves=2", "--max-sessions=4"]);
    let long = long(&server);
    let (first, second) = (post(&server, &long).1, post(&server, &long).1);
    until(&server, &place(&first), running);
    let waiting = server.json("GET", &place(&second), "").1;
    assert_eq!((&waiting["state"], &waiting["ahead"]), (&json!("waiting"), &json!(1)));
    let reply = server.ask("POST", "/v1/solve", "application/json", &long.to_string());
    assert_eq!(reply.status, 429, "{}", reply.body);
    assert!(reply.head.contains("retry-after: 60") && reply.body.contains("--max-solves"));
    let session = init(&server);
    assert_eq!(server.json("POST", &format!("{}/step", path(&session)), "").0, 200);
    server.json("DELETE", &path(&session), "");
    assert_eq!(server.json("GET", &place(&first), "").1["state"], "running");
    assert_eq!(server.json("DELETE", &place(&first), "").0, 200);
    assert_eq!(server.json("GET", &place(&first), "").0, 404);
    until(&server, &place(&second), running);
    assert_eq!(server.metric(CANCELLED), 1.0);
    assert_eq!(server.json("DELETE", &place(&second), "").0, 200);
    until_metric(&server, CANCELLED, 2.0);
    let state = begin(&server);
    until(&server, &place(&state), |state| state["state"] == "done");
}

#[test]
fn a_budget_ends_it_with_the_votes_there_are() {
    let server = Server::start(&[]);
    let mut long = long(&server);
    long["budget_s"] = json!(0.5);
    let state = post(&server, &long).1;
    let ended = until(&server, &place(&state), |state| state["state"] == "done");
    let tests = ended["outcome"]["tests"].as_array().unwrap();
    let votes: u64 = tests.iter().map(|test| test["votes_cast"].as_u64().unwrap()).sum();
    assert!(votes > 0 && votes < 40_000, "{votes} votes");
    assert!(ended["outcome"]["own_pairs"].is_null());
}

#[test]
fn a_client_that_waits_and_goes_away_wants_it_no_more() {
    let server = Server::start(&["--max-solves=1"]);
    let mut long = long(&server);
    long["wait_s"] = json!(20);
    let body = long.to_string();
    let mut client = server.connect();
    let head = format!(
        "POST /v1/solve HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    client.write_all((head + &body).as_bytes()).unwrap();
    until_metric(&server, "hrm_solves", 1.0);
    assert_eq!(post(&server, &long).0, 429);
    drop(client);
    until_metric(&server, CANCELLED, 1.0);
    let state = begin(&server);
    until(&server, &place(&state), |state| state["state"] == "done");
}

/// Like `task`, but of other grids.
fn unseen() -> Value {
    json!({
        "id": "new",
        "train": [
            { "input": [[3, 4], [4, 3]], "output": [[4, 3], [3, 4]] },
            { "input": [[4, 4, 3]], "output": [[3, 3, 4]] },
        ],
        "test": [{ "input": [[3], [4]] }],
    })
}

#[test]
fn a_task_never_seen_is_fine_tuned_while_refinements_go_on() {
    let server = Server::start(&["--max-solves=1"]);
    let mut task = unseen();
    let state = post(&server, &task).1;
    until(&server, &place(&state), |state| state["progress"]["phase"] == "fine-tuning");
    let session = init(&server);
    assert_eq!(server.json("POST", &format!("{}/step", path(&session)), "").0, 200);
    // Cancelled in the middle of a step.
    assert_eq!(server.json("DELETE", &place(&state), "").0, 200);
    until_metric(&server, CANCELLED, 1.0);
    task["budget_s"] = json!(2);
    task["wait_s"] = json!(20);
    let (status, state) = post(&server, &task);
    assert_eq!((status, &state["state"]), (200, &json!("done")), "{state}");
    let outcome = &state["outcome"];
    assert_eq!((&outcome["origin"]["kind"], &outcome["task"]), (&json!("unseen"), &json!("new")));
    assert!(outcome["tests"][0]["votes_cast"].as_u64().unwrap() > 0, "{outcome}");
}

#[test]
#[cfg(target_os = "linux")]
fn fine_tuning_gives_its_memory_back() {
    let server = Server::start(&["--session-idle=0.2"]);
    let mut task = unseen();
    task["budget_s"] = json!(0.5);
    task["wait_s"] = json!(20);
    let solve = |times: usize| {
        for _ in 0..times {
            assert_eq!(post(&server, &task).0, 200);
        }
        server.takes("VmRSS:")
    };
    let (before, after) = (solve(4), solve(8));
    assert!(after <= before + 16384, "kB: {before}, then {after}");
}

#[test]
#[cfg(target_os = "linux")]
fn solving_many_takes_no_more_memory() {
    let server = Server::start(&["--session-idle=0.2"]);
    let mut task = task(&server);
    task["wait_s"] = json!(20);
    let solve = |times: usize| {
        for _ in 0..times {
            assert_eq!(post(&server, &task).0, 200);
        }
        ["VmRSS:", "Threads:"].map(|name| server.takes(name))
    };
    let before = solve(5);
    let after = solve(20);
    assert!(after[0] <= before[0] + 8192, "kB: {before:?}, then {after:?}");
    assert_eq!(after[1], before[1]);
    let resident = server.metric("process_resident_memory_bytes");
    assert!((resident / 1024.0 - server.takes("VmRSS:") as f64).abs() < 16384.0, "{resident}");
}

#[test]
#[cfg(unix)]
fn a_signal_ends_solving_and_whoever_waits_gets_what_there_is() {
    let mut server = Server::start(&["--grace=600"]);
    let mut long = long(&server);
    let unwatched = post(&server, &long).1;
    until(&server, &place(&unwatched), running);
    server.terminate();
    // Nobody is connected: the hours that it would take are not waited for.
    assert_eq!(server.ended().code(), Some(0));

    let mut server = Server::start(&["--grace=20"]);
    long["wait_s"] = json!(20);
    let body = long.to_string();
    let mut client = server.connect();
    let head = format!(
        "POST /v1/solve HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    client.write_all((head + &body).as_bytes()).unwrap();
    until_metric(&server, "hrm_solves", 1.0);
    // Taken in; a moment later it has begun.
    std::thread::sleep(Duration::from_millis(500));
    server.terminate();
    let reply = read_reply(&mut client);
    let state: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!((reply.status, &state["state"]), (200, &json!("done")), "{state}");
    assert_eq!(server.ended().code(), Some(0));
}
