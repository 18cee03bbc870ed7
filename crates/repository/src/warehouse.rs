//! The loop of repository-N: read orders, decide, write the outcomes in a transaction, go on.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use domain::{Outcome, Partition, Region, Shipment, Timestamp};
use kafka::{Event, ReadError, Reader, Record, WriteError, Writer};
use service::{Latch, TemporaryFailure};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::packing::Parcel;
use crate::position::Found;
use crate::window::DuplicateWindow;
use crate::{Config, Settings};

/// How long a wait may keep from noticing that the service is asked to stop.
const POLL: Duration = Duration::from_millis(100);
/// Between attempts to go on after a failure.
const PAUSE: Duration = Duration::from_millis(500);
/// A batch of this many says that there is a crowd: then the next one gathers five times as long, because a transaction
/// costs milliseconds of processor time however few orders are in it, and in a crowd others wait for that.
const BUSY: usize = 16;
const BUSY_FACTOR: u32 = 5;
/// How often the broker is asked for the lag.
const LAG_INTERVAL: Duration = Duration::from_secs(5);

/// repository-N at work. Blocks its thread.
pub(crate) struct Warehouse {
    config: Config,
    name: String,
    partition: Partition,
    orders: Reader,
    latch: Latch,
    shutdown: CancellationToken,
    metrics: Metrics,
}

/// What has been done so far, as the log says.
struct Done {
    /// The offset of topic `order` to go on from.
    position: i64,
    window: DuplicateWindow,
}

/// Why work with one writer ended.
enum Interruption {
    Stopped,
    /// It is unknown whether the last transaction was committed: the log will tell.
    Unknown(String),
}

impl Warehouse {
    pub(crate) fn new(
        config: Config,
        name: String,
        latch: Latch,
        shutdown: CancellationToken,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        let orders = Reader::new(&config.kafka, &name, "repository", "order").context("could not make a reader")?;
        let partition = Partition::from(config.ordinal);
        Ok(Self {
            config,
            name,
            partition,
            orders,
            latch,
            shutdown,
            metrics,
        })
    }

