//! Passes a question on to another service, and its answer back.

use std::time::Duration;

use poem::Response;
use poem::http::StatusCode;
use poem::http::uri::Authority;
use tokio::time::timeout;

use super::{Address, Answer, NoAnswer};
use crate::Problem;

/// Asks the service with this name for a path, over a connection of its own. Its answer is passed back as it is.
///
/// # Errors
/// 503 when the service is out of reach, and 504 when it has not answered within `deadline`.
pub async fn forward(service: &str, host: &Authority, path: &str, deadline: Duration) -> Result<Response, Problem> {
    let late = |_| {
        let detail = format!("{service} has not answered within {} s: ask again", deadline.as_secs());
        Problem::new(StatusCode::GATEWAY_TIMEOUT, detail)
    };
    let away = |reason: String| Problem::unavailable(format!("{service}: out of reach ({reason})"));
    let Answer { status, body } = timeout(deadline, ask(host, path)).await.map_err(late)?.map_err(away)?;
    let content_type = if status == StatusCode::OK {
        "application/json"
    } else {
        "application/problem+json"
    };
    Ok(Response::builder().status(status).content_type(content_type).body(body))
}

async fn ask(host: &Authority, path: &str) -> Result<Answer, String> {
    let mut address = Address::new(host.clone());
    let mut connection = address.connect().await.map_err(|error| format!("{error:#}"))?;
    connection.send(address.get(path)).await.map_err(NoAnswer::into_reason)
}
