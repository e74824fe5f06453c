//! The page as the server sends it, and the tasks that it offers. `tools/interop/page.py` uses it
//! in a browser.

use serde_json::{Value, json};

use super::client::{Reply, Server};
use super::fixture::random_tasks;

fn header<'a>(reply: &'a Reply, name: &str) -> &'a str {
    let start = format!("{name}: ");
    reply.head.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or("")
}

#[test]
fn pages_load_this_server_only_and_their_policy_says_so() {
    let server = Server::start(&[]);
    for (path, kind, word) in [
        ("/", "text/html; charset=utf-8", "src=\"page.js\""),
        ("/docs", "text/html; charset=utf-8", "<code>POST /v1/refine/{id}/step</code>"),
        ("/page.js", "text/javascript; charset=utf-8", "class Refinement"),
        ("/page.css", "text/css; charset=utf-8", ".grid"),
    ] {
        let reply = server.ask("GET", path, "", "");
        assert_eq!((reply.status, header(&reply, "content-type")), (200, kind), "{path}");
        assert!(reply.body.contains(word), "{path} lacks {word}");
        let policy = header(&reply, "content-security-policy");
        assert_eq!(
            policy,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
             img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            "{path}"
        );
        // The one address is a name of XML, which nobody fetches.
        let text = reply.body.replace("http://www.w3.org/2000/svg", "");
        assert!(!text.contains("://"), "{path} names another place");
    }
    let data = server.ask("GET", "/v1/model", "", "");
    assert_eq!(
        header(&data, "content-security-policy"),
        "default-src 'none'; frame-ancestors 'none'"
    );
}

#[test]
fn tasks_are_those_of_the_data_set_without_variants() {
    let server = Server::start(&[]);
    let (status, list) = server.json("GET", "/v1/tasks", "");
    let entry = |t: usize| json!({ "name": format!("task{t}"), "puzzle_id": 1 + 2 * t, "trained_on_test": false });
    assert_eq!((status, list), (200, json!({ "tasks": [entry(0), entry(1), entry(2)] })));
    for (t, pairs) in random_tasks(1, 3).into_iter().enumerate() {
        let rows: Vec<Value> = pairs
            .iter()
            .map(|p| {
                let rows = |g: &hrm::data::Grid| json!(g.rows().collect::<Vec<_>>());
                json!({ "input": rows(&p.input), "output": rows(&p.output) })
            })
            .collect();
        let mut want = entry(t);
        // The fixture has the same pairs in both splits.
        want["train"] = json!(rows);
        want["test"] = json!(rows);
        assert_eq!(server.json("GET", &format!("/v1/tasks/task{t}"), ""), (200, want));
    }
}

#[test]
fn without_the_data_set_there_is_nothing_to_try_and_everything_else_works() {
    let server = Server::start_with(&[], &[], |dir| {
        std::fs::rename(dir.join("data"), dir.join("gone")).unwrap();
    });
    assert_eq!(server.json("GET", "/v1/tasks", ""), (200, json!({ "tasks": [] })));
    assert_eq!(server.json("GET", "/v1/tasks/task1", "").0, 404);
    assert_eq!(server.json("POST", "/v1/refine", "{\"input\": [[1]]}").0, 201);
    let (status, problem) =
        server.json("POST", "/v1/refine", "{\"input\": [[1]], \"puzzle\": \"task1\"}");
    assert_eq!(status, 422, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("--data"), "{problem}");
}
