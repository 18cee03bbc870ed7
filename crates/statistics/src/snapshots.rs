//! Keeps the figures in topic `statistics`, so that a start reads only what came after them.

mod reader;
mod writer;

use std::sync::Arc;

use anyhow::Context as _;
use kafka::{Consumer, Fetch};
use service::Latch;
use tokio::sync::SetOnce;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use self::reader::Reader;
use self::writer::Writer;
use crate::GROUP;
use crate::figures::Figures;

/// The topic.
const TOPIC: &str = "statistics";
/// Its only partition.
const PARTITION: i32 = 0;

/// Reads the last snapshot, then writes others.
pub(crate) struct Snapshots {
    pub(crate) kafka: kafka::Config,
    /// The name of this service in its log.
    pub(crate) service: String,
    pub(crate) figures: Arc<Figures>,
    /// Set once the figures have what the snapshot has.
    pub(crate) restored: Arc<SetOnce<()>>,
    pub(crate) latch: Latch,
    pub(crate) shutdown: CancellationToken,
}

impl Snapshots {
    /// Works until it is told to stop. Neither a missing topic nor a failed write is an error.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        // Before anything is counted, so that no change is missed.
        let changes = self.figures.changed.subscribe();
        let client_id = format!("{}-snapshots", self.service);
        let consumer =
            Consumer::new(&self.kafka, &client_id, GROUP, TOPIC, Fetch::Bulk).context("could not make a consumer")?;
        let reader = Reader {
            service: self.service.clone(),
            consumer,
            latch: self.latch,
            shutdown: self.shutdown.clone(),
        };
        let read = spawn_blocking(move || reader.read()).await;
        let Some(found) = read.context("reading the snapshot panicked")?? else {
            return Ok(());
        };
        let writer = Writer {
            kafka: self.kafka,
            client_id,
            service: self.service,
            figures: self.figures,
            snapshot: found.snapshot,
            failing: false,
        };
        writer.figures.restore(&writer.snapshot);
        // It is set here alone.
        let _ = self.restored.set(());
        if found.replaceable {
            writer.run(changes, &self.shutdown).await;
        } else {
            self.shutdown.cancelled().await;
        }
        Ok(())
    }
}
