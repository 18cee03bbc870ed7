//! Makes batches of orders from submissions, and answers each submission.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use domain::{
    BatchedSubmission, IdempotencyKey, Mark, Order, OrderIdGenerator, Partition, Receipt, RecordHeaders, Region,
    RequestText, SubmissionError, SubmissionReply,
};
use kafka::{Delivery, SendError};
use tokio::sync::oneshot;

use crate::Now;
use crate::keys::{Found, Keys};
use crate::metrics::Metrics;
use crate::recovery::Tail;

/// A submission that has waited for its batch this long is refused: the broker does not acknowledge the batch before, and
/// the client must have its answer within 6 s.
const MAX_WAIT: Duration = Duration::from_millis(500);

/// An order that is acknowledged later than this has an unknown outcome. It is written within 5 s, unless this process was
/// frozen; repository-N ships orders that are up to five minutes late.
const MAX_AGE: Duration = Duration::from_secs(60);

/// Why a submission with a known key is refused.
const KEY_REUSED: &str = "the Idempotency-Key came with another request within the last ten minutes";

/// A submission that waits for its batch.
#[derive(Debug)]
pub struct Job {
    /// The submission.
    pub submission: BatchedSubmission,
    /// When it came.
    pub queued: Instant,
    /// Takes the answer.
    pub reply: Reply,
}

/// Takes the answer to a submission.
pub type Reply = oneshot::Sender<SubmissionReply<Receipt>>;

/// An order in the form of its record, with the clients that wait for it: more than one if they sent the same key.
#[derive(Debug)]
pub struct Outgoing {
    /// The order.
    pub order: Order,
    /// The key of its record.
    pub record_key: String,
    /// The value of its record.
    pub value: Vec<u8>,
    /// The headers of its record.
    pub headers: RecordHeaders,
    replies: Vec<Reply>,
}

/// Makes batches of orders, and answers their submissions.
///
/// Every attempt is an order with an id of its own. Only a submission whose key is known gets the receipt of an earlier
/// order, because its order is in the log.
#[derive(Debug)]
pub struct Batches {
    service: String,
    partition: Partition,
    ids: OrderIdGenerator,
    keys: Keys,
    metrics: Metrics,
}

impl Batches {
    /// Continues after the end of the partition.
    pub fn new(service: &str, partition: Partition, tail: Tail, metrics: Metrics) -> Self {
        Self {
            service: service.to_owned(),
            partition,
            ids: OrderIdGenerator::new(partition.into(), tail.last_order_id),
            keys: tail.keys,
            metrics,
        }
    }

    /// Returns the orders to write. A submission that needs no writing is answered at once.
    pub fn gather(&mut self, jobs: impl IntoIterator<Item = Job>, now: Now) -> Vec<Outgoing> {
        self.keys.expire(now.monotonic);
        let (mut batch, mut keyed) = (Vec::new(), HashMap::new());
        for job in jobs {
            self.admit(&mut batch, &mut keyed, job, now);
        }
        self.metrics.idempotency_keys.set(self.keys.len() as i64);
        batch
    }

    /// `keyed` has the place in the batch of each order with a key.
    fn admit(&mut self, batch: &mut Vec<Outgoing>, keyed: &mut HashMap<IdempotencyKey, usize>, job: Job, now: Now) {
        let Job {
            submission: BatchedSubmission {
                mut headers,
                submission,
            },
            queued,
            reply,
        } = job;
        if now.monotonic.saturating_duration_since(queued) > MAX_WAIT {
            return self.refuse(reply, 503, "kafka does not acknowledge the orders before this one");
        }
        if let Some(key) = headers.idempotency_key.clone() {
            let set = || RequestText::new(Some(submission.money), Some(submission.user_id));
            let request = headers.idempotency_request.get_or_insert_with(set);
            match self.keys.find(&key, request) {
                Some(Found::Written(order, offset)) => return self.replay(reply, order, offset),
                Some(Found::OtherRequest) => return self.refuse(reply, 409, KEY_REUSED),
                None => {}
            }
            // The order of another submission with this key is written in this very batch.
            if let Some(same) = keyed.get(&key).and_then(|index: &usize| batch.get_mut(*index)) {
                if same.headers.idempotency_request.as_ref() != Some(request) {
                    return self.refuse(reply, 409, KEY_REUSED);
                }
                same.replies.push(reply);
                return;
            }
            keyed.insert(key, batch.len());
        }
        let order_id = match self.ids.next(now.wall) {
            Ok(order_id) => order_id,
            Err(error) => {
                tracing::warn!(service = self.service, %error, "an order is refused");
                return self.refuse(reply, 503, error);
            }
        };
        let order = submission.into_order(order_id);
        batch.push(Outgoing {
            record_key: order_id.to_string(),
            value: order.to_record(),
            order,
            headers,
            replies: vec![reply],
        });
    }

