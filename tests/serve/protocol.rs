//! Bodies that break off, are encoded, or are described by headers in any case; forms of tasks.

use serde_json::{Value, json};

use super::client::{Reply, Server};
use super::{INPUT, solve};

const REFINE: &str = "POST /v1/refine HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
const JSON: &str = "Content-Type: application/json\r\n";

fn detail(reply: &Reply) -> String {
    assert!(reply.head.contains("content-type: application/problem+json"), "{}", reply.head);
    let problem: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(problem["status"], reply.status, "{problem}");
    problem["detail"].as_str().unwrap().to_owned()
}

/// A request with a whole body.
fn whole(headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("{REFINE}{headers}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

#[test]
fn broken_bodies_are_refused_with_what_broke() {
    let server = Server::start(&["--max-body=2000"]);
    let chunked = format!("{REFINE}{JSON}Transfer-Encoding: chunked\r\n\r\n");
    let long = "a".repeat(100_000);
    for (body, status, word) in [
        ("10\r\n{\"inp".to_owned(), 400, "cut off"),
        ("ZZ\r\nabc\r\n0\r\n\r\n".into(), 400, "chunk size"),
        ("FFFFFFFFFFFFFFFFF\r\n{}".into(), 400, "chunk size"),
        ("3\r\nabcXX0\r\n\r\n".into(), 400, "chunk body"),
        (format!("3;{long}\r\n"), 400, "chunk extensions"),
        (format!("3\r\nabc\r\n0\r\nX: {long}\r\n\r\n"), 400, "chunk trailers"),
        (format!("800\r\n{}\r\n0\r\n\r\n", " ".repeat(2048)), 413, "--max-body"),
    ] {
        let reply = server.raw_and_over(format!("{chunked}{body}"));
        assert_eq!(reply.status, status, "{:.40}: {}", body, reply.body);
        assert!(detail(&reply).contains(word), "{:.40}: {}", body, reply.body);
    }
    let reply =
        server.raw_and_over(format!("{REFINE}{JSON}Content-Length: 100\r\n\r\n{{\"input\""));
    assert_eq!(reply.status, 400, "{}", reply.body);
    assert!(detail(&reply).contains("cut off"), "{}", reply.body);
    let body = json!({ "input": INPUT }).to_string();
    let half = body.len() / 2;
    let (a, b) = body.split_at(half);
    let parts =
        format!("{half:X};x=y\r\n{a}\r\n{:x}\r\n{b}\r\n0\r\nX-T: 1\r\n\r\n", body.len() - half);
    let reply = server.raw(format!("{REFINE}{JSON}transfer-encoding: Chunked\r\n\r\n{parts}"));
    assert_eq!(reply.status, 201, "{}", reply.body);
}

#[test]
fn headers_are_compared_without_case_where_the_standard_says_so() {
    let server = Server::start(&["--max-sessions=64"]);
    let body = json!({ "input": INPUT }).to_string();
    let with_mark = format!("\u{feff}{body}");
    for (headers, body) in [
        ("Content-Type: Application/JSON\r\n", &body),
        ("content-type: application/json; Charset=\"UTF-8\"\r\n", &body),
        ("Content-Type: application/json\r\nContent-Encoding: Identity\r\n", &body),
        (JSON, &with_mark),
    ] {
        let reply = server.raw(whole(headers, body.as_bytes()));
        assert_eq!(reply.status, 201, "{headers}: {}", reply.body);
    }
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00";
    for (headers, word) in [
        (format!("{JSON}Content-Encoding: GZIP\r\n"), "Content-Encoding: GZIP"),
        (format!("{JSON}Content-Encoding: br\r\n"), "Content-Encoding: br"),
        ("Content-Type: text/json\r\n".into(), "text/json"),
        ("Content-Type: application/json; charset=UTF-16\r\n".into(), "charset UTF-16"),
    ] {
        let reply = server.raw(whole(&headers, gzip));
        assert_eq!(reply.status, 415, "{headers}: {}", reply.body);
        assert!(detail(&reply).contains(word), "{headers}: {}", reply.body);
        let says = reply.head.contains("accept-encoding: identity");
        assert_eq!(says, headers.contains("Encoding"), "{}", reply.head);
    }
    for (host, status) in [
        ("LOCALHOST", 200),
        ("LocalHost:1", 200),
        ("[::1]:80", 200),
        ("127.0.0.1", 200),
        ("localhost.evil.example", 421),
        ("a.example", 421),
    ] {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: CLOSE\r\n\r\n");
        assert_eq!(server.raw(request).status, status, "{host}");
    }
}

#[test]
fn objects_are_objects_and_a_set_of_one_task_is_that_task() {
    let server = Server::start(&["--max-sessions=64"]);
    let task = solve::task(&server);
    let pair = &task["train"][0];
    for (path, body) in [
        ("/v1/refine", json!([INPUT, null])),
        ("/v1/solve", json!([null, null, null, null, task["train"], task["test"]])),
        (
            "/v1/solve",
            json!({ "train": [[pair["input"], pair["output"]]], "test": [{ "input": [[1]] }] }),
        ),
    ] {
        let (status, problem) = server.json("POST", path, &body.to_string());
        assert_eq!(status, 422, "{body}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains("expected an object"), "{problem}");
    }
    let (status, state) = server.json("POST", "/v1/solve", &json!({ "a1": task }).to_string());
    assert_eq!((status, &state["task"]), (202, &json!("a1")), "{state}");
    let two = json!({ "a1": task, "a2": task }).to_string();
    let (status, problem) = server.json("POST", "/v1/solve", &two);
    assert_eq!(status, 422, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("2 tasks by their ids"), "{problem}");
}
