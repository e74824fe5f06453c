//! A model behind HTTP: iterative refinement, one ACT segment per request.
//!
//! `page/` the page for people · `docs.rs` the routes for people · `tasks.rs` tasks to try ·
//! `engine.rs` the one thread that owns the model · `session.rs` a refinement that is under way ·
//! `api.rs` routes and what they answer · `guard.rs` what every request goes through · `openapi.rs`,
//! `schemas.rs` the routes described · `problem.rs` errors (RFC 9457) · `metrics.rs` counts for Prometheus · `listen.rs`
//! connections and the end.

mod api;
mod docs;
mod engine;
mod guard;
mod listen;
mod metrics;
mod openapi;
mod page;
mod problem;
mod schemas;
mod session;
mod tasks;

use std::net::IpAddr;
use std::time::Duration;

pub use engine::Served;
pub use listen::serve;

/// Where to listen, and what a client may take.
#[derive(Clone, Debug)]
pub struct Options {
    pub host: IpAddr,
    /// 0: any free one.
    pub port: u16,
    /// Largest body of a request in bytes.
    pub max_body: usize,
    /// Most time for a request's headers, for its body, and for its answer.
    pub timeout: Duration,
    /// Connections at once; more wait to be accepted.
    pub max_connections: usize,
    /// Requests that wait for the model; more are refused with 503.
    pub max_queue: usize,
    /// Refinements at once; more are refused with 429.
    pub max_sessions: usize,
    /// A refinement that nobody asked for during this time is released.
    pub session_idle: Duration,
    /// After a signal: time for requests under way.
    pub grace: Duration,
}
