//! Gives orders their ids and writes them, one batch at a time.

use std::time::{Duration, Instant};

use domain::{Order, OrderId, OrderIdGenerator, Partition, Receipt, Region, Submission, Timestamp};
use kafka::{Delivery, Producer, Record, SendError};
use tokio::sync::{mpsc, oneshot};

use crate::metrics::Metrics;

/// The most orders in one batch: bounds how long an order that just missed one waits.
const BATCH: usize = 1000;
/// An order that has waited for its batch this long is refused: the broker does not acknowledge the batch before, and
/// the client must have its own answer within 6 s.
const MAX_WAIT: Duration = Duration::from_millis(500);
/// What is on its way when the service stops has this long to be acknowledged.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

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

/// Where the answer to an order goes.
type Reply = oneshot::Sender<Result<Receipt, Failure>>;

/// Writes the orders of one partition.
pub(crate) struct Writer {
    name: String,
    partition: Partition,
    producer: Producer,
    jobs: mpsc::Receiver<Job>,
    metrics: Metrics,
}

/// An order in the form of its record, with the client that waits for it.
struct Outgoing {
    order: Order,
    key: String,
    value: Vec<u8>,
    headers: Vec<(&'static str, String)>,
    reply: Reply,
}

impl Writer {
    pub(crate) fn new(
        name: String,
        partition: Partition,
        producer: Producer,
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
            let batch: Vec<Outgoing> = jobs.drain(..).filter_map(|job| self.accept(&mut ids, job)).collect();
            self.write(batch).await;
        }
        self.producer.close(CLOSE_TIMEOUT).await;
    }

    /// Gives an order its id; one that cannot be written is answered at once.
    fn accept(&self, ids: &mut OrderIdGenerator, job: Job) -> Option<Outgoing> {
        let Job {
            submission,
            headers,
            queued,
            reply,
        } = job;
        let id = if queued.elapsed() > MAX_WAIT {
            Err("kafka does not acknowledge the orders before this one: nothing was written".to_owned())
        } else {
            ids.next(Timestamp::now(), rand::random())
                .inspect_err(|error| tracing::warn!(service = self.name, %error, "an order is refused"))
                .map_err(|error| error.to_string())
        };
        let order_id = match id {
            Ok(order_id) => order_id,
            Err(reason) => {
                self.metrics.not_written.inc();
                // An error means that the client has gone.
                let _ = reply.send(Err(Failure::NotWritten(reason)));
                return None;
            }
        };
        let order = submission.into_order(order_id);
        Some(Outgoing {
            key: order_id.to_string(),
            value: order.to_record(),
            order,
            headers,
            reply,
        })
    }

    async fn write(&mut self, batch: Vec<Outgoing>) {
        self.metrics.batch.observe(batch.len() as f64);
        let headers: Vec<Vec<(&str, &str)>> = batch
            .iter()
            .map(|outgoing| {
                let headers = outgoing.headers.iter();
                headers.map(|(name, value)| (*name, value.as_str())).collect()
            })
            .collect();
        let records: Vec<Record<'_>> = batch
            .iter()
            .zip(&headers)
            .map(|(outgoing, headers)| Record {
                partition: self.partition.id(),
                key: Some(&outgoing.key),
                value: &outgoing.value,
                timestamp: outgoing.order.order_id.time().unix_millis().cast_signed(),
                headers,
            })
            .collect();
        let outcomes = self.producer.send_batch(&records).await;
        for (Outgoing { order, reply, .. }, outcome) in batch.into_iter().zip(outcomes) {
            self.settle(order, reply, outcome);
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
            Err(error @ SendError::NotWritten(_)) => {
                self.metrics.not_written.inc();
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
