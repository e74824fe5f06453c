//! The routes as an OpenAPI 3.1 document.

use serde_json::{Map, Value, json};

use super::api::{Gives, ROUTES, Route};
use super::schemas::reference;
use super::{problem, schemas};

/// What the guard may answer to anything.
const GUARD_PROBLEMS: [u16; 4] = [408, 413, 421, 504];

pub fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "hrm serve",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "ARC tasks solved by a Hierarchical Reasoning Model, and iterative \
                refinement: init a session with a grid, step it one ACT segment at a time, watch its \
                energy, halt it.",
        },
        "paths": paths,
        "components": { "schemas": schemas::all() },
    })
}

fn operation(route: &Route) -> Value {
    let mut responses = Map::new();
    let content = match route.gives {
        Gives::Json(schema) => json!({ "application/json": { "schema": reference(schema) } }),
        Gives::Text(kind) => json!({ kind: { "schema": { "type": "string" } } }),
    };
    let right = json!({ "description": "The answer", "content": content });
    for status in route.statuses {
        responses.insert(status.to_string(), right.clone());
    }
    for status in route.problems.iter().chain(&GUARD_PROBLEMS) {
        let content = json!({ problem::CONTENT_TYPE: { "schema": reference("Problem") } });
        let refused = json!({ "description": "What, where, what to do", "content": content });
        responses.insert(status.to_string(), refused);
    }
    let mut operation = json!({
        "operationId": route.name, "summary": route.summary, "responses": responses,
    });
    if let Some(name) = parameter(route.path) {
        operation["parameters"] = json!([{
            "name": name, "in": "path", "required": true, "schema": { "type": "string" },
        }]);
    }
    if let Some(schema) = route.takes {
        operation["requestBody"] = json!({
            "required": true, "content": { "application/json": { "schema": reference(schema) } },
        });
    }
    operation
}

/// The part of a path in braces.
fn parameter(path: &str) -> Option<&str> {
    Some(path.split_once('{')?.1.split_once('}')?.0)
}
