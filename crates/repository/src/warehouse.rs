//! The loop of repository-N: read orders, decide, write the outcomes in a transaction, go on.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use domain::{Outcome, Partition, Region, Timestamp};
use kafka::{Consumer, Event, RENEWAL, Record, TransactionError, TransactionalProducer};
use service::Latch;
use tokio_util::sync::CancellationToken;

use crate::interruption::Interruption;
use crate::metrics::Metrics;
use crate::packing::Parcel;
use crate::recovery::{self, Done};
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
    orders: Consumer,
    latch: Latch,
    shutdown: CancellationToken,
    metrics: Metrics,
}

/// When the broker was asked for the lag while no orders came.
struct Looks {
    last: Instant,
    /// The last time that it answered.
    answered: Instant,
}

impl Looks {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            last: now,
            answered: now,
        }
    }
}

impl Warehouse {
    pub(crate) fn new(
        config: Config,
        name: String,
        latch: Latch,
        shutdown: CancellationToken,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        let orders = Consumer::new(&config.kafka, &name, "repository", "order").context("could not make a reader")?;
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

    /// Works until it is asked to stop. Each round has clients of its own and begins with what the log says.
    ///
    /// # Errors
    /// When the position is lost or the transactional id was taken over.
    pub(crate) fn run(mut self) -> anyhow::Result<()> {
        loop {
            let Err(interruption) = self.round();
            match interruption {
                Interruption::Stopped => return Ok(()),
                Interruption::Failed(error) => return Err(error),
                Interruption::Again(reason) => {
                    self.pause(&reason);
                    self.orders.renew().context("could not make another reader")?;
                }
            }
        }
    }

    fn round(&self) -> Result<Infallible, Interruption> {
        if self.shutdown.is_cancelled() {
            return Err(Interruption::Stopped);
        }
        let transactional_id = format!("repository-{}", self.partition);
        let client_id = format!("{}-writer", self.name);
        let waiting = |reason: &str| self.latch.hold(reason);
        let (kafka, shutdown) = (&self.config.kafka, &self.shutdown);
        // In this order: only after the predecessor's transaction is settled does the log say where it ended.
        let writer = TransactionalProducer::open(kafka, &client_id, &transactional_id, "shipment", shutdown, waiting)?;
        let done = recovery::read_back(&self.config, &self.name, &self.orders, shutdown)?;
        tracing::info!(
            service = self.name,
            partition = self.partition.id(),
            position = done.position,
            "taking over"
        );
        self.work(&writer, done)
    }

    fn pause(&self, reason: &str) {
        self.latch.hold(reason);
        self.wait(PAUSE);
    }

    /// Ships until something comes in between.
    fn work(&self, writer: &TransactionalProducer, mut done: Done) -> Result<Infallible, Interruption> {
        let Settings {
            handling_time,
            batch_interval,
            ..
        } = self.config.settings;
        self.orders.assign([(self.partition.id(), done.position)])?;
        self.latch.release();
        let mut last = Instant::now();
        let mut interval = batch_interval;
        loop {
            let parcels = self.next_batch(&mut done, last + interval)?;
            interval = if parcels.len() < BUSY {
                batch_interval
            } else {
                BUSY_FACTOR * batch_interval
            };
            let packed_at = Timestamp::now();
            self.wait(handling_time);
            if self.shutdown.is_cancelled() {
                return Err(Interruption::Stopped);
            }
            let begun = Instant::now();
            self.ship(writer, &parcels, packed_at)?;
            last = Instant::now();
            self.metrics.transaction.observe((last - begun).as_secs_f64());
            self.orders.commit(self.partition.id(), done.position);
            parcels.iter().for_each(|parcel| self.report(parcel));
        }
    }

    /// Waits for orders. The first ones of a quiet time are a batch of their own; otherwise what comes until `ripe` is
    /// in it, up to the limit.
    fn next_batch(&self, done: &mut Done, ripe: Instant) -> Result<Vec<Parcel>, Interruption> {
        let limit = self.config.settings.batch_orders.get() as usize;
        let mut parcels = Vec::new();
        let mut looks = Looks::new();
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
                self.look_after(done.position, &mut looks)?;
            } else if parcels.len() >= limit || drained && Instant::now() >= ripe {
                return Ok(parcels);
            } else if drained {
                // Sleeps, because each record that comes would wake a poll.
                self.wait(ripe.saturating_duration_since(Instant::now()));
            }
        }
        Err(Interruption::Stopped)
    }

    /// While nothing comes: is that because there is nothing, or because the broker is gone?
    fn look_after(&self, position: i64, looks: &mut Looks) -> Result<(), Interruption> {
        let doubtful = self.orders.is_disconnected() || self.latch.reason().is_some();
        if looks.last.elapsed() < if doubtful { PAUSE } else { LAG_INTERVAL } {
            return Ok(());
        }
        let found = self.orders.watermarks(self.partition.id());
        looks.last = Instant::now();
        match found {
            Ok(found) => {
                looks.answered = looks.last;
                self.metrics.lag.set(found.high - position);
                self.latch.release();
                Ok(())
            }
            Err(error) => {
                let reason = self.orders.outage(&error);
                if looks.answered.elapsed() > RENEWAL {
                    return Err(Interruption::Again(reason));
                }
                self.latch.hold(&reason);
                Ok(())
            }
        }
    }

    /// Writes the outcomes of a batch. A transaction that was aborted is tried again: no reader has seen it.
    fn ship(
        &self,
        writer: &TransactionalProducer,
        parcels: &[Parcel],
        packed_at: Timestamp,
    ) -> Result<(), Interruption> {
        let begun = Instant::now();
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
                    return Ok(());
                }
                Err(TransactionError::Aborted(reason)) if begun.elapsed() < RENEWAL => {
                    tracing::warn!(
                        service = self.name,
                        reason,
                        "a transaction was aborted and is tried again"
                    );
                    self.pause(&reason);
                    if self.shutdown.is_cancelled() {
                        return Err(Interruption::Stopped);
                    }
                }
                Err(error) => return Err(error.into()),
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
