//! `hrm serve` from the outside: the real binary on 127.0.0.1 with a tiny model.

mod client;
#[cfg(unix)]
mod end;
#[allow(dead_code)] // Evaluation uses more of it.
#[path = "../eval/fixture.rs"]
mod fixture;
mod load;
mod page;
mod protocol;
mod schema;
mod solve;

use std::time::{Duration, Instant};

use hrm::backend::Device;
use hrm::data::Grid;
use hrm::data::canvas::{Placement, crop, encode};
use hrm::models::{Carry, DeviceBatch, Model, Workspace};
use hrm::run::trained::Trained;
use serde_json::{Value, json};

use client::{PATIENCE, Server};
use fixture::CANVAS;

const INPUT: [[i64; 3]; 2] = [[1, 2, 0], [0, 2, 1]];
/// Puzzle ids count from 1, two variants each.
const TASK1: i32 = 3;

fn init(server: &Server) -> Value {
    let body = json!({ "input": INPUT, "puzzle": "task1" }).to_string();
    let (status, state) = server.json("POST", "/v1/refine", &body);
    assert_eq!(status, 201, "{state}");
    state
}

fn path(state: &Value) -> String {
    format!("/v1/refine/{}", state["id"].as_str().unwrap())
}

/// The model that the server loads, for batches of 1.
fn model(server: &Server) -> Box<dyn Model> {
    let trained = <Trained>::open(&server.dir.path().join("run")).unwrap();
    let mut shape = trained.shape().unwrap();
    shape.sizes.batch_size = 1;
    trained.load_as(&shape, &Device::cpu()).unwrap()
}

#[test]
fn steps_are_segments_of_the_model_bit_for_bit() {
    for precision in ["train.precision=bf16", "train.precision=f32"] {
        compare_with_the_model(&Server::start_with(&[], &[precision], |_| ()));
    }
}

fn compare_with_the_model(server: &Server) {
    let model = model(server);
    let dims = model.dims();
    let (carry, space) = (Carry::new(&*model).unwrap(), Workspace::new(&*model, 1).unwrap());
    let batch = DeviceBatch::new(model.device(), 1, dims.seq_len).unwrap();
    let grid = Grid::from_arc_rows(&INPUT.map(|row| row.to_vec())).unwrap();
    let tokens = encode(&grid, Placement::default(), CANVAS).unwrap();
    batch.upload(&tokens, &tokens, &[TASK1]).unwrap();

    let state = init(server);
    assert_eq!((&state["puzzle_id"], &state["step"]), (&json!(TASK1), &json!(0)));
    // Another refinement in between changes nothing.
    let other = init(server);
    let mut states = vec![];
    for step in 1..=dims.segments {
        let (status, got) = server.json("POST", &format!("{}/step", path(&state)), "");
        assert_eq!(status, 200, "{got}");
        server.json("POST", &format!("{}/step", path(&other)), "");
        let want = model.eval_segment(&carry, &batch, &space).unwrap();
        let (logits, q) = (want.logits.to_f32s().unwrap(), want.q.to_f32s().unwrap());
        let same = |name: &str, x: f32| {
            assert_eq!((got[name].as_f64().unwrap() as f32).to_bits(), x.to_bits(), "{name} {step}")
        };
        same("q_halt", q[0]);
        same("q_continue", q[1]);
        let energy = 1.0 - 1.0 / (1.0 + (-q[0] as f64).exp());
        let error = (got["energy"].as_f64().unwrap() - energy).abs();
        assert!(error <= 1e-6, "energy {error}");
        assert_eq!(got["halt"], model.would_halt([q[0], q[1]]));
        let v = dims.vocab_size;
        let cells: Vec<&[f32]> = logits[dims.prefix * v..].chunks_exact(v).collect();
        let best = |cell: &&[f32]| {
            let max = cell.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            cell.iter().position(|x| *x == max).unwrap() as i32
        };
        let answer = crop(&cells.iter().map(best).collect::<Vec<_>>(), CANVAS);
        assert_eq!(got["grid"], json!(answer.rows().collect::<Vec<_>>()));
        for (r, row) in got["confidence"].as_array().unwrap().iter().enumerate() {
            for (c, p) in row.as_array().unwrap().iter().enumerate() {
                let cell = cells[r * CANVAS + c];
                let max = cell.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
                let want = 1.0 / cell.iter().map(|x| (*x as f64 - max).exp()).sum::<f64>();
                let error = (p.as_f64().unwrap() - want).abs();
                assert!(error <= 1e-5, "confidence {r} {c}: {error}");
            }
        }
        assert_eq!((&got["step"], &got["done"]), (&json!(step), &json!(step == dims.segments)));
        let (_, energy) = server.json("GET", &format!("{}/energy", path(&state)), "");
        assert_eq!(energy, json!({ "step": step, "energy": got["energy"] }));
        assert_eq!(server.json("GET", &path(&state), ""), (200, got.clone()));
        states.push(got);
    }
    let (status, problem) = server.json("POST", &format!("{}/step", path(&state)), "");
    assert_eq!(status, 409, "{problem}");
    assert_eq!(server.json("DELETE", &path(&state), ""), (200, states.pop().unwrap()));
    assert_eq!(server.json("GET", &path(&state), "").0, 404);
    assert_eq!(server.metric("hrm_segments_total"), 2.0 * dims.segments as f64);
    assert_eq!(server.metric("hrm_sessions"), 1.0);
}

