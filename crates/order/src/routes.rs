//! `POST /submit-order` and `POST /submit-orders` of order-N.

use std::sync::Arc;
use std::time::Instant;

use domain::{BatchedSubmission, Partition, Receipt, RecordHeaders, SubmissionError, SubmissionReply, json};
use poem::http::{HeaderValue, StatusCode};
use poem::web::{Data, Json};
use poem::{Body, EndpointExt, Request, Route, handler};
use service::{Latch, Problem, http};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::batches::Job;

/// The largest body of `/submit-orders`, in bytes.
pub(crate) const BATCH_BODY_LIMIT: usize = BatchedSubmission::MAX_TOGETHER * BatchedSubmission::MAX_JSON_BYTES;

/// The state that the handlers share.
pub(crate) struct State {
    name: String,
    partition: Partition,
    queue: mpsc::Sender<Job>,
    latch: Latch,
}

type Reply = oneshot::Receiver<SubmissionReply<Receipt>>;

pub(crate) fn routes(state: State) -> Route {
    let state = Arc::new(state);
    Route::new()
        .at("/submit-order", http::post(submit_order.data(Arc::clone(&state))))
        .at("/submit-orders", http::post(submit_orders.data(state)))
}

#[handler]
async fn submit_order(
    request: &Request,
    body: Body,
    Data(state): Data<&Arc<State>>,
) -> Result<Json<Receipt>, poem::Error> {
    let header = |name| request.headers().get_all(name).iter().map(HeaderValue::as_bytes);
    let headers = RecordHeaders::read(header).map_err(|error| bad_request(error.to_string()))?;
    let body = http::read_body(request, body, http::BODY_LIMIT).await?;
    let submission = json::from_object(&body).map_err(unexpected)?;
    match answer(state.enqueue(BatchedSubmission { headers, submission })).await {
        SubmissionReply::Receipt(receipt) | SubmissionReply::Replayed(receipt) => Ok(Json(receipt)),
        SubmissionReply::Error(error) => Err(problem(error).into()),
    }
}

/// Takes an array of submissions; what becomes of one says nothing of the others.
#[handler]
async fn submit_orders(
    request: &Request,
    body: Body,
    Data(state): Data<&Arc<State>>,
) -> Result<Json<Vec<SubmissionReply<Receipt>>>, poem::Error> {
    let body = http::read_body(request, body, BATCH_BODY_LIMIT).await?;
    let batch: Vec<BatchedSubmission> = serde_json::from_slice(&body).map_err(unexpected)?;
    let (most, found) = (BatchedSubmission::MAX_TOGETHER, batch.len());
    if found > most {
        return Err(bad_request(format!("expected at most {most} submissions, found {found}")).into());
    }
    // All are in the queue before the first is awaited: the writer takes them together.
    let queued: Vec<_> = batch.into_iter().map(|submission| state.enqueue(submission)).collect();
    let mut answers = Vec::with_capacity(found);
    for reply in queued {
        answers.push(answer(reply).await);
    }
    Ok(Json(answers))
}

impl State {
    pub(crate) fn new(name: &str, partition: Partition, queue: mpsc::Sender<Job>, latch: Latch) -> Self {
        Self {
            name: name.to_owned(),
            partition,
            queue,
            latch,
        }
    }

    /// Gives a submission to the writer.
    ///
    /// # Errors
    /// When it is for another partition, or cannot be written now.
    fn enqueue(&self, submission: BatchedSubmission) -> Result<Reply, SubmissionError> {
        let partition = submission.submission.partition;
        if partition != self.partition {
            let reason = format!("this is {}, the order is for partition {partition}", self.name);
            return Err(SubmissionError::not_written(421, reason));
        }
        if let Some(reason) = self.latch.reason() {
            return Err(SubmissionError::not_written(503, reason));
        }
        let (reply, answer) = oneshot::channel();
        let job = Job {
            submission,
            queued: Instant::now(),
            reply,
        };
        self.queue.try_send(job).map_err(|error| {
            let reason = match error {
                TrySendError::Full(_) => "too many orders are waiting to be written",
                TrySendError::Closed(_) => "stopping",
            };
            SubmissionError::not_written(503, reason)
        })?;
        Ok(answer)
    }
}

/// Waits for the answer of the writer.
async fn answer(queued: Result<Reply, SubmissionError>) -> SubmissionReply<Receipt> {
    let stopped = |_| {
        let reason = "the service stopped while it wrote the order";
        SubmissionReply::Error(SubmissionError::unknown(None, reason))
    };
    match queued {
        Ok(reply) => reply.await.unwrap_or_else(stopped),
        Err(error) => SubmissionReply::Error(error),
    }
}

fn problem(error: SubmissionError) -> Problem {
    let SubmissionError {
        status,
        detail,
        order_id,
    } = error;
    match StatusCode::from_u16(status) {
        Ok(StatusCode::SERVICE_UNAVAILABLE) => Problem::unavailable(detail.to_string()),
        Ok(status) if status != StatusCode::GATEWAY_TIMEOUT => Problem::new(status, detail.to_string()),
        _ => Problem::unknown_outcome(detail.to_string(), order_id.map(|id| id.to_string())),
    }
}

fn unexpected(error: serde_json::Error) -> Problem {
    bad_request(format!("expected what the gateway posts: {error}"))
}

fn bad_request(error: String) -> Problem {
    Problem::bad_request(format!("{error}: nothing was written"))
}

#[cfg(test)]
mod tests {
    use domain::{Submission, UserId};
    use service::Context;
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn submission(partition: &str) -> BatchedSubmission {
        BatchedSubmission {
            headers: RecordHeaders::default(),
            submission: Submission {
                money: "7".parse().expect("money"),
                partition: serde_json::from_str(partition).expect("a partition"),
                time: 1,
                user_id: UserId::from_number(7),
            },
        }
    }

    #[tokio::test]
    async fn a_submission_is_refused_while_the_partition_is_not_writable_or_the_queue_is_full_or_it_is_of_another() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let context = Context::new("order-1", listener, CancellationToken::new());
        let latch = context.readiness.latch("no broker");
        let (queue, _jobs) = mpsc::channel(1);
        let partition = serde_json::from_str("1").expect("a partition");
        let state = State::new("order-1", partition, queue, latch.clone());
        let status = |partition| state.enqueue(submission(partition)).map_err(|error| error.status).err();
        assert_eq!(status("1"), Some(503));
        latch.release();
        assert_eq!(status("2"), Some(421));
        assert_eq!((status("1"), status("1")), (None, Some(503)));
    }
}
