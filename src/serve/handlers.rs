//! What refinements, tasks and the routes for operators answer.

use std::sync::atomic::Ordering;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::app::App;
use super::ask::{Ask, Puzzle};
use super::problem::Problem;
use super::tasks::Entry;
use super::{docs, engine, media, page};
use crate::data::Grid;
use crate::io::json::{self, Object};
use crate::io::machine;

/// A refinement to begin.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Init {
    #[schemars(with = "Grid")]
    input: Vec<Vec<i64>>,
    /// Puzzle id, or its name in the data set (a task's id); none: blank.
    puzzle: Option<PuzzleName>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(inline)]
#[serde(untagged, expecting = "puzzle: expected a number, a name or null")]
enum PuzzleName {
    Id(u32),
    Name(String),
}

/// How sure the model is after a step. Not a `Value`: that would print an f32 with the digits of an
/// f64.
#[derive(Serialize, JsonSchema)]
pub struct Energy {
    step: usize,
    /// 1 - sigmoid(q_halt): low when the model believes that the answer is right.
    #[schemars(range(min = 0, max = 1))]
    energy: f32,
}

/// The tasks of the data set.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Tasks")]
pub struct TaskList {
    tasks: Vec<Entry>,
}

pub fn json_answer(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => (status, [(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(e) => Problem::from(crate::Error::invalid(format!("the answer: {e}"))).into_response(),
    }
}

pub type Answer = Result<Response, Problem>;

/// A body of JSON as `T`, which `schema` describes.
pub fn read<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: &[u8],
    schema: &str,
) -> Result<T, Problem> {
    media::check_json(headers)?;
    let Object(read) = json::parse(body).map_err(|e| {
        let status = match e.classify() {
            serde_json::error::Category::Data => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::BAD_REQUEST,
        };
        Problem::new(status, format!("the body: {e}; see the schema {schema} in /openapi.json"))
    })?;
    Ok(read)
}

pub async fn init(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Answer {
    let init: Init = read(&headers, &body, "Init")?;
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

pub async fn step(State(app): State<App>, Path(id): Path<String>) -> Answer {
    Ok(json_answer(StatusCode::OK, &app.engine.ask(Ask::Step(id)).await?))
}

pub async fn state(State(app): State<App>, Path(id): Path<String>) -> Answer {
    Ok(json_answer(StatusCode::OK, &app.engine.ask(Ask::State(id)).await?))
}

pub async fn halt(State(app): State<App>, Path(id): Path<String>) -> Answer {
    Ok(json_answer(StatusCode::OK, &app.engine.ask(Ask::Halt(id)).await?))
}

pub async fn energy(State(app): State<App>, Path(id): Path<String>) -> Answer {
    let state = app.engine.ask(Ask::State(id)).await?;
    let answer = state.answer.ok_or_else(|| {
        Problem::new(StatusCode::CONFLICT, "no step was run yet; POST to …/step first")
    })?;
    Ok(json_answer(StatusCode::OK, &Energy { step: state.step, energy: answer.energy }))
}

pub async fn model(State(app): State<App>) -> Response {
    json_answer(StatusCode::OK, &*app.engine.about)
}

pub async fn tasks(State(app): State<App>) -> Response {
    let list = app.engine.tasks.as_ref().map(|tasks| tasks.list()).unwrap_or_default();
    json_answer(StatusCode::OK, &TaskList { tasks: list })
}

pub async fn task(State(app): State<App>, Path(name): Path<String>) -> Answer {
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

pub async fn readyz(State(app): State<App>) -> Answer {
    if app.stopping.load(Ordering::Relaxed) {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping"));
    }
    if app.engine.has_ended() {
        return Err(engine::gone());
    }
    Ok("ready\n".into_response())
}

pub async fn metrics(State(app): State<App>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    let resident = machine::resident_bytes();
    let solves = app.engine.solves.as_ref().map_or(0, |solves| solves.open());
    (kind, app.metrics.text(app.engine.queued(), solves, resident)).into_response()
}

pub async fn docs(State(app): State<App>) -> impl IntoResponse {
    page::html(docs::page(&app.document))
}

pub async fn document(State(app): State<App>) -> Response {
    json_answer(StatusCode::OK, &*app.document)
}
