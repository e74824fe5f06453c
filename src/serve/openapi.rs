//! The routes as an OpenAPI 3.1 document.

use serde_json::{Map, Value, json};

use super::api::{ROUTES, Route};
use super::problem;

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
            "description": "Iterative refinement by a Hierarchical Reasoning Model: init a session \
                with a grid, step it one ACT segment at a time, watch its energy, halt it.",
        },
        "paths": paths,
        "components": { "schemas": schemas() },
    })
}

fn operation(route: &Route) -> Value {
    let mut responses = Map::new();
    let content = match route.gives {
        Some(schema) => json!({ "application/json": { "schema": reference(schema) } }),
        None => json!({ "text/plain": { "schema": { "type": "string" } } }),
    };
    let right = json!({ "description": "The answer", "content": content });
    responses.insert(route.status.to_string(), right);
    for status in route.problems.iter().chain(&GUARD_PROBLEMS) {
        let content = json!({ problem::CONTENT_TYPE: { "schema": reference("Problem") } });
        let refused = json!({ "description": "What, where, what to do", "content": content });
        responses.insert(status.to_string(), refused);
    }
    let mut operation = json!({
        "operationId": route.name, "summary": route.summary, "responses": responses,
    });
    if route.path.contains("{id}") {
        operation["parameters"] = json!([{
            "name": "id", "in": "path", "required": true, "schema": { "type": "string" },
        }]);
    }
    if let Some(schema) = route.takes {
        operation["requestBody"] = json!({
            "required": true, "content": { "application/json": { "schema": reference(schema) } },
        });
    }
    operation
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn schemas() -> Value {
    let rows =
        |cell: Value| json!({ "type": "array", "items": { "type": "array", "items": cell } });
    let colour = || json!({ "type": "integer", "minimum": 0, "maximum": 9 });
    let probability = || json!({ "type": "number", "minimum": 0, "maximum": 1 });
    let count = || json!({ "type": "integer", "minimum": 0 });
    json!({
        "Init": {
            "type": "object",
            "required": ["input"],
            "additionalProperties": false,
            "properties": {
                "input": rows(colour()),
                "puzzle": {
                    "type": ["integer", "string", "null"],
                    "description": "Puzzle id, or its name in the data set (a task's id); none: blank",
                },
            },
        },
        "State": {
            "type": "object",
            "required": ["id", "step", "max_steps", "puzzle_id", "done"],
            "properties": {
                "id": { "type": "string" },
                "step": count(),
                "max_steps": count(),
                "puzzle_id": count(),
                "done": { "type": "boolean", "description": "All segments were run" },
                "grid": rows(colour()),
                "confidence": rows(probability()),
                "energy": probability(),
                "q_halt": { "type": "number" },
                "q_continue": { "type": "number" },
                "halt": { "type": "boolean", "description": "Training's rule would stop here" },
            },
        },
        "Energy": {
            "type": "object",
            "required": ["step", "energy"],
            "properties": { "step": count(), "energy": probability() },
        },
        "Model": {
            "type": "object",
            "required": ["preset", "parameters", "canvas", "max_steps", "puzzle_ids", "step", "data"],
            "properties": {
                "preset": { "type": "string" },
                "parameters": count(),
                "canvas": count(),
                "max_steps": count(),
                "puzzle_ids": count(),
                "step": { "type": "integer", "description": "Optimizer steps of the checkpoint" },
                "data": { "type": "string", "description": "Digest of the training data" },
                "names": { "type": "boolean", "description": "Puzzles can be named" },
            },
        },
        "Problem": {
            "type": "object",
            "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": { "type": "string" },
                "title": { "type": "string" },
                "status": { "type": "integer" },
                "detail": { "type": "string" },
            },
        },
        "OpenApi": { "type": "object" },
    })
}