#[test]
fn refusals_are_problems_that_say_what_to_do() {
    let server = Server::start(&["--max-body=2000", "--max-sessions=1"]);
    let wide = json!({ "input": [vec![0; CANVAS + 1]] }).to_string();
    let long = " ".repeat(2001);
    let json = "application/json";
    let refine = "/v1/refine";
    for (method, path, kind, body, status, word) in [
        ("POST", refine, json, "{", 400, "line 1"),
        ("POST", refine, json, "", 400, "Init"),
        ("POST", refine, json, "{\"input\": [[\"a\"]]}", 422, "expected i64"),
        ("POST", refine, json, "{\"input\": [[1]], \"imput\": 1}", 422, "imput"),
        ("POST", refine, json, "{\"input\": [[1, 2], [3]]}", 422, "ragged"),
        ("POST", refine, json, "{\"input\": []}", 422, "empty"),
        ("POST", refine, json, "{\"input\": [[10]]}", 422, "colour 10"),
        ("POST", refine, json, "{\"input\": [[1]], \"puzzle\": 99}", 422, "not below"),
        ("POST", refine, json, "{\"input\": [[1]], \"puzzle\": -1}", 422, "puzzle"),
        ("POST", refine, json, "{\"input\": [[1]], \"puzzle\": \"x\"}", 422, "\"x\" is not in"),
        ("POST", refine, json, &wide, 422, "canvas"),
        ("POST", refine, json, &long, 413, "--max-body"),
        ("POST", refine, "text/plain", "{}", 415, "application/json"),
        ("PUT", refine, json, "", 405, "Allow"),
        ("GET", "/v2", json, "", 404, "/openapi.json"),
        ("GET", "/v1/tasks/task1_t1_0234567891", json, "", 404, "GET /v1/tasks"),
        ("GET", "/v1/refine/0", json, "", 404, "POST /v1/refine"),
    ] {
        let reply = server.ask(method, path, kind, body);
        let what = format!("{method} {path} {body}: {} {}", reply.head, reply.body);
        assert_eq!(reply.status, status, "{what}");
        assert!(reply.head.contains("content-type: application/problem+json"), "{what}");
        let problem: Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(problem["status"], status, "{what}");
        assert!(problem["detail"].as_str().unwrap().contains(word), "{what}");
    }
    assert!(server.ask("PUT", refine, json, "").head.contains("allow: post"));
    let state = init(&server);
    assert_eq!(server.json("GET", &format!("{}/energy", path(&state)), "").0, 409);
    let full = server.ask("POST", refine, json, &json!({ "input": INPUT }).to_string());
    assert!(full.status == 429 && full.head.contains("retry-after: 300"), "{}", full.head);
    // A page of another site, whose name points here.
    let rebound =
        server.raw("GET /v1/model HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
    assert_eq!(rebound.status, 421);
    assert_eq!(server.raw("nonsense\r\n\r\n").status, 400);
}

#[test]
fn every_operation_is_described_and_answers() {
    let server = Server::start(&[]);
    let (_, document) = server.json("GET", "/openapi.json", "");
    let mut found = vec![];
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let solving = path.starts_with("/v1/solve");
            let state = if solving { solve::begin(&server) } else { init(&server) };
            let id = state["id"].as_str().unwrap();
            if path.ends_with("/energy") {
                server.json("POST", &format!("/v1/refine/{id}/step"), "");
            }
            let body = match solving {
                true => solve::task(&server).to_string(),
                false => json!({ "input": INPUT }).to_string(),
            };
            let body = if operation["requestBody"].is_null() { "" } else { &body };
            let (method, path) = (method.to_uppercase(), path.replace("{id}", id));
            let path = path.replace("{name}", "task1");
            let reply = server.ask(&method, &path, "application/json", body);
            let answer = &operation["responses"][reply.status.to_string()]["content"];
            let kind = answer.as_object().unwrap().keys().next().unwrap();
            assert!(reply.status < 300, "{method} {path}: {}", reply.status);
            assert!(
                reply.head.contains(&format!("content-type: {kind}")),
                "{path}: {}",
                reply.head
            );
            if let Some(schema) = answer[kind]["schema"]["$ref"].as_str() {
                let value: Value = serde_json::from_str(&reply.body).unwrap();
                let schema = json!({ "$ref": schema });
                let faults = schema::faults(&document, &schema, &value, &path);
                assert!(faults.is_empty(), "{}", faults.join("\n"));
            }
            if !body.is_empty() {
                let value: Value = serde_json::from_str(body).unwrap();
                let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
                let faults = schema::faults(&document, schema, &value, &format!("{path} takes"));
                assert!(faults.is_empty(), "{}", faults.join("\n"));
            }
            found.push(operation["operationId"].as_str().unwrap().to_owned());
            server.json("DELETE", &format!("/v1/refine/{id}"), "");
        }
    }
    for name in ["init", "step", "energy", "halt", "solve"] {
        assert!(found.iter().any(|f| f == name), "{name}: {found:?}");
    }
}

#[test]
fn idle_refinements_expire() {
    let server = Server::start(&["--session-idle=0.3"]);
    let state = init(&server);
    let start = Instant::now();
    while server.metric("hrm_sessions") > 0.0 {
        assert!(start.elapsed() < PATIENCE, "it stays");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(server.json("GET", &path(&state), "").0, 404);
}
