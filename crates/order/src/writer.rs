//! Gives orders their ids and writes them, one batch at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{Order, OrderId, OrderIdGenerator, Partition, Receipt, Region, Submission, Timestamp};
use kafka::{Delivery, Producer, Record, SendError};
use tokio::sync::{mpsc, oneshot, watch};

use crate::metrics::Metrics;

/// The most orders in one batch: bounds how long an order that just missed one waits.
const BATCH: usize = 1000;
/// An order that has waited for its batch this long is given up before it is written: the broker does not answer, and
/// the client must have its own answer within 6 s.
const PATIENCE: Duration = Duration::from_millis(500);
/// What is on its way when the service stops has this long to be acknowledged.
const FLUSH: Duration = Duration::from_secs(2);

/// An order that waits for its batch.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) submission: Submission,
    /// Headers of the request that go into the record, by name.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) queued: Instant,
    pub(crate) reply: oneshot::Sender<Result<Receipt, Failure>>,
}

/// Why there is no receipt.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The order is not in the log, for this reason.
    NotWritten(String),
    /// It may or may not be in the log.
    Unknown {
        /// Its id.
        order_id: OrderId,
        /// Why it is unknown.
        reason: String,
    },
}

/// Writes the orders of one partition.
pub(crate) struct Writer {
    name: String,
    partition: Partition,
    producer: watch::Receiver<Arc<Producer>>,
    jobs: mpsc::Receiver<Job>,
    metrics: Metrics,
}

impl Writer {
    pub(crate) fn new(
        name: String,
        partition: Partition,
        producer: watch::Receiver<Arc<Producer>>,
        jobs: mpsc::Receiver<Job>,
        metrics: Metrics,
    ) -> Self {
        Self {
            name,
            partition,
            producer,
            jobs,
            metrics,
        }
    }

    /// Writes until the queue is closed. `last` is the largest id that is in the log already.
    pub(crate) async fn run(mut self, last: Option<OrderId>) {
        let mut ids = OrderIdGenerator::new(self.partition.into(), last);
        let mut jobs = Vec::with_capacity(BATCH);
        while self.jobs.recv_many(&mut jobs, BATCH).await > 0 {
            let producer = Arc::clone(&self.producer.borrow_and_update());
            self.metrics.batch.observe(jobs.len() as f64);
            // All are handed over before the first is awaited: they share a request.
            let together = jobs.len();
            let sent: Vec<_> = jobs
                .drain(..)
                .filter_map(|job| self.send(&producer, &mut ids, job, together))
                .collect();
            for (order, reply, delivery) in sent {
                let outcome = delivery.await;
                self.settle(order, reply, outcome);
            }
        }
        let producer = Arc::clone(&self.producer.borrow());
        drop(self.producer);
        if let Some(producer) = Arc::into_inner(producer) {
            producer.close(FLUSH).await;
        }
    }

    /// Hands an order over to the producer; one that cannot be is answered at once.
    fn send(
        &self,
        producer: &Producer,
        ids: &mut OrderIdGenerator,
        job: Job,
        together: usize,
    ) -> Option<(Order, Reply, impl Future<Output = Result<Delivery, SendError>> + use<>)> {
        let Job {
            submission,
            headers,
            queued,
            reply,
        } = job;
        let refuse = |reply: Reply, reason: String| {
            self.metrics.rejected.inc();
            // An error means that the client has gone.
            let _ = reply.send(Err(Failure::NotWritten(reason)));
            None
        };
        if queued.elapsed() > PATIENCE {
            return refuse(
                reply,
                "kafka does not acknowledge the orders before this one".to_owned(),
            );
        }
        let order_id = match ids.next(Timestamp::now(), rand::random()) {
            Ok(order_id) => order_id,
            Err(error) => {
                tracing::warn!(service = self.name, %error, "an order is refused");
                return refuse(reply, error.to_string());
            }
        };
        let order = submission.into_order(order_id);
        let (key, value) = (order_id.to_string(), order.to_record());
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let record = Record {
            partition: self.partition.id(),
            key: Some(&key),
            value: &value,
            timestamp: order_id.time().unix_millis().cast_signed(),
            headers: &headers,
        };
        match producer.send(&record, together) {
            Ok(delivery) => Some((order, reply, delivery)),
            Err(error) => refuse(reply, error.to_string()),
        }
    }

    /// Tells the log and the client what became of an order.
    fn settle(&self, order: Order, reply: Reply, outcome: Result<Delivery, SendError>) {
        let (partition, region) = (self.partition, Region::from(self.partition));
        let (order_id, service) = (order.order_id, self.name.as_str());
        let answer = match outcome {
            Ok(Delivery { offset }) => {
                self.metrics.written.inc();
                tracing::info!(service, %order_id, partition = partition.id(), offset, %region, "order written");
                Ok(Receipt::new(order, partition, offset))
            }
            Err(error @ SendError::Rejected(_)) => {
                self.metrics.rejected.inc();
                tracing::warn!(service, %order_id, partition = partition.id(), %region, %error, "order not written");
                Err(Failure::NotWritten(error.to_string()))
            }
            Err(error @ SendError::Unknown(_)) => {
                self.metrics.unknown.inc();
                tracing::warn!(service, %order_id, partition = partition.id(), %region, %error, "order with unknown outcome");
                Err(Failure::Unknown {
                    order_id,
                    reason: error.to_string(),
                })
            }
        };
        // An error means that the client has gone; the order is in the log all the same.
        let _ = reply.send(answer);
    }
}

type Reply = oneshot::Sender<Result<Receipt, Failure>>;
