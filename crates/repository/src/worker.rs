//! The loop of repository-N: consume orders, decide their outcomes, write them in a transaction, go on.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use domain::{Partition, Timestamp, Topic};
use kafka::{Committed, Consumer, Event, Fetch, RENEWAL, TransactionalProducer, Watermarks};
use service::Latch;
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::batching::{Batching, Next};
use crate::continuity::{Continuity, Step};
use crate::decision::{self, Batch};
use crate::interruption::Interruption;
use crate::kafka_logs::{GROUP, KafkaLogs, commit_metadata, order_record, write};
use crate::metrics::Metrics;
use crate::outcome::OutcomeRecord;
use crate::recovery::{self, Logs as _, Progress};

/// Interval at which a wait reads the stop signal.
const POLL: Duration = Duration::from_millis(100);
/// Interval between two rounds after a failure, and between questions to a broker that does not answer.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// Interval of the questions for the end of the partition, while there is a backlog and while there is none.
const BUSY_PROBE_INTERVAL: Duration = Duration::from_secs(1);
const IDLE_PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// Interval of the group's commits, while the position changes and while it does not: a broker forgets old commits.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
const IDLE_COMMIT_INTERVAL: Duration = Duration::from_secs(3600);
/// Interval of the log line about a full window.
const FULL_WINDOW_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// The most orders in one transaction. Kafka's own test of transactions has 750 records in each.
const MAX_BATCH: usize = 1000;
/// The least time between two transactions: records that come meanwhile are the next batch. A transaction costs some
/// 4 ms of a broker's and a client's time, for one record as for a hundred. An order after a quiet time does not wait.
const BATCH_INTERVAL: Duration = Duration::from_millis(20);

/// repository-N at work. Blocks its thread.
pub(crate) struct Worker {
    config: Config,
    name: String,
    partition: Partition,
    orders: Consumer,
    latch: Latch,
    shutdown: CancellationToken,
    metrics: Metrics,
    /// The position after the last outcome that this process has committed or read back.
    position: Option<i64>,
    /// The broker has aborted a transaction, and it is not known whether another process has taken over since.
    timed_out: bool,
    /// When the broker was last asked for the end of the partition.
    probed: Instant,
    /// Since when the broker does not serve the partition.
    interrupted: Option<Instant>,
    /// The offset that was committed for the group, and when.
    committed: (i64, Instant),
    /// When a full window was last logged.
    full_window_logged: Option<Instant>,
}

impl Worker {
    pub(crate) fn new(
        config: Config,
        name: String,
        latch: Latch,
        shutdown: CancellationToken,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        let orders = Consumer::new(&config.kafka, &name, GROUP, Topic::Order.name(), Fetch::Live);
        let now = Instant::now();
        Ok(Self {
            partition: Partition::from(config.ordinal),
            orders: orders.context("could not make a consumer")?,
            config,
            name,
            latch,
            shutdown,
            metrics,
            position: None,
            timed_out: false,
            probed: now,
            interrupted: None,
            committed: (0, now),
            full_window_logged: None,
        })
    }

    /// Works until it is asked to stop. Each round has a producer of its own and begins by reading back from the logs.
    ///
    /// # Errors
    /// When the position is lost, records are damaged, or the transactional id was taken over.
    pub(crate) fn run(mut self) -> anyhow::Result<()> {
        loop {
            let Err(interruption) = self.round();
            self.timed_out |= matches!(interruption, Interruption::TimedOut { .. });
            match interruption {
                Interruption::Stopped => return Ok(()),
                Interruption::Failed(error) => return Err(error),
                Interruption::Restart { reason } | Interruption::TimedOut { reason } => {
                    if self.latch.reason().as_ref() != Some(&reason) {
                        tracing::warn!(service = self.name, reason, "beginning anew with what the log says");
                    }
                    self.latch.hold(&reason);
                    self.wait(RETRY_INTERVAL);
                    self.orders.renew().context("could not make another consumer")?;
                    self.interrupted = None;
                }
            }
        }
    }

