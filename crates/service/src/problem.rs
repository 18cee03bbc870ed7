//! Errors as clients get them: RFC 9457.

use poem::http::{StatusCode, header};
use poem::{IntoResponse, Response};
use serde::Serialize;

/// A client may repeat a request that got 503 after this time.
const RETRY_AFTER_SECONDS: u64 = 1;

/// An error reply. Its type is `about:blank`: the status says what went wrong, and the detail is for people.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    order_id: Option<String>,
    allow: Option<&'static str>,
}

impl Problem {
    /// A problem with a detail: what was expected, what was found, what to do.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            order_id: None,
            allow: None,
        }
    }

    /// 400.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 503: nothing was done, and the client may try again in a second.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// 504: the outcome is unknown. `order_id` is the order that may have been written, where there is one.
    pub fn unknown_outcome(detail: impl Into<String>, order_id: Option<String>) -> Self {
        Self {
            order_id,
            ..Self::new(StatusCode::GATEWAY_TIMEOUT, detail)
        }
    }

    /// 405.
    pub(crate) fn method_not_allowed(allow: &'static str, found: &str) -> Self {
        let detail = format!("expected {allow}, found {found}");
        Self {
            allow: Some(allow),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, detail)
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The text for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: &'a str,
            title: &'a str,
            status: u16,
            detail: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            order_id: Option<&'a str>,
        }
        let body = Body {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            order_id: self.order_id.as_deref(),
        };
        let body = serde_json::to_vec(&body).expect("strings and integers are JSON");
        let mut response = Response::builder()
            .status(self.status)
            .content_type("application/problem+json")
            .body(body);
        let headers = response.headers_mut();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, header::HeaderValue::from_static(allow));
        }
        response
    }
}

impl From<Problem> for poem::Error {
    fn from(problem: Problem) -> Self {
        Self::from_response(problem.into_response())
    }
}
