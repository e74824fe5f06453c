//! The routes and what they answer. One table makes the router and the OpenAPI document.

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::routing::{MethodRouter, delete, get, post};

use super::app::App;
use super::problem::Problem;
use super::{guard, handlers, page, solving};

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
    /// Status codes of answers that are no problems.
    pub statuses: &'static [u16],
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
        statuses: &[200],
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
        statuses: &[200],
        gives: Gives::Text("text/html"),
        problems: &[],
        handler: || get(handlers::docs),
    },
    Route {
        method: "post",
        path: "/v1/refine",
        name: "init",
        summary: "Begin a refinement: an input grid and its puzzle in, a session out",
        takes: Some("Init"),
        statuses: &[201],
        gives: Gives::Json("State"),
        problems: &[400, 413, 415, 422, 429, 503],
        handler: || post(handlers::init),
    },
    Route {
        method: "post",
        path: "/v1/refine/{id}/step",
        name: "step",
        summary: "Run one ACT segment and answer the state after it",
        takes: None,
        statuses: &[200],
        gives: Gives::Json("State"),
        problems: &[404, 409, 503],
        handler: || post(handlers::step),
    },
    Route {
        method: "get",
        path: "/v1/refine/{id}",
        name: "state",
        summary: "The state, without running anything",
        takes: None,
        statuses: &[200],
        gives: Gives::Json("State"),
        problems: &[404, 503],
        handler: || get(handlers::state),
    },
    Route {
        method: "get",
        path: "/v1/refine/{id}/energy",
        name: "energy",
        summary: "1 - sigmoid(q_halt) of the last step: low when the answer is believed right",
        takes: None,
        statuses: &[200],
        gives: Gives::Json("Energy"),
        problems: &[404, 409, 503],
        handler: || get(handlers::energy),
    },
    Route {
        method: "delete",
        path: "/v1/refine/{id}",
        name: "halt",
        summary: "End a refinement and release its memory; answers the last state",
        takes: None,
        statuses: &[200],
        gives: Gives::Json("State"),
        problems: &[404, 503],
        handler: || delete(handlers::halt),
    },
    Route {
        method: "post",
        path: "/v1/solve",
        name: "solve",
        summary: "Solve a task: 202 and a place to ask how it goes; 200 if it ended within wait_s",
        takes: Some("Solve"),
        statuses: &[202, 200],
        gives: Gives::Json("Solving"),
        problems: &[400, 413, 415, 422, 429, 501],
        handler: || post(solving::begin),
    },
    Route {
        method: "get",
        path: "/v1/solve/{id}",
        name: "solving",
        summary: "How it goes; once it has ended, the answers with their votes",
        takes: None,
        statuses: &[200],
        gives: Gives::Json("Solving"),
        problems: &[404, 501],
        handler: || get(solving::look),
    },
    Route {
        method: "delete",
        path: "/v1/solve/{id}",
        name: "cancel",
        summary: "Cancel it, or drop its result; answers the last state",
        takes: None,
        statuses: &[200],
        gives: Gives::Json("Solving"),
        problems: &[404, 501],
        handler: || delete(solving::cancel),
    },
    Route {
        method: "get",
        path: "/v1/model",
        name: "model",
        summary: "What is served",
        takes: None,
        statuses: &[200],
        gives: Gives::Json("Model"),
        problems: &[],
        handler: || get(handlers::model),
    },
    Route {
        method: "get",
        path: "/v1/tasks",
        name: "tasks",
        summary: "Tasks of the model's data set, to try; empty where that is not there",
        takes: None,
        statuses: &[200],
        gives: Gives::Json("Tasks"),
        problems: &[],
        handler: || get(handlers::tasks),
    },
    Route {
        method: "get",
        path: "/v1/tasks/{name}",
        name: "task",
        summary: "One of them as ARC publishes it",
        takes: None,
        statuses: &[200],
        gives: Gives::Json("Task"),
        problems: &[404],
        handler: || get(handlers::task),
    },
    Route {
        method: "get",
        path: "/healthz",
        name: "healthz",
        summary: "The process is alive",
        takes: None,
        statuses: &[200],
        gives: Gives::Text("text/plain"),
        problems: &[],
        handler: || get(async || "ok\n"),
    },
    Route {
        method: "get",
        path: "/readyz",
        name: "readyz",
        summary: "New work is welcome: 503 while the server is stopping, 500 once the model is lost",
        takes: None,
        statuses: &[200],
        gives: Gives::Text("text/plain"),
        problems: &[500, 503],
        handler: || get(handlers::readyz),
    },
    Route {
        method: "get",
        path: "/metrics",
        name: "metrics",
        summary: "Counts in Prometheus' text format",
        takes: None,
        statuses: &[200],
        gives: Gives::Text("text/plain"),
        problems: &[],
        handler: || get(handlers::metrics),
    },
    Route {
        method: "get",
        path: "/openapi.json",
        name: "openapi",
        summary: "This document",
        takes: None,
        statuses: &[200],
        gives: Gives::Json("OpenApi"),
        problems: &[],
        handler: || get(handlers::document),
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