    fn refuse(&self, reply: Reply, status: u16, reason: impl fmt::Display) {
        self.metrics.not_written.inc();
        let error = SubmissionError::not_written(status, reason);
        // An error means that the client has gone.
        let _ = reply.send(SubmissionReply::Error(error));
    }

    /// Answers with an order that is in the log already.
    fn replay(&self, reply: Reply, order: Order, offset: i64) {
        let (service, partition, order_id) = (self.service.as_str(), self.partition, order.order_id);
        let region = Region::from(partition);
        self.metrics.replayed.inc();
        tracing::info!(service, %order_id, partition = partition.id(), offset, %region, "order was written before");
        let _ = reply.send(SubmissionReply::Replayed(Receipt::new(order, partition, offset)));
    }

    /// Logs the outcomes of a batch and answers its submissions.
    pub fn settle(&mut self, batch: Vec<Outgoing>, outcomes: Vec<Result<Delivery, SendError>>, now: Now) {
        for (outgoing, outcome) in batch.into_iter().zip(outcomes) {
            let age = now.wall.since(outgoing.order.order_id.time());
            let answer = match self.answer(outgoing.order, outcome) {
                // This process stood still: repository-N may find the order too late to ship it.
                Ok(receipt) if age > MAX_AGE => {
                    let reason = format!("the order was written {} s after it came", age.as_secs());
                    Err(SubmissionError::unknown(Some(receipt.order_id), reason))
                }
                answer => answer,
            };
            let headers = &outgoing.headers;
            let idempotency = headers
                .idempotency_key
                .as_ref()
                .zip(headers.idempotency_request.as_ref());
            if let (Some(idempotency), Ok(receipt)) = (idempotency, &answer) {
                let expiry = now.monotonic + Mark::SPAN;
                self.keys.insert(idempotency, outgoing.order, receipt.offset, expiry);
            }
            for (index, reply) in outgoing.replies.into_iter().enumerate() {
                let answer = match answer.clone() {
                    Ok(receipt) if index == 0 => SubmissionReply::Receipt(receipt),
                    Ok(receipt) => SubmissionReply::Replayed(receipt),
                    Err(error) => SubmissionReply::Error(error),
                };
                // An error means that the client has gone; the order is in the log all the same.
                let _ = reply.send(answer);
            }
        }
    }

