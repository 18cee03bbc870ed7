//! Bodies of requests that can be read to their end by the server, and of responses that tell when they end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use super::metrics::InFlight;

/// The type of poem's bodies.
pub(super) type BoxBody = http_body_util::combinators::BoxBody<Bytes, io::Error>;

/// A client has this long to send a body, from the end of the head.
pub(crate) const BODY_DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of a body that are read and thrown away, so that its client sees the answer: one that is cut off while it
/// sends does not.
const DISCARD_LIMIT: usize = 32 * 1024 * 1024;

/// The body of a request. Clones share it: the endpoint reads one, the server what is left.
#[derive(Clone)]
pub(super) struct RequestBody {
    shared: Arc<Mutex<Shared>>,
    deadline: Instant,
}

struct Shared {
    body: Incoming,
    begun: bool,
}

impl RequestBody {
    pub(super) fn new(body: Incoming) -> Self {
        Self {
            shared: Arc::new(Mutex::new(Shared { body, begun: false })),
            deadline: Instant::now() + BODY_DEADLINE,
        }
    }

    /// Whether somebody has begun to read it.
    pub(super) fn is_begun(&self) -> bool {
        self.shared.lock().begun
    }

    /// Reads what is left, at most [`DISCARD_LIMIT`] and until the deadline. Returns whether that was all.
    pub(super) async fn discard(mut self) -> bool {
        let deadline = self.deadline;
        let rest = async {
            let mut discarded = 0;
            while let Some(frame) = self.frame().await {
                discarded += frame?.data_ref().map_or(0, Bytes::len);
                if discarded > DISCARD_LIMIT {
                    return Ok(false);
                }
            }
            io::Result::Ok(true)
        };
        matches!(timeout_at(deadline, rest).await, Ok(Ok(true)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let mut shared = self.shared.lock();
        shared.begun = true;
        Pin::new(&mut shared.body).poll_frame(context).map_err(io::Error::other)
    }

    fn is_end_stream(&self) -> bool {
        self.shared.lock().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.shared.lock().body.size_hint()
    }
}

impl From<RequestBody> for poem::Body {
    fn from(body: RequestBody) -> Self {
        BoxBody::new(body).into()
    }
}

/// The body of a response, until whose end the request is in flight.
pub(super) struct ResponseBody {
    body: BoxBody,
    _in_flight: InFlight,
}

impl ResponseBody {
    pub(super) fn new(body: BoxBody, in_flight: InFlight) -> Self {
        Self {
            body,
            _in_flight: in_flight,
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
