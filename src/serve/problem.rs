//! Errors as `application/problem+json` (RFC 9457): `detail` says what, where and what to do.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

pub const CONTENT_TYPE: &str = "application/problem+json";

/// What went wrong, where, and what to do.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub struct Body {
    r#type: &'static str,
    title: Option<&'static str>,
    status: u16,
    detail: String,
}

#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    retry_after_s: Option<u64>,
    accepts_coding: bool,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), retry_after_s: None, accepts_coding: false }
    }

    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// The coding of the body was wrong: the answer says which one would do (RFC 9110, 15.5.16).
    pub fn wrong_coding(self) -> Self {
        Self { accepts_coding: true, ..self }
    }
}

/// What the engine could not do is no fault of the client.
impl From<crate::Error> for Problem {
    fn from(e: crate::Error) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            r#type: "about:blank",
            title: self.status.canonical_reason(),
            status: self.status.as_u16(),
            detail: self.detail,
        };
        let head = [(header::CONTENT_TYPE, CONTENT_TYPE)];
        let body = serde_json::to_string(&body).unwrap_or_default();
        let mut response = (self.status, head, body).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.accepts_coding {
            let plain = HeaderValue::from_static("identity");
            response.headers_mut().insert(header::ACCEPT_ENCODING, plain);
        }
        response
    }
}
