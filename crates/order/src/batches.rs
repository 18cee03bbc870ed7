//! What becomes of the submissions of a batch: which orders are written, and who is told what.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use domain::{
    BatchedSubmission, Drawn, IdempotencyKey, Order, OrderId, OrderIdGenerator, Partition, Receipt, Region, Submission,
    Timestamp,
};
use kafka::{Delivery, SendError};
use tokio::sync::oneshot;

use crate::keys::{Full, Keys, Known, State};
use crate::metrics::Metrics;

/// An order that has waited for its batch this long is refused: the broker does not acknowledge the batch before, and
/// the client must have its own answer within 6 s.
const MAX_WAIT: Duration = Duration::from_millis(500);

/// A submission that waits for its batch.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) submission: BatchedSubmission,
    pub(crate) queued: Instant,
    pub(crate) reply: Reply,
}

/// Where the answer to a submission goes.
pub(crate) type Reply = oneshot::Sender<Result<Written, Failure>>;

/// An order is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) receipt: Receipt,
    /// It was written for another submission with the same key.
    pub(crate) replayed: bool,
}

/// Why there is no receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The order is not in the log, for this reason.
    NotWritten(String),
    /// Its key came with another request: nothing was written.
    KeyReused,
    /// It may or may not be in the log.
    Unknown {
        /// Its id.
        order_id: OrderId,
        /// Why it is unknown.
        reason: String,
    },
}

/// An order in the form of its record, with the clients that wait for it: more than one when they sent the same key.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) order: Order,
    pub(crate) record_key: String,
    pub(crate) value: Vec<u8>,
    pub(crate) headers: Vec<(&'static str, String)>,
    idempotency_key: Option<IdempotencyKey>,
    /// An earlier attempt may be in the log.
    again: bool,
    replies: Vec<Reply>,
}

/// Makes batches of submissions, and settles them.
#[derive(Debug)]
pub(crate) struct Batches {
    service: String,
    partition: Partition,
    ids: OrderIdGenerator,
    keys: Keys,
    metrics: Metrics,
}

impl Batches {
    /// `last` is the largest id of this replica in the log, `keys` those that the log holds.
    pub(crate) fn new(
        service: &str,
        partition: Partition,
        last: Option<OrderId>,
        keys: Keys,
        metrics: Metrics,
    ) -> Self {
        Self {
            service: service.to_owned(),
            partition,
            ids: OrderIdGenerator::new(partition.into(), last),
            keys,
            metrics,
        }
    }

    /// The orders to write. A submission that needs no writing is answered at once.
    pub(crate) fn gather(&mut self, jobs: impl IntoIterator<Item = Job>) -> Vec<Outgoing> {
        self.keys.expire(Timestamp::now());
        let mut batch = Vec::new();
        for job in jobs {
            self.admit(&mut batch, job);
        }
        self.metrics.idempotency_keys.set(self.keys.len() as i64);
        batch
    }

    fn admit(&mut self, batch: &mut Vec<Outgoing>, job: Job) {
        let Job {
            submission: BatchedSubmission { headers, submission },
            queued,
            reply,
        } = job;
        if queued.elapsed() > MAX_WAIT {
            let reason = "kafka does not acknowledge the orders before this one: nothing was written";
            return self.refuse(reply, Failure::NotWritten(reason.to_owned()));
        }
        let key = headers.idempotency_key.clone().zip(headers.idempotency_drawn);
        let known = key
            .as_ref()
            .map_or(Known::New, |(key, drawn)| self.keys.look_up(key, *drawn, &submission));
        let (order, again) = match (known, &key) {
            (Known::Unknown(order), Some((key, _))) => {
                self.keys.settle(key, State::Writing);
                (order, true)
            }
            (Known::New | Known::Unknown(_), _) => match self.new_order(submission, key.as_ref()) {
                Ok(order) => (order, false),
                Err(reason) => return self.refuse(reply, Failure::NotWritten(reason)),
            },
            (Known::Writing(order_id), _) => {
                // One batch is on its way at a time: the order is in this one.
                if let Some(outgoing) = batch.iter_mut().find(|outgoing| outgoing.order.order_id == order_id) {
                    outgoing.replies.push(reply);
                }
                return;
            }
            (Known::Written(order, offset), _) => return self.replay(reply, order, offset),
            (Known::Reused, _) => return self.refuse(reply, Failure::KeyReused),
        };
        batch.push(Outgoing {
            record_key: order.order_id.to_string(),
            value: order.to_record(),
            order,
            headers: headers.into_pairs(),
            idempotency_key: key.map(|(key, _)| key),
            again,
            replies: vec![reply],
        });
    }

