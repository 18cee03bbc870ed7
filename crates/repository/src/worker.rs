//! The loop of repository-N: consume orders, decide, write the outcomes in a transaction, go on.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use domain::{Partition, Shipment, Timestamp};
use kafka::{Consumer, Event, RENEWAL, Record, TransactionalProducer};
use service::Latch;
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::batching::{Batching, Next};
use crate::decision::{Batch, Decision};
use crate::interruption::Interruption;
use crate::known::KnownOrders;
use crate::metrics::Metrics;
use crate::recovery::{Progress, Recovery};

/// How long a wait may keep from noticing that the service is asked to stop.
const POLL: Duration = Duration::from_millis(100);
/// Between attempts to go on after a failure, and between questions to a broker that does not answer.
const PAUSE: Duration = Duration::from_millis(500);
/// How often the broker is asked for the end of the log: while there is a backlog, and while nothing comes.
const BUSY_PROBE_INTERVAL: Duration = Duration::from_secs(1);
const IDLE_PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// How often the group's offset is committed, which is for displays of the lag.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is said that the duplicate window overflows.
const OVERFLOW_INTERVAL: Duration = Duration::from_secs(60);

/// repository-N at work. Blocks its thread.
pub(crate) struct Worker {
    config: Config,
    name: String,
    partition: Partition,
    orders: Consumer,
    latch: Latch,
    shutdown: CancellationToken,
    metrics: Metrics,
    known: KnownOrders,
    /// When the broker was last asked for the end of the log.
    probed: Instant,
    /// Since when the broker does not serve the partition.
    interrupted: Option<Instant>,
    /// The offset that was committed for the group, and when.
    committed: (i64, Instant),
    /// When it was last said that the duplicate window overflows.
    overflow_said: Option<Instant>,
}

impl Worker {
    pub(crate) fn new(
        config: Config,
        name: String,
        latch: Latch,
        shutdown: CancellationToken,
        metrics: Metrics,
        known: KnownOrders,
    ) -> anyhow::Result<Self> {
        let orders = Consumer::new(&config.kafka, &name, "repository", "order").context("could not make a consumer")?;
        let partition = Partition::from(config.ordinal);
        let now = Instant::now();
        Ok(Self {
            config,
            name,
            partition,
            orders,
            latch,
            shutdown,
            metrics,
            known,
            probed: now,
            interrupted: None,
            committed: (0, now),
            overflow_said: None,
        })
    }

    /// Works until it is asked to stop. Each round has a producer of its own and begins with what the log says.
    ///
    /// # Errors
    /// When the position is lost, records are damaged, or the transactional id was taken over.
    pub(crate) fn run(mut self) -> anyhow::Result<()> {
        let mut progress = None;
        loop {
            let Err(interruption) = self.round(&mut progress);
            match interruption {
                Interruption::Stopped => return Ok(()),
                Interruption::Failed(error) => return Err(error),
                Interruption::Restart { reason } => {
                    if self.latch.reason().as_ref() != Some(&reason) {
                        tracing::warn!(service = self.name, reason, "beginning anew with what the log says");
                    }
                    self.latch.hold(&reason);
                    self.wait(PAUSE);
                    self.orders.renew().context("could not make another consumer")?;
                    self.interrupted = None;
                }
            }
        }
    }

    fn round(&mut self, progress: &mut Option<Progress>) -> Result<Infallible, Interruption> {
        if self.shutdown.is_cancelled() {
            return Err(Interruption::Stopped);
        }
        let client_id = format!("{}-producer", self.name);
        let kafka = &self.config.kafka;
        // In this order: only after the predecessor's transaction is settled does the log say where it ended.
        let producer = TransactionalProducer::open(
            kafka,
            &client_id,
            &format!("repository-{}", self.partition),
            "shipment",
            &self.shutdown,
            |reason| self.latch.hold(reason),
        )?;
        let shipments = Consumer::for_replay(kafka, &format!("{}-tail", self.name), "repository", "shipment")
            .map_err(|error| Interruption::Failed(error.into()))?;
        let recovery = Recovery {
            partition: self.partition.id(),
            settings: &self.config.settings,
            orders: &self.orders,
            shipments,
            stop: &self.shutdown,
            known: &self.known,
        };
        // What is known is kept until it has been read anew.
        let mut found = recovery.read_back(progress)?;
        drop(recovery);
        tracing::info!(
            service = self.name,
            partition = self.partition.id(),
            position = found.position,
            lag = found.end - found.position,
            outcomes_read = found.outcomes_read,
            "taking over"
        );
        let ended = self.work(&producer, &mut found);
        *progress = Some(found);
        ended
    }