    fn round(&mut self) -> Result<Infallible, Interruption> {
        if self.shutdown.is_cancelled() {
            return Err(Interruption::Stopped);
        }
        if self.timed_out {
            self.check_successor()?;
            self.timed_out = false;
        }
        // Opened before the logs are read: only after the predecessor's transaction is settled do they say where it ended.
        let producer = TransactionalProducer::open(
            &self.config.kafka,
            &format!("{}-producer", self.name),
            &format!("repository-{}", self.partition),
            Topic::Shipment.name(),
            &self.shutdown,
            |reason| self.latch.hold(reason),
        )?;
        let (kafka, on_lost) = (&self.config.kafka, self.config.settings.on_lost_position);
        let logs = KafkaLogs::connect(
            kafka,
            &self.name,
            self.partition,
            &self.orders,
            &producer,
            &self.shutdown,
        )?;
        let mut progress = recovery::start(&logs, on_lost)?;
        drop(logs);
        tracing::info!(
            service = self.name,
            partition = self.partition.id(),
            position = progress.position,
            lag = progress.order_end - progress.position,
            outcomes_read = progress.outcomes_read,
            "taking over"
        );
        self.work(&producer, &mut progress)
    }

    /// Fails if another process has shipped since the last outcome of this one: taking the transactional id back would be
    /// a duel without end.
    fn check_successor(&self) -> Result<(), Interruption> {
        let topic = Topic::Shipment.name();
        let shipments = Consumer::new(&self.config.kafka, &self.name, GROUP, topic, Fetch::Live)
            .map_err(|error| Interruption::Failed(error.into()))?;
        shipments.wait_for_broker()?;
        let Watermarks { low, high } = shipments.watermarks(self.partition.id())?;
        let (tail, mut last) = (low.max(high - KafkaLogs::TAIL_OFFSETS)..high, None);
        shipments.read_all(self.partition.id(), tail, &self.shutdown, |record| {
            last = OutcomeRecord::from_record(record.value()).or(last);
        })?;
        match last {
            Some(last) if self.position.is_some_and(|position| last.order_offset >= position) => {
                let reason = format!("another process has shipped on, up to offset {}", last.order_offset);
                Err(Interruption::replaced(&reason))
            }
            _ => Ok(()),
        }
    }

    /// Ships until the round ends.
    fn work(&mut self, producer: &TransactionalProducer, progress: &mut Progress) -> Result<Infallible, Interruption> {
        self.orders.assign(self.partition.id(), progress.position)?;
        self.position = Some(progress.position);
        self.latch.release();
        let (position, end) = (progress.position, progress.order_end);
        let mut batching = Batching::new(MAX_BATCH, BATCH_INTERVAL, position, end, Instant::now());
        let mut continuity = Continuity::default();
        loop {
            let batch = self.next_batch(progress, &mut batching, &mut continuity)?;
            let packed_at = Timestamp::now();
            self.wait(self.config.settings.handling_time);
            if self.shutdown.is_cancelled() {
                return Err(Interruption::Stopped);
            }
            let begun = Instant::now();
            let shipments = batch.shipments(packed_at, Timestamp::now());
            write(producer, self.partition, &shipments)?;
            let took = begun.elapsed();
            self.latch.release();
            progress.committed(&shipments);
            self.position = Some(progress.position);
            batching.shipped(took, Instant::now());
            self.metrics.transaction.observe(took.as_secs_f64());
            for (shipment, _) in &shipments {
                self.metrics.count(shipment.outcome);
                decision::log(&self.name, self.partition, shipment);
            }
            self.housekeep(progress, &mut batching)?;
        }
    }