    /// Works until it is asked to stop. Each round has a writer of its own and begins with what the log says.
    ///
    /// # Errors
    /// When the position is lost or the transactional id was taken over.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        while !self.shutdown.is_cancelled() {
            match self.round()? {
                Interruption::Stopped => break,
                Interruption::Unknown(reason) => self.pause(&reason),
            }
        }
        Ok(())
    }

    fn round(&self) -> anyhow::Result<Interruption> {
        let transactional_id = format!("repository-{}", self.partition);
        let client_id = format!("{}-writer", self.name);
        let waiting = |reason: &str| self.latch.hold(&format!("kafka is out of reach: {reason}"));
        let (kafka, shutdown) = (&self.config.kafka, &self.shutdown);
        // In this order: only after the predecessor's transaction is settled does the log say where it ended.
        let writer = match Writer::open(kafka, &client_id, &transactional_id, "shipment", shutdown, waiting) {
            Ok(writer) => writer,
            Err(error) => return interruption(error),
        };
        match self.recover()? {
            Some(done) => self.work(&writer, done),
            None => Ok(Interruption::Stopped),
        }
    }

    fn pause(&self, reason: &str) {
        self.latch.hold(reason);
        self.wait(PAUSE);
    }

    /// Reads where the partition stands, as often as it takes; `None` when asked to stop.
    fn recover(&self) -> anyhow::Result<Option<Done>> {
        while !self.shutdown.is_cancelled() {
            match self.read_back() {
                Ok((found, window)) => {
                    let position = found.position(self.config.settings.on_lost_position)?;
                    tracing::info!(
                        service = self.name,
                        partition = self.partition.id(),
                        position,
                        "taking over"
                    );
                    return Ok(Some(Done { position, window }));
                }
                Err(ReadError::Stopped { .. }) => break,
                Err(error) => self.pause(&error.to_string()),
            }
        }
        Ok(None)
    }

    fn read_back(&self) -> Result<(Found, DuplicateWindow), ReadError> {
        let partition = self.partition.id();
        let client_id = format!("{}-tail", self.name);
        let shipments = Reader::new(&self.config.kafka, &client_id, "repository", "shipment").map_err(|source| {
            ReadError::Kafka {
                topic: "shipment".to_owned(),
                action: "make a reader",
                source,
            }
        })?;
        shipments.wait_for_broker()?;
        let shipment = shipments.watermarks(partition)?;
        let capacity = self.config.settings.duplicate_window.get();
        let mut window = DuplicateWindow::new(capacity as usize);
        let mut shipped = None;
        // In a transaction of one record every second offset is the end of a transaction.
        let reach = 2 * i64::from(capacity);
        let from = shipment.low.max(shipment.high.saturating_sub(reach));
        shipments.replay(partition, from..shipment.high, &self.shutdown, |record| {
            let Ok(Shipment {
                order_id,
                order_offset,
                outcome,
                ..
            }) = Shipment::from_record(record.value())
            else {
                return;
            };
            shipped = shipped.max(Some(order_offset + 1));
            if let (Some(order_id), Outcome::Shipped) = (order_id, outcome) {
                window.insert(order_id);
            }
        })?;
        if from > 0 {
            window.forget_older();
        }
        self.orders.wait_for_broker()?;
        let committed = self.orders.committed(partition)?;
        let order = self.orders.watermarks(partition)?;
        Ok((
            Found {
                shipped,
                committed,
                shipment,
                order,
            },
            window,
        ))
    }

    /// Ships until something comes in between.
    fn work(&self, writer: &Writer, mut done: Done) -> anyhow::Result<Interruption> {
        let Settings {
            handling_time,
            batch_interval,
            ..
        } = self.config.settings;
        self.orders.assign([(self.partition.id(), done.position)])?;
        self.latch.release();
        let mut last = Instant::now();
        let mut interval = batch_interval;
        while let Some(parcels) = self.next_batch(&mut done, last + interval)? {
            interval = if parcels.len() < BUSY {
                batch_interval
            } else {
                BUSY_FACTOR * batch_interval
            };
            let packed_at = Timestamp::now();
            self.wait(handling_time);
            if self.shutdown.is_cancelled() {
                break;
            }
            let begun = Instant::now();
            if let Some(interruption) = self.ship(writer, &parcels, packed_at)? {
                return Ok(interruption);
            }
            last = Instant::now();
            self.metrics.transaction.observe((last - begun).as_secs_f64());
            self.orders.commit(self.partition.id(), done.position);
            parcels.iter().for_each(|parcel| self.report(parcel));
        }
        Ok(Interruption::Stopped)
    }

    /// Waits for orders. The first ones of a quiet time are a batch of their own; otherwise what comes until `ripe` is
    /// in it, up to the limit. `None` when asked to stop.
    fn next_batch(&self, done: &mut Done, ripe: Instant) -> Result<Option<Vec<Parcel>>, ReadError> {
        let limit = self.config.settings.batch_orders.get() as usize;
        let mut parcels = Vec::new();
        let mut asked = Instant::now();
        while !self.shutdown.is_cancelled() {
            let event = self
                .orders
                .poll(if parcels.is_empty() { POLL } else { Duration::ZERO })?;
            let drained = matches!(event, Event::Idle);
            match event {
                Event::Record(record) => {
                    let timestamp = record.timestamp().unwrap_or_default();
                    parcels.push(Parcel::new(
                        record.offset(),
                        timestamp,
                        record.value(),
                        &mut done.window,
                    ));
                    done.position = record.offset() + 1;
                }
                Event::End(_) => {
                    self.metrics.lag.set(0);
                }
                Event::Idle => {}
            }
            if parcels.is_empty() {
                self.look_after(done.position, &mut asked);
            } else if parcels.len() >= limit || drained && Instant::now() >= ripe {
                return Ok(Some(parcels));
            } else if drained {
                // Sleeps, because each record that comes would wake a poll.
                self.wait(ripe.saturating_duration_since(Instant::now()));
            }
        }
        Ok(None)
    }

    /// While nothing comes: is that because there is nothing, or because the broker is gone?
    fn look_after(&self, position: i64, asked: &mut Instant) {
        let doubtful = self.orders.is_disconnected() || self.latch.reason().is_some();
        if asked.elapsed() < if doubtful { PAUSE } else { LAG_INTERVAL } {
            return;
        }
        match self.orders.watermarks(self.partition.id()) {
            Ok(found) => {
                self.metrics.lag.set(found.high - position);
                self.latch.release();
            }
            Err(error) => self
                .latch
                .hold(&self.orders.outage().unwrap_or_else(|| error.to_string())),
        }
        *asked = Instant::now();
    }

    /// Writes the outcomes of a batch. A transaction that was aborted is tried again: no reader has seen it.
    fn ship(&self, writer: &Writer, parcels: &[Parcel], packed_at: Timestamp) -> anyhow::Result<Option<Interruption>> {
        let shipped_at = Timestamp::now();
        let records: Vec<(Option<String>, Vec<u8>, i64)> = parcels
            .iter()
            .map(|parcel| {
                let key = parcel.order_id.map(|id| id.to_string());
                (
                    key,
                    parcel.shipment(packed_at, shipped_at).to_record(),
                    parcel.timestamp,
                )
            })
            .collect();
        loop {
            let batch = records.iter().map(|(key, value, timestamp)| Record {
                partition: self.partition.id(),
                key: key.as_deref(),
                value,
                timestamp: *timestamp,
                headers: &[],
            });
            match writer.write(batch) {
                Ok(()) => {
                    self.latch.release();
                    return Ok(None);
                }
                Err(WriteError::Aborted(reason)) => {
                    tracing::warn!(
                        service = self.name,
                        reason,
                        "a transaction was aborted and is tried again"
                    );
                    self.pause(&reason);
                    if self.shutdown.is_cancelled() {
                        return Ok(Some(Interruption::Stopped));
                    }
                }
                Err(error) => return interruption(error).map(Some),
            }
        }
    }

    /// One line for each order.
    fn report(&self, parcel: &Parcel) {
        let (service, partition, region) = (self.name.as_str(), self.partition, Region::from(self.partition));
        let (offset, detail) = (parcel.order_offset, parcel.detail());
        let order_id = parcel.order_id.map(tracing::field::display);
        self.metrics.count(parcel.outcome);
        match parcel.outcome {
            Outcome::Shipped => {
                tracing::info!(service, order_id, partition = partition.id(), offset, %region, "order shipped")
            }
            Outcome::Duplicate => {
                tracing::warn!(service, order_id, partition = partition.id(), offset, %region, detail, "order not shipped again");
            }
            Outcome::Rejected => {
                tracing::warn!(service, order_id, partition = partition.id(), offset, %region, detail, "record rejected");
            }
        }
    }

    /// Waits, until asked to stop.
    fn wait(&self, duration: Duration) {
        let end = Instant::now() + duration;
        while Instant::now() < end && !self.shutdown.is_cancelled() {
            std::thread::sleep(POLL.min(end.saturating_duration_since(Instant::now())));
        }
    }
}

/// What a failure of the writer means for the work.
fn interruption(error: WriteError) -> anyhow::Result<Interruption> {
    match error {
        WriteError::Stopped => Ok(Interruption::Stopped),
        WriteError::Fenced(_) => {
            Err(TemporaryFailure(format!("{error}: is there a second repository with this ordinal?")).into())
        }
        WriteError::Aborted(reason) | WriteError::Unknown(reason) => Ok(Interruption::Unknown(reason)),
    }
}
