//! Writes a snapshot every few seconds while something changes.

use std::sync::Arc;
use std::time::Duration;

use domain::{Snapshot, Timestamp};
use kafka::{Producer, Record};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{PARTITION, TOPIC};
use crate::figures::Figures;

/// The time from a change to its snapshot. After a crash, the records of this time are read again.
const INTERVAL: Duration = Duration::from_secs(5);
/// Timeout of the last snapshot when the service stops. Without it, the next start reads a little more.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// Timeout of closing the producer. It has nothing in flight.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Writes snapshots. Several services may do that at the same time: each snapshot is right by itself.
pub(super) struct Writer {
    pub(super) kafka: kafka::Config,
    pub(super) client_id: String,
    pub(super) service: String,
    pub(super) figures: Arc<Figures>,
    /// The last snapshot in the topic, as far as is known.
    pub(super) snapshot: Snapshot,
    /// The last one was not written.
    pub(super) failing: bool,
}

impl Writer {
    /// Writes until it is told to stop, and a last time then. While nothing changes it has neither a timer nor a client.
    pub(super) async fn run(mut self, mut changes: watch::Receiver<()>, shutdown: &CancellationToken) {
        while let Some(Ok(())) = shutdown.run_until_cancelled(changes.changed()).await {
            let mut producer: Option<Producer> = None;
            loop {
                let stopped = shutdown.run_until_cancelled(sleep(INTERVAL)).await.is_none();
                changes.mark_unchanged();
                if self.update() {
                    if stopped {
                        // Neither end is an error.
                        let _ = timeout(STOP_TIMEOUT, self.write(&mut producer)).await;
                    } else {
                        self.write(&mut producer).await;
                    }
                }
                if stopped || !changes.has_changed().unwrap_or(false) {
                    break;
                }
            }
            if let Some(producer) = producer {
                producer.close(CLOSE_TIMEOUT).await;
            }
        }
    }

    /// Takes over what was counted. Returns whether it has to be written.
    fn update(&mut self) -> bool {
        let before = self.snapshot.clone();
        // Readers of the log wait for this lock: the figures are only copied under it.
        self.snapshot.update(&self.figures.lock());
        self.snapshot != before || self.failing
    }

    async fn write(&mut self, producer: &mut Option<Producer>) {
        let error = match self.try_write(producer).await {
            Ok(offset) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!(service = self.service, offset, "snapshots are written again");
                }
                return;
            }
            Err(error) => format!("{error:#}"),
        };
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(
                service = self.service,
                error,
                "the snapshot was not written: without it the next start reads more of the log"
            );
        }
    }

    async fn try_write(&self, producer: &mut Option<Producer>) -> anyhow::Result<i64> {
        let producer = match producer {
            Some(producer) => producer,
            None => producer.insert(Producer::new(&self.kafka, &self.client_id, TOPIC)?),
        };
        let record = Record {
            partition: PARTITION,
            key: Some(Snapshot::KEY),
            value: &self.snapshot.to_record(),
            timestamp: Timestamp::now().unix_millis().cast_signed(),
            headers: &[],
        };
        let outcome = producer.send_batch(&[record]).await.pop();
        Ok(outcome.ok_or_else(|| anyhow::anyhow!("no answer"))??.offset)
    }
}
