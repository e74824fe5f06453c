//! Signals: what is under way may finish, within limits, and the exit code says how it went.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::json;

use super::INPUT;
use super::client::{PATIENCE, Server, read_reply};

#[test]
fn a_signal_lets_requests_finish_and_the_exit_code_is_0() {
    let mut server = Server::start(&[]);
    let mut begun = server.connect();
    let body = json!({ "input": INPUT }).to_string();
    let head = format!(
        "POST /v1/refine HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    begun.write_all(head.as_bytes()).unwrap();
    // The server has read the head when it answers somebody later.
    assert_eq!(server.json("GET", "/v1/model", "").0, 200);
    server.terminate();
    std::thread::sleep(Duration::from_millis(200));
    begun.write_all(body.as_bytes()).unwrap();
    assert_eq!(read_reply(&mut begun).status, 201);
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn requests_that_outlast_the_grace_are_cut_and_the_exit_code_says_so() {
    let mut server = Server::start(&["--grace=0.3"]);
    let mut begun = server.connect();
    begun
        .write_all(b"POST /v1/refine HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        .unwrap();
    assert_eq!(server.json("GET", "/v1/model", "").0, 200);
    server.terminate();
    assert_eq!(server.ended().code(), Some(1));
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut server = Server::start(&["--grace=600"]);
    let mut begun = server.connect();
    begun
        .write_all(b"POST /v1/refine HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        .unwrap();
    assert_eq!(server.json("GET", "/v1/model", "").0, 200);
    server.terminate();
    // The first one has come through when nobody is let in any more.
    let start = Instant::now();
    while std::net::TcpStream::connect(&server.address).is_ok() {
        assert!(start.elapsed() < PATIENCE, "it goes on accepting");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(server.child.try_wait().unwrap().is_none(), "it did not wait for the request");
    server.terminate();
    assert_eq!(server.ended().code(), Some(130));
}