    fn answer(&self, order: Order, outcome: Result<Delivery, SendError>) -> Result<Receipt, SubmissionError> {
        let (partition, region) = (self.partition, Region::from(self.partition));
        let (order_id, service) = (order.order_id, self.service.as_str());
        match outcome {
            Ok(Delivery { offset }) => {
                self.metrics.written.inc();
                tracing::info!(service, %order_id, partition = partition.id(), offset, %region, "order written");
                Ok(Receipt::new(order, partition, offset))
            }
            Err(error @ SendError::NotWritten(_)) => {
                self.metrics.not_written.inc();
                tracing::warn!(service, %order_id, partition = partition.id(), %region, %error, "order not written");
                Err(SubmissionError::not_written(503, error))
            }
            Err(error @ SendError::Unknown(_)) => {
                self.metrics.unknown.inc();
                tracing::warn!(service, %order_id, partition = partition.id(), %region, %error, "order with unknown outcome");
                Err(SubmissionError::unknown(Some(order_id), error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{Submission, UserId};
    use prometheus_client::registry::Registry;
    use rdkafka::error::{KafkaError, RDKafkaErrorCode};

    use super::*;

    type Answer = oneshot::Receiver<SubmissionReply<Receipt>>;

    fn batches() -> Batches {
        let partition: Partition = serde_json::from_str("1").expect("a partition");
        let metrics = Metrics::register(&mut Registry::default(), partition);
        Batches::new("order-1", partition, Tail::new(partition.into(), Now::new()), metrics)
    }

    /// A submission whose client has set the money.
    fn job(key: Option<&str>, money: i64) -> (Job, Answer) {
        let money = money.try_into().expect("money");
        let submission = Submission {
            money,
            partition: serde_json::from_str("1").expect("a partition"),
            time: 5,
            user_id: UserId::from_number(rand::random()),
        };
        let headers = RecordHeaders {
            idempotency_key: key.map(|key| key.to_owned().try_into().expect("a key")),
            idempotency_request: key.map(|_| RequestText::new(Some(money), None)),
            traceparent: None,
        };
        let (reply, answer) = oneshot::channel();
        let job = Job {
            submission: BatchedSubmission { headers, submission },
            queued: Instant::now(),
            reply,
        };
        (job, answer)
    }

    /// Gathers one submission. Returns the batch that is made of it, and its answer.
    fn gather(batches: &mut Batches, key: &str, money: i64) -> (Vec<Outgoing>, Answer) {
        let (job, answer) = job(Some(key), money);
        (batches.gather([job], Now::new()), answer)
    }

    fn write(batches: &mut Batches, batch: Vec<Outgoing>, outcome: Result<Delivery, SendError>) {
        let outcomes = vec![outcome; batch.len()];
        batches.settle(batch, outcomes, Now::new());
    }

    fn answered(mut answer: Answer) -> SubmissionReply<Receipt> {
        answer.try_recv().expect("an answer")
    }

    fn refused(answer: Answer) -> SubmissionError {
        match answered(answer) {
            SubmissionReply::Error(error) => error,
            reply => panic!("{reply:?}"),
        }
    }

    fn error() -> KafkaError {
        KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut)
    }

    #[test]
    fn a_known_key_is_answered_with_its_receipt_and_nothing_is_written() {
        let mut batches = batches();
        let (batch, answer) = gather(&mut batches, "k", 7);
        write(&mut batches, batch, Ok(Delivery { offset: 3 }));
        let SubmissionReply::Receipt(first) = answered(answer) else {
            panic!("not written")
        };
        let (batch, answer) = gather(&mut batches, "k", 7);
        assert!(batch.is_empty());
        assert_eq!(answered(answer), SubmissionReply::Replayed(first));
    }

    #[test]
    fn submissions_with_one_key_in_one_batch_are_one_record_and_all_get_its_receipt() {
        let mut batches = batches();
        let (jobs, answers): (Vec<_>, Vec<_>) = (0..100).map(|_| job(Some("k"), 7)).unzip();
        let (other, other_answer) = job(Some("k"), 8);
        let batch = batches.gather(jobs.into_iter().chain([other]), Now::new());
        assert_eq!(batch.len(), 1);
        assert_eq!(refused(other_answer).status, 409);
        write(&mut batches, batch, Ok(Delivery { offset: 3 }));
        let mut answers = answers.into_iter().map(answered);
        let Some(SubmissionReply::Receipt(first)) = answers.next() else {
            panic!("not written")
        };
        assert!(answers.all(|answer| answer == SubmissionReply::Replayed(first.clone())));
    }

    #[test]
    fn after_an_unknown_outcome_the_retry_is_an_order_with_an_id_of_its_own() {
        let mut batches = batches();
        let (batch, answer) = gather(&mut batches, "k", 7);
        let first = batch[0].order.order_id;
        write(&mut batches, batch, Err(SendError::Unknown(error())));
        let unknown = refused(answer);
        assert_eq!((unknown.status, unknown.order_id), (504, Some(first)));
        let (batch, answer) = gather(&mut batches, "k", 7);
        assert!(batch[0].order.order_id > first);
        let pairs: Vec<_> = batch[0].headers.pairs().collect();
        assert_eq!(pairs, [("idempotency-key", "k"), ("idempotency-request", "money=7")]);
        write(&mut batches, batch, Err(SendError::NotWritten(error())));
        assert_eq!(refused(answer).status, 503);
    }

    #[test]
    fn a_key_that_comes_with_another_request_is_refused() {
        let mut batches = batches();
        let (batch, _answer) = gather(&mut batches, "k", 7);
        write(&mut batches, batch, Ok(Delivery { offset: 3 }));
        let (batch, answer) = gather(&mut batches, "k", 8);
        assert!(batch.is_empty());
        assert_eq!(refused(answer).status, 409);
    }

    #[test]
    fn a_key_without_a_request_stands_for_all_fields_of_the_submission() {
        let mut batches = batches();
        let (mut job, _answer) = job(Some("k"), 7);
        job.submission.headers.idempotency_request = None;
        let user = job.submission.submission.user_id;
        let batch = batches.gather([job], Now::new());
        let request = batch[0].headers.idempotency_request.as_ref().expect("a request");
        assert_eq!(request.as_str(), format!("money=7&user_id={user}"));
    }

    #[test]
    fn a_submission_that_has_waited_too_long_is_refused() {
        let mut batches = batches();
        let (job, answer) = job(None, 7);
        let mut now = Now::new();
        now.monotonic += MAX_WAIT + Duration::from_millis(1);
        assert!(batches.gather([job], now).is_empty());
        assert_eq!(refused(answer).status, 503);
    }

    #[test]
    fn an_order_that_is_acknowledged_after_a_freeze_has_an_unknown_outcome() {
        let mut batches = batches();
        let (batch, answer) = gather(&mut batches, "k", 7);
        let mut now = Now::new();
        now.wall = now.wall + MAX_AGE + Duration::from_secs(1);
        batches.settle(batch, vec![Ok(Delivery { offset: 3 })], now);
        assert_eq!(refused(answer).status, 504);
        assert_eq!(batches.keys.len(), 0);
    }

    #[test]
    fn a_clock_that_steps_back_refuses_orders() {
        let mut batches = batches();
        let (batch, _answer) = gather(&mut batches, "a", 7);
        write(&mut batches, batch, Ok(Delivery { offset: 3 }));
        let mut now = Now::new();
        now.wall = now.wall - Duration::from_secs(60);
        let (jobs, answers): (Vec<_>, Vec<_>) = (0..2).map(|_| job(Some("k"), 7)).unzip();
        assert!(batches.gather(jobs, now).is_empty());
        for answer in answers {
            assert_eq!(refused(answer).status, 503);
        }
    }
}
