//! What handlers share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::Value;

use super::Options;
use super::engine::Handle;
use super::metrics::Metrics;

#[derive(Clone)]
pub struct App {
    pub engine: Handle,
    pub metrics: Arc<Metrics>,
    pub stopping: Arc<AtomicBool>,
    pub options: Arc<Options>,
    /// The OpenAPI document.
    pub document: Arc<Value>,
}
