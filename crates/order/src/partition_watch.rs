//! Watches whether partition N can be written to.

use std::time::{Duration, Instant};

use domain::{Ordinal, Partition};
use kafka::ProducerHealth;
use service::Latch;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::recovery::{Tail, read_tail};

/// Interval at which the state of the producer is read.
const INTERVAL: Duration = Duration::from_millis(500);
/// Interval of the questions to the broker while the producer works. They find a topic that was deleted.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Holds the latch while the partition cannot be written to.
pub(crate) struct PartitionWatch {
    pub(crate) kafka: kafka::Config,
    pub(crate) name: String,
    pub(crate) ordinal: Ordinal,
    pub(crate) producer: ProducerHealth,
    pub(crate) latch: Latch,
}

impl PartitionWatch {
    fn partition(&self) -> i32 {
        Partition::from(self.ordinal).id()
    }

    /// Reads the tail of the partition, for as long as it takes; `None` if the service is asked to stop meanwhile.
    pub(crate) async fn tail(&self, shutdown: &CancellationToken) -> Option<Tail> {
        while !shutdown.is_cancelled() {
            match self.try_tail(shutdown).await {
                Ok(tail) => {
                    self.latch.release();
                    return Some(tail);
                }
                Err(error) => self.latch.hold(&format!("{error:#}")),
            }
            // An elapsed timeout is the interval, not an error.
            let _ = tokio::time::timeout(INTERVAL, shutdown.cancelled()).await;
        }
        None
    }

    async fn try_tail(&self, shutdown: &CancellationToken) -> anyhow::Result<Tail> {
        let check = self.producer.check(self.partition()).await;
        check.map_err(anyhow::Error::msg)?;
        let (kafka, name, ordinal, stop) = (self.kafka.clone(), self.name.clone(), self.ordinal, shutdown.clone());
        spawn_blocking(move || read_tail(&kafka, &name, ordinal, &stop)).await?
    }

    /// Holds the latch while the partition cannot be written to, until the service is asked to stop.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut checked = Instant::now();
        while tokio::time::timeout(INTERVAL, shutdown.cancelled()).await.is_err() {
            let doubtful = self.producer.is_doubtful() || self.latch.reason().is_some();
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
