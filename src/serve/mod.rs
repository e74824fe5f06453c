//! A model behind HTTP: refinement, one ACT segment per request, and whole tasks solved.
//!
//! `served.rs` what is served · `engine.rs` the one thread that owns the models · `ask.rs`,
//! `refinements.rs`, `session.rs` refinements that are under way · `solves.rs`, `job.rs`,
//! `solve_view.rs` tasks that wait, are being solved and were · `app.rs` what handlers share ·
//! `api.rs` the routes · `handlers.rs`, `solving.rs` what they answer · `guard.rs` what every
//! request goes through · `openapi.rs`, `schemas.rs` the routes described · `docs.rs` the same for
//! people · `page/` the page to draw on · `tasks.rs` tasks to try · `problem.rs` errors (RFC 9457)
//! · `metrics.rs` counts for Prometheus · `listen.rs` connections and the end.

mod api;
mod app;
mod ask;
mod docs;
mod engine;
mod guard;
mod handlers;
mod job;
mod listen;
mod media;
mod metrics;
mod openapi;
mod page;
mod problem;
mod refinements;
mod schemas;
mod served;
mod session;
mod solve_view;
mod solves;
mod solving;
mod tasks;

use std::net::IpAddr;
use std::time::Duration;

pub use listen::serve;
pub use served::Served;

/// Where to listen, and what a client may take.
#[derive(Clone, Debug)]
pub struct Options {
    pub host: IpAddr,
    /// 0: any free one.
    pub port: u16,
    /// Largest body of a request in bytes.
    pub max_body: usize,
    /// Most time for a request's headers, for its body, for its answer, and without the client
    /// taking anything of that.
    pub timeout: Duration,
    /// Connections at once; more wait to be accepted.
    pub max_connections: usize,
    /// Requests that wait for the model; more are refused with 503.
    pub max_queue: usize,
    /// Refinements at once; more are refused with 429.
    pub max_sessions: usize,
    /// A refinement or a solved task that nobody asked for during this time is released.
    pub session_idle: Duration,
    /// Tasks that wait or are being solved; more are refused with 429.
    pub max_solves: usize,
    /// Most time that solving one may take.
    pub solve_budget: Duration,
    /// After a signal: time for requests under way.
    pub grace: Duration,
}