    /// Makes an order of a submission.
    ///
    /// # Errors
    /// Why nothing was written: the clock is wrong, or there are too many keys.
    fn new_order(&mut self, submission: Submission, key: Option<&(IdempotencyKey, Drawn)>) -> Result<Order, String> {
        let service = self.service.as_str();
        let order_id = self.ids.next(Timestamp::now(), rand::random()).map_err(|error| {
            tracing::warn!(service, %error, "an order is refused");
            error.to_string()
        })?;
        let order = submission.into_order(order_id);
        if let Some((key, drawn)) = key {
            self.keys.insert(key.clone(), *drawn, order, State::Writing).map_err(|Full| {
                let most = self.keys.capacity();
                format!(
                    "{most} keys came within ten minutes, as many as MALL_ORDER__IDEMPOTENCY_KEYS allows: nothing was \
                     written"
                )
            })?;
        }
        Ok(order)
    }

    fn refuse(&self, reply: Reply, failure: Failure) {
        self.metrics.not_written.inc();
        // An error means that the client has gone.
        let _ = reply.send(Err(failure));
    }

    /// Answers with an order that is in the log already.
    fn replay(&self, reply: Reply, order: Order, offset: i64) {
        let (service, partition, order_id) = (self.service.as_str(), self.partition, order.order_id);
        let region = Region::from(partition);
        self.metrics.replayed.inc();
        tracing::info!(service, %order_id, partition = partition.id(), offset, %region, "order was written before");
        let _ = reply.send(Ok(Written {
            receipt: Receipt::new(order, partition, offset),
            replayed: true,
        }));
    }

    /// Tells the log and the clients what became of the orders of a batch.
    pub(crate) fn settle(&mut self, batch: Vec<Outgoing>, outcomes: Vec<Result<Delivery, SendError>>) {
        for (outgoing, outcome) in batch.into_iter().zip(outcomes) {
            let answer = self.answer(&outgoing, outcome);
            if let Some(key) = &outgoing.idempotency_key {
                let state = match &answer {
                    Ok(receipt) => State::Written(receipt.offset),
                    Err(Failure::Unknown { .. }) => State::Unknown,
                    Err(Failure::NotWritten(_) | Failure::KeyReused) => State::NotWritten,
                };
                self.keys.settle(key, state);
            }
            for (index, reply) in outgoing.replies.into_iter().enumerate() {
                let replayed = index > 0;
                let written = answer.clone().map(|receipt| Written { receipt, replayed });
                // An error means that the client has gone; the order is in the log all the same.
                let _ = reply.send(written);
            }
        }
    }

    fn answer(&self, outgoing: &Outgoing, outcome: Result<Delivery, SendError>) -> Result<Receipt, Failure> {
        let (partition, region) = (self.partition, Region::from(self.partition));
        let (order_id, service) = (outgoing.order.order_id, self.service.as_str());
        match outcome {
            Ok(Delivery { offset }) => {
                self.metrics.written.inc();
                tracing::info!(service, %order_id, partition = partition.id(), offset, %region, "order written");
                Ok(Receipt::new(outgoing.order, partition, offset))
            }
            // With an earlier attempt whose outcome is unknown, this says nothing of the order.
            Err(error @ SendError::NotWritten(_)) if !outgoing.again => {
                self.metrics.not_written.inc();
                tracing::warn!(service, %order_id, partition = partition.id(), %region, %error, "order not written");
                Err(Failure::NotWritten(error.to_string()))
            }
            Err(error) => {
                self.metrics.unknown.inc();
                tracing::warn!(service, %order_id, partition = partition.id(), %region, %error, "order with unknown outcome");
                Err(Failure::Unknown {
                    order_id,
                    reason: error.to_string(),
                })
            }
        }
    }
}
