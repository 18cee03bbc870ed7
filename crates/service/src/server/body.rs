//! Bodies of requests, read whole before the handler runs.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use poem::http::StatusCode;
use tokio::time::timeout;

use crate::Problem;

/// A client has this long to send a body, from the end of the head.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum bytes of a body that are read and thrown away: a client that is cut off while it sends misses the answer.
const DISCARD_LIMIT: usize = 32 * 1024 * 1024;

/// A body that was not read, for the handler that asks for it.
#[derive(Clone, Debug)]
pub(crate) struct Unread {
    pub(crate) problem: Problem,
    /// `true` if the next request follows on the connection.
    pub(super) is_at_end: bool,
}

/// Reads a body of at most `limit` bytes. The rest of a larger one is thrown away, unless its client awaits
/// `100 Continue` and so has not sent it.
///
/// # Errors
/// 413, 408, or 400 when the client breaks off.
pub(super) async fn read(body: Incoming, limit: usize, awaits_continue: bool) -> Result<Vec<u8>, Unread> {
    let refuse = |problem, is_at_end| Err(Unread { problem, is_at_end });
    let length = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if awaits_continue && length > limit {
        return refuse(too_large(limit), false);
    }
    match timeout(BODY_TIMEOUT, collect(body, limit)).await {
        Ok(Ok((bytes, length))) if length <= limit => Ok(bytes),
        Ok(Ok((_, length))) => refuse(too_large(limit), length <= DISCARD_LIMIT),
        Ok(Err(error)) => {
            let detail = format!("the body broke off: {error}: nothing was written");
            refuse(Problem::bad_request(detail), false)
        }
        Err(_) => {
            let seconds = BODY_TIMEOUT.as_secs();
            let detail = format!("expected the body within {seconds} s: nothing was written");
            refuse(Problem::new(StatusCode::REQUEST_TIMEOUT, detail), false)
        }
    }
}

pub(crate) fn too_large(limit: usize) -> Problem {
    let detail = format!("expected a body of at most {limit} bytes: nothing was written");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// Reads to the end of a body, or over [`DISCARD_LIMIT`]. Returns the first `limit` bytes or fewer, and the length.
async fn collect(mut body: Incoming, limit: usize) -> hyper::Result<(Vec<u8>, usize)> {
    let (mut bytes, mut length) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        // Trailers mean nothing here.
        let Ok(data) = frame?.into_data() else { continue };
        length += data.len();
        if length <= limit {
            bytes.extend_from_slice(&data);
        }
        if length > DISCARD_LIMIT {
            break;
        }
    }
    Ok((bytes, length))
}
