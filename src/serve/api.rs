//! The routes and what they answer. One table makes the router and the OpenAPI document.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Options;
use super::engine::{Ask, Handle, Puzzle};
use super::metrics::Metrics;
use super::problem::Problem;
use super::{docs, guard, openapi, page};
use crate::data::Grid;

/// What handlers share.
#[derive(Clone)]
pub struct App {
    pub engine: Handle,
    pub metrics: Arc<Metrics>,
    pub stopping: Arc<AtomicBool>,
    pub options: Arc<Options>,
}

/// What is answered.
pub enum Gives {
    /// JSON of this schema.
    Json(&'static str),
    /// Text of this media type.
    Text(&'static str),
}

/// One operation.
pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    pub name: &'static str,
    pub summary: &'static str,
    /// Schema of the body, if there is one.
    pub takes: Option<&'static str>,
    pub status: u16,
    pub gives: Gives,
    /// What goes wrong besides what the guard refuses.
    pub problems: &'static [u16],
    handler: fn() -> MethodRouter<App>,
}

pub const ROUTES: &[Route] = &[
    Route {
        method: "get",
        path: "/",
        name: "page",
        summary: "A page to draw a task on and to watch it being answered",
        takes: None,
        status: 200,
        gives: Gives::Text("text/html"),
        problems: &[],
        handler: || get(page::index),
    },
    Route {
        method: "get",
        path: "/docs",
        name: "docs",
        summary: "This document for people",
        takes: None,
        status: 200,
        gives: Gives::Text("text/html"),
        problems: &[],
        handler: || get(async || page::html(docs::html(&openapi::document()))),
    },
    Route {
        method: "post",
        path: "/v1/refine",
        name: "init",
        summary: "Begin a refinement: an input grid and its puzzle in, a session out",
        takes: Some("Init"),
        status: 201,
        gives: Gives::Json("State"),
        problems: &[400, 413, 415, 422, 429, 503],
        handler: || post(init),
    },
    Route {
        method: "post",
        path: "/v1/refine/{id}/step",
        name: "step",
        summary: "Run one ACT segment and answer the state after it",
        takes: None,
        status: 200,
        gives: Gives::Json("State"),
        problems: &[404, 409, 503],
        handler: || post(step),
    },
    Route {
        method: "get",
        path: "/v1/refine/{id}",
        name: "state",
        summary: "The state, without running anything",
        takes: None,
        status: 200,
        gives: Gives::Json("State"),
        problems: &[404, 503],
        handler: || get(state),
    },
    Route {
        method: "get",
        path: "/v1/refine/{id}/energy",
        name: "energy",
        summary: "1 - sigmoid(q_halt) of the last step: low when the answer is believed right",
        takes: None,
        status: 200,
        gives: Gives::Json("Energy"),
        problems: &[404, 409, 503],
        handler: || get(energy),
    },
    Route {
        method: "delete",
        path: "/v1/refine/{id}",
        name: "halt",
        summary: "End a refinement and release its memory; answers the last state",
        takes: None,
        status: 200,
        gives: Gives::Json("State"),
        problems: &[404, 503],
        handler: || delete(halt),
    },
    Route {
        method: "get",
        path: "/v1/model",
        name: "model",
        summary: "What is served",
        takes: None,
        status: 200,
        gives: Gives::Json("Model"),
        problems: &[],
        handler: || get(model),
    },
    Route {
        method: "get",
        path: "/v1/tasks",
        name: "tasks",
        summary: "Tasks of the model's data set, to try; empty where that is not there",
        takes: None,
        status: 200,
        gives: Gives::Json("Tasks"),
        problems: &[],
        handler: || get(tasks),
    },
    Route {
        method: "get",
        path: "/v1/tasks/{name}",
        name: "task",
        summary: "One of them as ARC publishes it",
        takes: None,
        status: 200,
        gives: Gives::Json("Task"),
        problems: &[404],
        handler: || get(task),
    },
    Route {
        method: "get",
        path: "/healthz",
        name: "healthz",
        summary: "The process is alive",
        takes: None,
        status: 200,
        gives: Gives::Text("text/plain"),
        problems: &[],
        handler: || get(async || "ok\n"),
    },
    Route {
        method: "get",
        path: "/readyz",
        name: "readyz",
        summary: "New work is welcome: 503 while the server is stopping",
        takes: None,
        status: 200,
        gives: Gives::Text("text/plain"),
        problems: &[503],
        handler: || get(readyz),
    },
    Route {
        method: "get",
        path: "/metrics",
        name: "metrics",
        summary: "Counts in Prometheus' text format",
        takes: None,
        status: 200,
        gives: Gives::Text("text/plain"),
        problems: &[],
        handler: || get(metrics),
    },
    Route {
        method: "get",
        path: "/openapi.json",
        name: "openapi",
        summary: "This document",
        takes: None,
        status: 200,
        gives: Gives::Json("OpenApi"),
        problems: &[],
        handler: || get(document),
    },
];

pub fn router(app: App) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        router = router.route(route.path, (route.handler)());
    }
    router
        .route("/page.js", get(page::script))
        .route("/page.css", get(page::style))
        .fallback(async |uri: Uri| {
            let what =
                format!("there is nothing at {}; /openapi.json lists what there is", uri.path());
            Problem::new(StatusCode::NOT_FOUND, what)
        })
        .method_not_allowed_fallback(async || {
            let what = "the method does not fit this path; see the Allow header and /openapi.json";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, what)
        })
        .layer(axum::middleware::from_fn_with_state(app.clone(), guard::guard))
        .with_state(app)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Init {
    input: Vec<Vec<i64>>,
    puzzle: Option<PuzzleName>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "puzzle: expected a number, a name or null")]
