//! Writes the orders of one partition, one batch at a time.

use std::time::Duration;

use domain::Partition;
use kafka::{Delivery, Producer, Record, SendError};
use tokio::sync::mpsc;

use crate::Now;
use crate::batches::{Batches, Job, Outgoing};
use crate::metrics::Metrics;
use crate::recovery::Tail;

/// The most orders in one batch: bounds how long an order that just missed one waits.
const MAX_BATCH: usize = 1000;
/// Timeout of the last records when the service stops.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

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
        let mut batches = Batches::new(&self.name, self.partition, tail, self.metrics.clone());
        let mut jobs = Vec::with_capacity(MAX_BATCH);
        while self.jobs.recv_many(&mut jobs, MAX_BATCH).await > 0 {
            let batch = batches.gather(jobs.drain(..), Now::new());
            if !batch.is_empty() {
                let outcomes = self.write(&batch).await;
                batches.settle(batch, outcomes, Now::new());
            }
        }
        self.producer.close(CLOSE_TIMEOUT).await;
    }

    async fn write(&mut self, batch: &[Outgoing]) -> Vec<Result<Delivery, SendError>> {
        self.metrics.batch.observe(batch.len() as f64);
        let headers: Vec<Vec<(&str, &str)>> = batch.iter().map(|order| order.headers.pairs().collect()).collect();
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
