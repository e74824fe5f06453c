//! The schemas of the OpenAPI document: what goes in and comes out as JSON.

use serde_json::{Value, json};

fn list(of: &str) -> Value {
    json!({ "type": "array", "items": reference(of) })
}

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
        for name in lists {
            fields[name] = list("Pair");
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
                "solve_budget_s": { "type": ["number", "null"],
                    "description": "Most that solving a task may take; null: none are solved" },
            },
        },
        "Tasks": {
            "type": "object",
            "required": ["tasks"],
            "properties": { "tasks": list("TaskEntry") },
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
        "Solve": {
            "type": "object",
            "required": ["train", "test"],
            "additionalProperties": false,
            "properties": {
                "id": { "type": "string", "description": "What the task is called" },
                "train": list("Pair"),
                "test": list("Query"),
                "budget_s": {
                    "type": "number", "minimum": 0,
                    "description": "Time for solving it, from when it begins; none: all of --solve-budget",
                },
                "wait_s": {
                    "type": "number", "minimum": 0,
                    "description": "Time to wait for its end, at most 0.9 of --timeout; who goes away \
                        meanwhile cancels it. None: answer at once",
                },
            },
        },
        "Query": {
            "type": "object",
            "required": ["input"],
            "properties": { "input": rows(colour()), "output": rows(colour()) },
        },
        "Solving": {
            "type": "object",
            "required": ["id", "task", "state", "budget_s"],
            "properties": {
                "id": { "type": "string" },
                "task": { "type": "string" },
                "state": { "enum": ["waiting", "running", "done", "failed"] },
                "ahead": { "type": "integer", "minimum": 0,
                    "description": "Waiting: tasks that are solved before it" },
                "budget_s": { "type": "number", "minimum": 0 },
                "elapsed_s": { "type": "number", "minimum": 0 },
                "progress": reference("Progress"),
                "eta_s": { "type": "number", "minimum": 0,
                    "description": "Until this phase ends, at most what the budget leaves" },
                "outcome": reference("Outcome"),
                "trust": { "type": "array", "items": { "type": "string" },
                    "description": "Done: how far to trust the answers" },
                "problem": { "type": "string", "description": "Failed: why" },
            },
        },
        "Progress": {
            "type": "object",
            "required": ["phase", "done", "of"],
            "properties": { "phase": { "type": "string" }, "done": count(), "of": count() },
        },
        "Outcome": {
            "type": "object",
            "required": ["task", "origin", "puzzles", "tests", "wall_s"],
            "properties": {
                "task": { "type": "string" },
                "origin": { "type": "object", "description": "What the model knew of the task" },
                "puzzles": { "type": "integer", "description": "Puzzles that it was asked as" },
                "tests": list("Answers"),
                "own_pairs": reference("Share"),
                "held_out": { "type": ["object", "null"],
                    "description": "Never seen before: examples asked after fine-tuning on the others" },
                "wall_s": { "type": "number", "minimum": 0 },
            },
        },
        "Share": {
            "type": ["object", "null"],
            "description": "The task's own examples that the same vote answers rightly; null: no time",
            "required": ["right", "of"],
            "properties": { "right": count(), "of": count() },
        },
        "Answers": {
            "type": "object",
            "required": ["input", "attempts", "votes_cast", "unreadable", "candidates", "act_steps",
                "trained_on"],
            "properties": {
                "input": rows(colour()),
                "attempts": list("Attempt"),
                "votes_cast": count(),
                "unreadable": { "type": "integer", "description": "Votes that showed no grid" },
                "candidates": { "type": "integer", "description": "Different grids with votes" },
                "act_steps": { "type": "number",
                    "description": "Segments until training's rule would halt, mean over the votes" },
                "trained_on": { "type": "boolean",
                    "description": "The model was trained on this very pair" },
                "output": rows(colour()),
                "identity_right": { "type": ["boolean", "null"],
                    "description": "A copy of the input would be right" },
            },
        },
        "Attempt": {
            "type": "object",
            "required": ["grid", "votes", "share", "q_halt"],
            "properties": {
                "grid": rows(colour()),
                "votes": count(),
                "share": probability(),
                "q_halt": { "type": "number", "minimum": 0, "maximum": 1,
                    "description": "Mean sigmoid(q_halt) of its votes" },
                "right": { "type": ["boolean", "null"],
                    "description": "Null where the task does not say what is right" },
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

pub fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}
