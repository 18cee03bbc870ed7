//! `POST /submit-order` of order-N.

use std::sync::Arc;
use std::time::Instant;

use domain::Submission;
use poem::web::Data;
use poem::{Body, EndpointExt, IntoResponse, Request, Response, Route, handler};
use service::{Latch, Problem, http};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::writer::{Failure, Job};

/// Request headers that go into the record.
const RECORD_HEADERS: [&str; 2] = ["idempotency-key", "traceparent"];

/// What the handlers share.
pub(crate) struct State {
    queue: mpsc::Sender<Job>,
    latch: Latch,
}

impl State {
    pub(crate) fn new(queue: mpsc::Sender<Job>, latch: Latch) -> Self {
        Self { queue, latch }
    }
}

pub(crate) fn routes(state: State) -> Route {
    Route::new().at("/submit-order", http::post(submit_order.data(Arc::new(state))))
}

#[handler]
async fn submit_order(request: &Request, body: Body, Data(state): Data<&Arc<State>>) -> Result<Response, poem::Error> {
    let body = http::read_body(request, body).await?;
    let submission: Submission = serde_json::from_slice(&body).map_err(|error| {
        Problem::bad_request(format!(
            "expected an order as the gateway posts it: {error}: nothing was written"
        ))
    })?;
    if let Some(reason) = state.latch.reason() {
        return Err(Problem::unavailable(format!("{reason}: nothing was written")).into());
    }
    let header = |name: &'static str| request.header(name).map(|value| (name, value.to_owned()));
    let headers = RECORD_HEADERS.into_iter().filter_map(header).collect();
    let (reply, answer) = oneshot::channel();
    state
        .queue
        .try_send(Job {
            submission,
            headers,
            queued: Instant::now(),
            reply,
        })
        .map_err(|error| {
            let reason = match error {
                TrySendError::Full(_) => "too many orders are waiting to be written",
                TrySendError::Closed(_) => "stopping",
            };
            Problem::unavailable(format!("{reason}: nothing was written"))
        })?;
    match answer.await {
        Ok(Ok(receipt)) => {
            let body = serde_json::to_vec(&receipt).expect("integers and strings are JSON");
            Ok(Response::builder().content_type("application/json").body(body))
        }
        Ok(Err(Failure::NotWritten(reason))) => Ok(Problem::unavailable(reason).into_response()),
        Ok(Err(Failure::Unknown { order_id, reason })) => {
            Ok(Problem::unknown_outcome(reason, Some(order_id.to_string())).into_response())
        }
        // The writer ended with the order in its hands.
        Err(_) => Ok(Problem::unknown_outcome("the service stopped while it wrote the order", None).into_response()),
    }
}
