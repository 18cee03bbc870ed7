//! Writes the orders of one partition, one batch at a time.

use std::time::Duration;

use domain::{OrderId, Partition};
use kafka::{Delivery, Producer, Record, SendError};
use tokio::sync::mpsc;

use crate::batches::{Batches, Job, Outgoing};
use crate::keys::Keys;
use crate::metrics::Metrics;

/// The most orders in one batch: bounds how long an order that just missed one waits.
const BATCH: usize = 1000;
/// What is on its way when the service stops has this long to be acknowledged.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What the log held when the service started.
#[derive(Debug)]
pub(crate) struct Tail {
    /// The largest id of this replica.
    pub(crate) last_order_id: Option<OrderId>,
    /// The keys that are remembered.
    pub(crate) keys: Keys,
}

/// Writes the orders of one partition.
pub(crate) struct Writer {
    pub(crate) name: String,
    pub(crate) partition: Partition,
    pub(crate) producer: Producer,
    pub(crate) jobs: mpsc::Receiver<Job>,
    pub(crate) metrics: Metrics,
}

impl Writer {
    /// Writes until the queue is closed.
    pub(crate) async fn run(mut self, tail: Tail) {
        let Tail { last_order_id, keys } = tail;
        let mut batches = Batches::new(&self.name, self.partition, last_order_id, keys, self.metrics.clone());
        let mut jobs = Vec::with_capacity(BATCH);
        while self.jobs.recv_many(&mut jobs, BATCH).await > 0 {
            let batch = batches.gather(jobs.drain(..));
            if !batch.is_empty() {
                let outcomes = self.write(&batch).await;
                batches.settle(batch, outcomes);
            }
        }
        self.producer.close(CLOSE_TIMEOUT).await;
    }

    async fn write(&mut self, batch: &[Outgoing]) -> Vec<Result<Delivery, SendError>> {
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
                key: Some(&outgoing.record_key),
                value: &outgoing.value,
                timestamp: outgoing.order.order_id.time().unix_millis().cast_signed(),
                headers,
            })
            .collect();
        self.producer.send_batch(&records).await
    }
}