    /// Ships until something comes in between.
    fn work(&mut self, producer: &TransactionalProducer, progress: &mut Progress) -> Result<Infallible, Interruption> {
        self.orders.assign([(self.partition.id(), progress.position)])?;
        self.latch.release();
        let (limit, interval) = (
            self.config.settings.batch_orders.get() as usize,
            self.config.settings.batch_interval,
        );
        let mut batching = Batching::new(limit, interval, progress.position, progress.end, Instant::now());
        loop {
            let batch = self.next_batch(progress, &mut batching)?;
            let packed_at = Timestamp::now();
            self.wait(self.config.settings.handling_time);
            if self.shutdown.is_cancelled() {
                return Err(Interruption::Stopped);
            }
            let begun = Instant::now();
            let shipped_at = Timestamp::now();
            let outcome = |decision: &Decision| decision.shipment(packed_at, shipped_at);
            let shipments: Vec<Shipment> = batch.decisions.iter().map(outcome).collect();
            let shipment_end = self.ship(producer, &batch, &shipments)?;
            let took = begun.elapsed();
            progress.committed(&batch, &shipments, shipment_end, &self.known);
            batching.shipped(took, Instant::now());
            self.metrics.transaction.observe(took.as_secs_f64());
            for decision in &batch.decisions {
                self.metrics.count(decision.outcome);
                decision.log(&self.name, self.partition);
            }
            self.keep_books(progress, &mut batching)?;
        }
    }

    /// Waits until there is a batch to ship.
    fn next_batch(&mut self, progress: &mut Progress, batching: &mut Batching) -> Result<Batch, Interruption> {
        let mut batch = Batch::default();
        while !self.shutdown.is_cancelled() {
            let timeout = match batching.next(batch.len(), Instant::now()) {
                Next::Ship => return Ok(batch),
                Next::Sleep(duration) => {
                    self.wait(duration);
                    continue;
                }
                Next::Poll(timeout) => timeout,
            };
            match self.orders.poll(timeout)? {
                Event::Record(record) => {
                    let timestamp = record.timestamp().unwrap_or_default();
                    batch.decide(record.offset(), timestamp, record.value(), &progress.window);
                    batching.record(record.offset());
                    self.interrupted = None;
                }
                Event::End(_) => {
                    batching.end();
                    self.interrupted = None;
                }
                Event::Interrupted(error) => {
                    batching.idle();
                    self.latch.hold(&error.to_string());
                    self.interrupted.get_or_insert_with(Instant::now);
                }
                Event::Idle => batching.idle(),
            }
            if batch.len() == 0 {
                self.keep_books(progress, batching)?;
            }
        }
        Err(Interruption::Stopped)
    }

    /// What is done beside shipping, now and then: the lag, the group's offset, and whether the broker is there at all.
    fn keep_books(&mut self, progress: &mut Progress, batching: &mut Batching) -> Result<(), Interruption> {
        self.metrics.lag.set(batching.lag());
        let (offset, at) = self.committed;
        if offset != progress.position && at.elapsed() > COMMIT_INTERVAL {
            self.orders.commit(self.partition.id(), progress.position);
            self.committed = (progress.position, Instant::now());
        }
        let early = progress.window.take_early();
        if early > 0 && self.overflow_said.is_none_or(|said| said.elapsed() > OVERFLOW_INTERVAL) {
            self.overflow_said = Some(Instant::now());
            tracing::warn!(
                service = self.name,
                ids = early,
                "the duplicate window holds as many ids as it can: older ones are forgotten before their time"
            );
        }
        if self.interrupted.is_some_and(|since| since.elapsed() > RENEWAL) {
            let reason = self.latch.reason().unwrap_or_default();
            return Err(Interruption::Restart { reason });
        }
        self.probe(batching)
    }

    /// Asks for the end of the log. While nothing comes: is that because there is nothing, or because the broker is
    /// gone?
    fn probe(&mut self, batching: &mut Batching) -> Result<(), Interruption> {
        let doubtful = self.orders.is_disconnected() || self.latch.reason().is_some();
        let interval = match (doubtful, batching.lag()) {
            (true, _) => PAUSE,
            (false, 0) => IDLE_PROBE_INTERVAL,
            (false, _) => BUSY_PROBE_INTERVAL,
        };
        if self.probed.elapsed() < interval {
            return Ok(());
        }
        let answer = self.orders.watermarks(self.partition.id());
        self.probed = Instant::now();
        match answer {
            Ok(found) => {
                batching.log_end(found.high);
                if self.interrupted.is_none() {
                    self.latch.release();
                }
                Ok(())
            }
            Err(error) => {
                let reason = self.orders.outage(&error);
                if self.orders.needs_renewal() {
                    return Err(Interruption::Restart { reason });
                }
                self.latch.hold(&reason);
                Ok(())
            }
        }
    }

    /// Writes the outcomes of a batch. Returns the offset in topic `shipment` after the last of them.
    fn ship(
        &self,
        producer: &TransactionalProducer,
        batch: &Batch,
        shipments: &[Shipment],
    ) -> Result<i64, Interruption> {
        let records: Vec<(Option<String>, Vec<u8>, i64)> = shipments
            .iter()
            .zip(&batch.decisions)
            .map(|(shipment, decision)| {
                let key = shipment.order_id.map(|id| id.to_string());
                (key, shipment.to_record(), decision.timestamp)
            })
            .collect();
        let end = producer.write(records.iter().map(|(key, value, timestamp)| Record {
            partition: self.partition.id(),
            key: key.as_deref(),
            value,
            timestamp: *timestamp,
            headers: &[],
        }))?;
        self.latch.release();
        Ok(end)
    }

    /// Waits, until asked to stop.
    fn wait(&self, duration: Duration) {
        let end = Instant::now() + duration;
        while Instant::now() < end && !self.shutdown.is_cancelled() {
            std::thread::sleep(POLL.min(end.saturating_duration_since(Instant::now())));
        }
    }
}
