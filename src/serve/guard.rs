//! What every request goes through: the host that it names, the size and the time of its body, the
//! time of its answer, security headers, counts.

use std::error::Error;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use super::app::App;
use super::problem::Problem;

const HEADERS: [(&str, &str); 4] = [
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
];

pub async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let method = match route {
        Some(_) => request.method().as_str().to_owned(),
        None => "any".into(),
    };
    let mut response = match admit(&app, request).await {
        Ok(request) => timeout(app.options.timeout, next.run(request)).await.unwrap_or_else(|_| {
            let what = format!(
                "no answer within {} s: the server is busy; ask again, or start it with a longer --timeout",
                app.options.timeout.as_secs_f64()
            );
            Problem::new(StatusCode::GATEWAY_TIMEOUT, what).into_response()
        }),
        Err(problem) => problem.into_response(),
    };
    for (name, value) in HEADERS {
        // A page has a policy of its own.
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    let route = route.as_deref().unwrap_or("other");
    app.metrics.request(&method, route, response.status().as_u16(), start.elapsed());
    response
}

/// The request with its body in memory.
async fn admit(app: &App, request: Request) -> Result<Request, Problem> {
    if app.options.host.is_loopback() && !names_loopback(request.headers()) {
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "the Host header must name localhost: this keeps web pages of other sites out",
        ));
    }
    let (parts, body) = request.into_parts();
    let limit = app.options.max_body;
    let announced = parts.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    let too_large = || {
        let what = format!("the body has more than {limit} bytes, the limit of --max-body");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, what)
    };
    if announced.and_then(|n| n.parse::<u64>().ok()).is_some_and(|n| n > limit as u64) {
        return Err(too_large());
    }
    let whole = Limited::new(body, limit).collect();
    let body = timeout(app.options.timeout, whole).await.map_err(|_| {
        Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")
    })?;
    let body = body.map_err(|e| match e.is::<LengthLimitError>() {
        true => too_large(),
        false => Problem::new(
            StatusCode::BAD_REQUEST,
            format!("the body is cut off, or not as the headers announce it: {}", root_cause(&*e)),
        ),
    })?;
    Ok(Request::from_parts(parts, Body::from(body.to_bytes())))
}

/// What was wrong in the first place, such as which part of a chunk.
fn root_cause(mut error: &(dyn Error + 'static)) -> String {
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// DNS rebinding: a page of another site reaches loopback under its own name.
fn names_loopback(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|known| name.eq_ignore_ascii_case(known))
}
