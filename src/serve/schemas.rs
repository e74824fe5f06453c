//! The schemas of the OpenAPI document: what goes in and comes out as JSON.

use serde_json::{Value, json};

use super::openapi::reference;

pub fn all() -> Value {
    let rows =
        |cell: Value| json!({ "type": "array", "items": { "type": "array", "items": cell } });
    let colour = || json!({ "type": "integer", "minimum": 0, "maximum": 9 });
    let probability = || json!({ "type": "number", "minimum": 0, "maximum": 1 });
    let count = || json!({ "type": "integer", "minimum": 0 });
    let entry = |lists: &[&str]| {
        let mut fields = json!({
            "name": { "type": "string" },
            "puzzle_id": count(),
            "trained_on_test": {
                "type": "boolean",
                "description": "No pair was held out: the test pair shown is one that was trained on",
            },
        });
        for list in lists {
            fields[list] = json!({ "type": "array", "items": reference("Pair") });
        }
        fields
    };
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
        "Tasks": {
            "type": "object",
            "required": ["tasks"],
            "properties": { "tasks": { "type": "array", "items": reference("TaskEntry") } },
        },
        "TaskEntry": {
            "type": "object",
            "required": ["name", "puzzle_id", "trained_on_test"],
            "properties": entry(&[]),
        },
        "Task": {
            "type": "object",
            "required": ["name", "puzzle_id", "trained_on_test", "train", "test"],
            "properties": entry(&["train", "test"]),
        },
        "Pair": {
            "type": "object",
            "required": ["input", "output"],
            "properties": { "input": rows(colour()), "output": rows(colour()) },
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