    /// Waits until there is a batch to ship.
    fn next_batch(
        &mut self,
        progress: &mut Progress,
        batching: &mut Batching,
        continuity: &mut Continuity,
    ) -> Result<Batch, Interruption> {
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
                    self.interrupted = None;
                    let record = order_record(&record);
                    match continuity.on_record(&record, progress, Instant::now()) {
                        Step::Take => {
                            batching.record(record.offset);
                            progress.decide(&mut batch, record);
                        }
                        Step::Pass => {}
                        Step::ReadAgain(offset) => {
                            batch = Batch::default();
                            batching.read_again(progress.position);
                            self.read_again(offset, progress, continuity)?;
                        }
                        Step::Recover(reason) => return Err(Interruption::Restart { reason }),
                    }
                }
                Event::End(_) => {
                    batching.end();
                    self.interrupted = None;
                    continuity.on_silence(Instant::now());
                }
                Event::Interrupted(error) => {
                    batching.idle();
                    continuity.on_interruption();
                    self.latch.hold(&error.to_string());
                    self.interrupted.get_or_insert_with(Instant::now);
                }
                Event::Idle => {
                    batching.idle();
                    continuity.on_silence(Instant::now());
                }
            }
            if batch.is_empty() {
                self.housekeep(progress, batching)?;
            }
        }
        Err(Interruption::Stopped)
    }

    /// Reads from the record of the last outcome on, to prove that the topic still is the same; or from the position on, if
    /// retention has removed that record.
    fn read_again(
        &self,
        offset: i64,
        progress: &mut Progress,
        continuity: &mut Continuity,
    ) -> Result<(), Interruption> {
        let partition = self.partition.id();
        let is_expired = offset < self.orders.watermarks(partition)?.low;
        if is_expired {
            progress.is_provable = false;
            *continuity = Continuity::default();
        }
        let from = if is_expired { progress.position } else { offset };
        Ok(self.orders.assign(partition, from)?)
    }

    /// Updates the lag and the group's offset, and checks now and then whether the broker is there at all.
    fn housekeep(&mut self, progress: &mut Progress, batching: &mut Batching) -> Result<(), Interruption> {
        self.metrics.lag.set(batching.lag());
        let (offset, at) = self.committed;
        let interval = if offset == progress.position {
            IDLE_COMMIT_INTERVAL
        } else {
            COMMIT_INTERVAL
        };
        if at.elapsed() > interval {
            let committed = Committed {
                offset: progress.position,
                metadata: commit_metadata(self.partition),
            };
            self.orders.commit(self.partition.id(), &committed);
            self.committed = (progress.position, Instant::now());
        }
        self.log_full_window(progress);
        if self.interrupted.is_some_and(|since| since.elapsed() > RENEWAL) {
            let reason = self.latch.reason().unwrap_or_default();
            return Err(Interruption::Restart { reason });
        }
        self.probe(batching)
    }

    fn log_full_window(&mut self, progress: &mut Progress) {
        let orders = progress.window.take_dropped();
        let logged = self.full_window_logged;
        if orders > 0 && logged.is_none_or(|logged| logged.elapsed() > FULL_WINDOW_LOG_INTERVAL) {
            self.full_window_logged = Some(Instant::now());
            tracing::warn!(
                service = self.name,
                orders,
                "the window of shipped orders is full: repetitions of the oldest ones are no longer recognised"
            );
        }
    }

    /// Asks for the end of the partition. While nothing comes, the answer tells whether the broker is there at all.
    fn probe(&mut self, batching: &mut Batching) -> Result<(), Interruption> {
        let doubtful = self.orders.is_disconnected() || self.latch.reason().is_some();
        let interval = match (doubtful, batching.lag()) {
            (true, _) => RETRY_INTERVAL,
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

    /// Waits, or until asked to stop.
    fn wait(&self, duration: Duration) {
        let end = Instant::now() + duration;
        while Instant::now() < end && !self.shutdown.is_cancelled() {
            std::thread::sleep(POLL.min(end.saturating_duration_since(Instant::now())));
        }
    }
}
