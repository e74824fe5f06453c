//! Too many clients, slow ones, and ones that go away: right answers or clear refusals, and nothing
//! is left behind.

use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{PATIENCE, Server, read_reply};
use super::{INPUT, init, path};

/// Rounds of a test that provokes what the clock decides.
const ROUNDS: usize = 50;

/// Statuses of `clients` requests at once.
fn at_once(clients: usize, request: impl Fn(usize) -> u16 + Sync) -> Vec<u16> {
    let statuses = Mutex::new(vec![]);
    std::thread::scope(|scope| {
        for i in 0..clients {
            let (request, statuses) = (&request, &statuses);
            scope.spawn(move || {
                let status = request(i);
                statuses.lock().unwrap().push(status);
            });
        }
    });
    statuses.into_inner().unwrap()
}

#[test]
fn a_full_queue_refuses_with_a_time_to_come_back() {
    let server = Server::start(&["--max-queue=1", "--max-sessions=64"]);
    let (mut refused, mut begun) = (0, 0);
    for _ in 0..ROUNDS {
        let body = json!({ "input": INPUT }).to_string();
        let statuses = at_once(16, |_| {
            let reply = server.ask("POST", "/v1/refine", "application/json", &body);
            let value: Value = serde_json::from_str(&reply.body).unwrap();
            if reply.status == 503 {
                assert!(reply.head.contains("retry-after: 1"), "{}", reply.head);
                assert!(value["detail"].as_str().unwrap().contains("queue is full"), "{value}");
            }
            reply.status
        });
        for status in statuses {
            match status {
                201 => begun += 1,
                503 => refused += 1,
                // The sessions of the rounds before.
                429 => {}
                other => panic!("status {other}"),
            }
        }
        if refused > 0 {
            break;
        }
    }
    assert!(refused > 0, "16 clients at once never met a full queue");
    // What was refused left nothing.
    assert_eq!(server.metric("hrm_sessions"), begun as f64);
    assert_eq!(server.metric("hrm_queue_depth"), 0.0);
}

#[test]
fn a_busy_server_answers_in_time_that_it_is_busy() {
    // Wide enough that a segment takes longer than a request over loopback.
    let server = Server::start_with(
        &["--timeout=0.1", "--max-sessions=64", "--max-queue=64"],
        &["model.hidden_size=256", "model.h_layers=4", "model.l_layers=4"],
        |_| (),
    );
    let mut late = 0;
    for _ in 0..ROUNDS {
        let statuses = at_once(32, |_| {
            let body = json!({ "input": INPUT }).to_string();
            let begun = server.ask("POST", "/v1/refine", "application/json", &body);
            let Ok(state) = serde_json::from_str::<Value>(&begun.body) else { return 0 };
            let Some(id) = state["id"].as_str() else { return begun.status };
            let start = Instant::now();
            let reply = server.ask("POST", &format!("/v1/refine/{id}/step"), "", "");
            assert!(start.elapsed() < PATIENCE);
            if reply.status == 504 {
                assert!(reply.body.contains("--timeout"), "{}", reply.body);
            }
            server.ask("DELETE", &format!("/v1/refine/{id}"), "", "");
            reply.status
        });
        late += statuses.iter().filter(|&&status| status == 504).count();
        // 408: the machine was too busy to let the client speak.
        let allowed = [0, 200, 408, 429, 503, 504];
        assert!(statuses.iter().all(|status| allowed.contains(status)), "{statuses:?}");
        if late > 0 {
            break;
        }
    }
    assert!(late > 0, "32 clients at once were all answered within 0.1 s");
    let start = Instant::now();
    while server.ask("GET", "/v1/model", "", "").status != 200 {
        assert!(start.elapsed() < PATIENCE, "it does not recover");
    }
}

#[test]
fn clients_that_take_nothing_give_their_slots_back() {
    let server = Server::start(&["--timeout=0.5", "--max-connections=1"]);
    let mut greedy = server.connect();
    greedy.set_write_timeout(Some(PATIENCE)).unwrap();
    // Far more than what the system buffers; the server reads on only while its answers go out.
    let asked = "GET /page.js HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(4000);
    std::thread::scope(|scope| {
        // Ends with an error once the server gives up.
        scope.spawn(|| greedy.write_all(asked.as_bytes()));
        let start = Instant::now();
        assert_eq!(server.json("GET", "/v1/model", "").0, 200);
        assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    });
}

#[test]
#[cfg(target_os = "linux")]
fn clients_that_vanish_leave_nothing_behind() {
    let server = Server::start(&["--max-connections=4", "--max-sessions=4"]);
    let body = json!({ "input": INPUT }).to_string();
    let vanish = |times: usize| {
        for i in 0..times {
            let state = init(&server);
            let step = format!("POST {}/step HTTP/1.1\r\nHost: localhost\r\n\r\n", path(&state));
            let whole = format!(
                "POST /v1/refine HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            // Cut anywhere: in a request line, in a header, in a body, or before the answer.
            for request in [&whole[..9 + i % 80], &whole[..whole.len() - 3], &step[..]] {
                server.connect().write_all(request.as_bytes()).unwrap();
            }
            server.json("DELETE", &path(&state), "");
        }
    };
    vanish(10);
    let before = ["VmRSS:", "Threads:"].map(|name| server.takes(name));
    vanish(40);
    let after = ["VmRSS:", "Threads:"].map(|name| server.takes(name));
    assert!(after[0] <= before[0] + 4096, "kB: {before:?}, then {after:?}");
    assert_eq!(after[1], before[1]);
    let start = Instant::now();
    let open = || std::fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap().count();
    // A few of its own; the last clients' go when the server sees that they are gone.
    while open() > 20 {
        assert!(start.elapsed() < PATIENCE, "{} files are open", open());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(server.metric("hrm_sessions"), 0.0);
}

#[test]
fn slow_and_vanishing_clients_give_their_slots_back() {
    let server = Server::start(&["--timeout=0.5", "--max-connections=2"]);
    let start = Instant::now();
    let mut silent = server.connect();
    let mut half = server.connect();
    half.write_all(b"POST /v1/refine HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        .unwrap();
    // Both slots are taken; this waits until one is free.
    assert_eq!(server.json("GET", "/v1/model", "").0, 200);
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    let late = read_reply(&mut half).status;
    assert_eq!(late, 408);
    // Closed, with or without a word.
    assert!([0, 408].contains(&read_reply(&mut silent).status));
    for _ in 0..20 {
        drop(server.connect());
    }
    assert_eq!(server.json("GET", "/v1/model", "").0, 200);
}

#[test]
#[cfg(target_os = "linux")]
fn many_requests_take_no_more_memory_and_no_threads() {
    let server = Server::start(&["--max-sessions=4"]);
    let round = |times: usize| {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..times {
                        let state = init(&server);
                        assert_eq!(
                            server.json("POST", &format!("{}/step", path(&state)), "").0,
                            200
                        );
                        assert_eq!(server.json("DELETE", &path(&state), "").0, 200);
                    }
                });
            }
        });
    };
    round(5);
    let before = ["VmRSS:", "Threads:"].map(|name| server.takes(name));
    round(20);
    let after = ["VmRSS:", "Threads:"].map(|name| server.takes(name));
    assert!(after[0] <= before[0] + 4096, "kB: {before:?}, then {after:?}");
    assert_eq!(after[1], before[1]);
    assert_eq!(server.metric("hrm_segments_total"), 100.0);
}
