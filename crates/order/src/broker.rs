//! Whether partition N can be written to, and the last order id in it.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use domain::{OrderId, Ordinal, Partition};
use kafka::{Consumer, ProducerHealth};
use service::Latch;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::Config;

/// How often the state of the producer is looked at.
const INTERVAL: Duration = Duration::from_millis(500);
/// How often the broker is asked while all is well: finds a topic that was deleted.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// How many offsets at the end of the partition are searched for the last order id: more than records that are no
/// orders are likely to fill.
const TAIL_OFFSETS: i64 = 1000;

/// Looks after the producer, and holds the latch while the partition cannot be written to.
pub(crate) struct Broker {
    kafka: kafka::Config,
    name: String,
    ordinal: Ordinal,
    producer: ProducerHealth,
    latch: Latch,
}

impl Broker {
    pub(crate) fn new(config: &Config, name: &str, producer: ProducerHealth, latch: Latch) -> Self {
        Self {
            kafka: config.kafka.clone(),
            name: name.to_owned(),
            ordinal: config.ordinal,
            producer,
            latch,
        }
    }

    fn partition(&self) -> i32 {
        Partition::from(self.ordinal).id()
    }

    /// Looks for the largest id of this ordinal at the end of the partition, for as long as it takes; `None` when the
    /// service is asked to stop meanwhile.
    pub(crate) async fn last_order_id(&self, shutdown: &CancellationToken) -> Option<Option<OrderId>> {
        while !shutdown.is_cancelled() {
            match self.try_last_order_id(shutdown).await {
                Ok(last) => {
                    self.latch.release();
                    return Some(last);
                }
                Err(error) => self.latch.hold(&format!("{error:#}")),
            }
            // A time-out is not an error: it is the interval.
            let _ = tokio::time::timeout(INTERVAL, shutdown.cancelled()).await;
        }
        None
    }

    async fn try_last_order_id(&self, shutdown: &CancellationToken) -> anyhow::Result<Option<OrderId>> {
        self.producer
            .check(self.partition())
            .await
            .map_err(anyhow::Error::msg)?;
        let (kafka, name, ordinal) = (self.kafka.clone(), self.name.clone(), self.ordinal);
        let stop = shutdown.clone();
        spawn_blocking(move || read_last_order_id(&kafka, &name, ordinal, &stop)).await?
    }

    /// Holds the latch while the partition cannot be written to, until the service is asked to stop.
    pub(crate) async fn watch(self, shutdown: CancellationToken) {
        let mut checked = Instant::now();
        while tokio::time::timeout(INTERVAL, shutdown.cancelled()).await.is_err() {
            let doubtful = self.producer.is_disconnected() || self.latch.reason().is_some();
            if doubtful || checked.elapsed() > CHECK_INTERVAL {
                match self.producer.check(self.partition()).await {
                    Ok(()) => self.latch.release(),
                    Err(reason) => self.latch.hold(&reason),
                }
                checked = Instant::now();
            }
        }
    }
}

/// Blocks.
fn read_last_order_id(
    kafka: &kafka::Config,
    name: &str,
    ordinal: Ordinal,
    stop: &CancellationToken,
) -> anyhow::Result<Option<OrderId>> {
    let partition = Partition::from(ordinal).id();
    let client_id = format!("{name}-tail");
    let consumer = Consumer::for_replay(kafka, &client_id, "order", "order").context("could not make a consumer")?;
    consumer.wait_for_broker()?;
    let found = consumer.watermarks(partition)?;
    let tail = found.low.max(found.high - TAIL_OFFSETS)..found.high;
    let mut last = None;
    consumer.replay(partition, tail, stop, |record| {
        let id = record.key().and_then(|key| key.parse::<OrderId>().ok());
        // Others may have put records there by hand; ids of other replicas say nothing about this one's.
        last = last.max(id.filter(|id| id.ordinal() == ordinal));
    })?;
    tracing::debug!(service = name, ?last, high = found.high, "the end of the log is read");
    Ok(last)
}
