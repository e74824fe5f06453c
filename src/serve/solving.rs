//! What `/v1/solve` answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::app::App;
use super::handlers::{Answer, json_answer, read};
use super::media;
use super::problem::Problem;
use super::solve_view::SolveView;
use super::solves::Solves;
use crate::data::task::Query;
use crate::data::{Pair, Task, combined};

/// How much of --timeout a request may wait for its answer.
const WAIT_SHARE: f64 = 0.9;

/// A task file of ARC, and what it may cost.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Solve {
    /// What the task is called.
    id: Option<String>,
    /// What some task files carry; serves where there is no id.
    name: Option<String>,
    /// Time for solving it, from when it begins; none: all of --solve-budget.
    #[schemars(range(min = 0))]
    budget_s: Option<f64>,
    /// Time to wait for its end, at most 0.9 of --timeout; who goes away meanwhile cancels it.
    /// None: answer at once.
    #[schemars(range(min = 0))]
    wait_s: Option<f64>,
    // Read by `Task`, which says which pair and cell is wrong.
    #[serde(rename = "train")]
    #[schemars(with = "Vec<Pair>")]
    _train: Value,
    #[serde(rename = "test")]
    #[schemars(with = "Vec<Query>")]
    _test: Value,
}

fn unprocessable(what: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, what)
}

fn solves(app: &App) -> Result<&Arc<Solves>, Problem> {
    app.engine.solves.as_ref().ok_or_else(|| {
        let what = "this server does not solve tasks; start it without --max-solves 0";
        Problem::new(StatusCode::NOT_IMPLEMENTED, what)
    })
}

fn seconds(name: &str, asked: f64, most: Duration) -> Result<Duration, Problem> {
    match Duration::try_from_secs_f64(asked) {
        Ok(time) if time <= most => Ok(time),
        _ => Err(unprocessable(format!(
            "{name}: expected seconds from 0 to {}, got {asked}",
            most.as_secs_f64()
        ))),
    }
}

pub async fn begin(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Answer {
    let solves = solves(&app)?;
    media::check_json(&headers)?;
    let body = match combined::tasks(&body) {
        Some(tasks) => only_task(tasks)?,
        None => body,
    };
    let asked: Solve = read(&headers, &body, "Solve")?;
    let task = Task::parse(asked.id.as_deref().or(asked.name.as_deref()).unwrap_or("task"), &body)
        .map_err(unprocessable)?;
    app.engine.check(&task).map_err(|what| unprocessable(format!("the task {what}")))?;
    let most = app.options.solve_budget;
    let budget = asked.budget_s.map_or(Ok(most), |s| seconds("budget_s", s, most))?;
    let most = app.options.timeout.mul_f64(WAIT_SHARE);
    let wait = asked.wait_s.map(|s| seconds("wait_s", s, most)).transpose()?;
    let id = solves.add(task, budget)?;
    app.engine.wake();
    let state = match wait {
        None => solves.state(&id),
        Some(limit) => solves.wait(&id, limit).await,
    };
    let state = state.ok_or_else(|| unknown(&id))?;
    let status = if state.ended() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut response = json_answer(status, &state);
    if let Ok(place) = format!("/v1/solve/{id}").parse() {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

/// Kaggle's form of several tasks, which may hold one here.
fn only_task(tasks: BTreeMap<String, Value>) -> Result<Bytes, Problem> {
    let count = tasks.len();
    let Some((id, mut task)) = tasks.into_iter().next().filter(|_| count == 1) else {
        return Err(unprocessable(format!(
            "the body holds {count} tasks by their ids: send one at a time, as {{\"train\": .., \"test\": ..}}"
        )));
    };
    task["id"] = id.into();
    Ok(task.to_string().into())
}

pub async fn look(State(app): State<App>, Path(id): Path<String>) -> Answer {
    found(&id, solves(&app)?.state(&id))
}

pub async fn cancel(State(app): State<App>, Path(id): Path<String>) -> Answer {
    found(&id, solves(&app)?.remove(&id))
}

fn found(id: &str, state: Option<SolveView>) -> Answer {
    Ok(json_answer(StatusCode::OK, &state.ok_or_else(|| unknown(id))?))
}

fn unknown(id: &str) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        format!(
            "there is no solve {id:?}: it was cancelled, its result was dropped after --session-idle, or it \
             never was; begin one with POST /v1/solve"
        ),
    )
}
