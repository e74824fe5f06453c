//! The page for people: draw a task, watch it being answered. Plain files in the binary, no
//! framework and nothing from the network; what they may load and ask is said in their headers.

use axum::http::{HeaderName, header};
use axum::response::IntoResponse;

/// Only this server's own files and interface.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// One module, so that the browser asks once.
const SCRIPT: &str = concat!(
    include_str!("grid.js"),
    include_str!("task.js"),
    include_str!("refine.js"),
    include_str!("solve.js"),
    include_str!("page.js"),
);

fn file(kind: &'static str, text: impl Into<String>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind), (POLICY_HEADER, POLICY)], text.into())
}

const POLICY_HEADER: HeaderName = header::CONTENT_SECURITY_POLICY;

pub async fn index() -> impl IntoResponse {
    html(include_str!("index.html"))
}

pub async fn script() -> impl IntoResponse {
    file("text/javascript; charset=utf-8", SCRIPT)
}

pub async fn style() -> impl IntoResponse {
    file("text/css; charset=utf-8", include_str!("page.css"))
}

/// Any other page of this server.
pub fn html(text: impl Into<String>) -> impl IntoResponse {
    file("text/html; charset=utf-8", text)
}