enum PuzzleName {
    Id(u32),
    Name(String),
}

/// Not a `Value`: that would print an f32 with the digits of an f64.
#[derive(Serialize)]
struct Energy {
    step: usize,
    energy: f32,
}

fn json_answer(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => (status, [(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(e) => Problem::from(crate::Error::invalid(format!("the answer: {e}"))).into_response(),
    }
}

type Answer = Result<Response, Problem>;

async fn init(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Answer {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must be JSON, with the header Content-Type: application/json",
        ));
    }
    let init: Init = serde_json::from_slice(&body).map_err(|e| {
        let status = match e.classify() {
            serde_json::error::Category::Data => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::BAD_REQUEST,
        };
        Problem::new(status, format!("the body: {e}; see the schema Init in /openapi.json"))
    })?;
    let input = Grid::from_arc_rows(&init.input).map_err(|e| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("input: the grid {e}"))
    })?;
    let puzzle = match init.puzzle {
        None => Puzzle::None,
        Some(PuzzleName::Id(id)) => Puzzle::Id(id),
        Some(PuzzleName::Name(name)) => Puzzle::Name(name),
    };
    let state = app.engine.ask(Ask::Init { input, puzzle }).await?;
    let mut response = json_answer(StatusCode::CREATED, &state);
    if let Ok(place) = format!("/v1/refine/{}", state.id).parse() {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

async fn step(State(app): State<App>, Path(id): Path<String>) -> Answer {
    Ok(json_answer(StatusCode::OK, &app.engine.ask(Ask::Step(id)).await?))
}

async fn state(State(app): State<App>, Path(id): Path<String>) -> Answer {
    Ok(json_answer(StatusCode::OK, &app.engine.ask(Ask::State(id)).await?))
}

async fn halt(State(app): State<App>, Path(id): Path<String>) -> Answer {
    Ok(json_answer(StatusCode::OK, &app.engine.ask(Ask::Halt(id)).await?))
}

async fn energy(State(app): State<App>, Path(id): Path<String>) -> Answer {
    let state = app.engine.ask(Ask::State(id)).await?;
    let answer = state.answer.ok_or_else(|| {
        Problem::new(StatusCode::CONFLICT, "no step was run yet; POST to …/step first")
    })?;
    Ok(json_answer(StatusCode::OK, &Energy { step: state.step, energy: answer.energy }))
}

async fn model(State(app): State<App>) -> Response {
    json_answer(StatusCode::OK, &*app.engine.about)
}

async fn tasks(State(app): State<App>) -> Response {
    let list = app.engine.tasks.as_ref().map(|tasks| tasks.list()).unwrap_or_default();
    json_answer(StatusCode::OK, &json!({ "tasks": list }))
}

async fn task(State(app): State<App>, Path(name): Path<String>) -> Answer {
    let found = match &app.engine.tasks {
        Some(tasks) => tasks.get(&name)?,
        None => None,
    };
    let task = found.ok_or_else(|| {
        let what = format!("there is no task {name:?} in the model's data set; see GET /v1/tasks");
        Problem::new(StatusCode::NOT_FOUND, what)
    })?;
    Ok(json_answer(StatusCode::OK, &task))
}

async fn readyz(State(app): State<App>) -> Answer {
    if app.stopping.load(Ordering::Relaxed) {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping"));
    }
    Ok("ready\n".into_response())
}

async fn metrics(State(app): State<App>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, app.metrics.text(app.engine.queued())).into_response()
}

async fn document() -> Response {
    let document: Value = openapi::document();
    json_answer(StatusCode::OK, &document)
}
