//! Counts one region: its partitions of both topics, with a thread and a client of its own.
//!
//! There is one way to begin, at the start and after any failure: ask for the bounds of both partitions, prove the
//! position of the figures by its last record, assign, read on. A failure is shown as the problem of the region until
//! all that was there has been counted; other regions do not notice it.

mod source;

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{NotAnOrder, OrderId, Partition, Region, Topic};
use kafka::{ConsumeError, ConsumedRecord, Consumer, Event, Fetch, KafkaError};
use service::Latch;
use tokio::runtime::Handle;
use tokio::sync::SetOnce;
use tokio_util::sync::CancellationToken;

pub(crate) use self::source::Source;
use crate::GROUP;
use crate::figures::Figures;

/// The problem of a region until all that was there at the start has been counted. The page knows this text.
const READING: &str = "reading the log";
/// Timeout of a poll: it bounds how late a stop is noticed. rdkafka spins in the last millisecond of each timeout, so that
/// short ones would be a third of what an idle statistics costs.
const POLL_TIMEOUT: Duration = Duration::from_millis(500);
/// The first record after a quiet time is counted at once, those that come in this time after it together: a request to
/// the broker for each record costs more than the record.
const GATHERING_TIME: Duration = Duration::from_millis(20);
/// The time between a failure and the next attempt to begin.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Interval of the question whether there are records that have not come.
const CHECK_INTERVAL: Duration = Duration::from_secs(15);
/// The same while that is doubtful, as it is of a client that has just begun.
const DOUBT_INTERVAL: Duration = Duration::from_secs(2);

/// Counts one region. Blocks its thread.
pub(crate) struct Reader {
    pub(crate) partition: Partition,
    pub(crate) kafka: kafka::Config,
    /// Topics `order` and `shipment`, which share a client.
    pub(crate) sources: [Source; 2],
    /// The name of this service in its log.
    pub(crate) service: String,
    pub(crate) figures: Arc<Figures>,
    /// Set once the figures have what the snapshot has.
    pub(crate) restored: Arc<SetOnce<()>>,
    /// Released by the last region that has caught up or shown a problem.
    pub(crate) latch: Cell<Option<Arc<Latch>>>,
    pub(crate) shutdown: CancellationToken,
}

/// Why a region cannot be read on.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Consume(#[from] ConsumeError),
    #[error("could not make a client: {0}")]
    Client(#[from] KafkaError),
    #[error("topic {0:?} has no partition {1}: run mall topics")]
    NoPartition(String, i32),
    #[error("partition {1} of topic {0:?} has no leader")]
    NoLeader(String, i32),
    /// See [`kafka::RENEWAL`]: the client may have given up for good.
    #[error("topic {0:?} has records, and none comes")]
    Stalled(String),
    /// As above: a broker answers, and the leader does not.
    #[error("partition {1} of topic {0:?} does not tell its offsets: {2}")]
    Silent(String, i32, String),
}

impl Failure {
    /// Returns `true` if the client is to be replaced: another one may succeed at once, or this one has reached no broker
    /// for too long.
    fn needs_renewal(&self, consumer: &Consumer) -> bool {
        matches!(self, Self::Stalled(_) | Self::Silent(..)) || consumer.needs_renewal()
    }
}

impl Reader {
    /// Counts until it is told to stop.
    pub(crate) fn run(mut self) {
        self.set_problem(Some(READING.to_owned()));
        // Connects while the snapshot is read. An error is said when the region begins.
        let _ = self.sources[0].consumer.wait_for_broker();
        let restored = Arc::clone(&self.restored);
        let _ = Handle::current().block_on(self.shutdown.run_until_cancelled(restored.wait()));
        while !self.shutdown.is_cancelled() {
            if let Err(failure) = self.begin().and_then(|()| self.read())
                && !self.shutdown.is_cancelled()
            {
                self.fail(&failure);
                let pause = tokio::time::sleep(RETRY_INTERVAL);
                Handle::current().block_on(self.shutdown.run_until_cancelled(pause));
            }
        }
    }

    /// Shows a failure, and replaces the client if that may help.
    fn fail(&mut self, failure: &Failure) {
        let consumer = &self.sources[0].consumer;
        let renew = failure.needs_renewal(consumer);
        let mut problem = match failure {
            Failure::Consume(error) if consumer.is_disconnected() => consumer.outage(error),
            failure => failure.to_string(),
        };
        if renew {
            tracing::warn!(
                service = self.service,
                partition = self.partition.id(),
                reason = problem,
                "the client is replaced"
            );
            if let Err(error) = source::renew(&mut self.sources, &self.kafka) {
                problem = format!("could not make another client: {error}");
            }
        }
        self.show(problem);
    }

    /// Shows a problem, and logs it if it is a new one. Readiness does not wait for this region any longer.
    fn show(&self, problem: String) {
        if self.set_problem(Some(problem.clone())) {
            let (service, partition) = (self.service.as_str(), self.partition.id());
            tracing::warn!(
                service,
                partition,
                reason = problem,
                "the figures of this region may be incomplete"
            );
        }
        self.release();
    }

    fn set_problem(&self, problem: Option<String>) -> bool {
        let news = self.figures.lock().set_problem(self.partition, problem);
        if news {
            self.figures.changed.send_replace(());
        }
        news
    }

    fn release(&self) {
        if let Some(latch) = self.latch.take().and_then(Arc::into_inner) {
            latch.release();
        }
    }

    /// Proves where the figures stand, and reads on from there. The proofs are read with a client of their own: one that
    /// has read to an end waits for more, and everything else that is asked on its connection waits with it.
    fn begin(&mut self) -> Result<(), Failure> {
        let [order, shipment] = &self.sources;
        let bounds = [order.bounds(self.partition)?, shipment.bounds(self.partition)?];
        let client_id = format!("{}-{}-proofs", self.service, self.partition);
        let proofs = Consumer::new(&self.kafka, &client_id, GROUP, order.topic.name(), Fetch::Sparse)?;
        proofs.wait_for_broker()?;
        for (source, bounds) in self.sources.iter_mut().zip(bounds) {
            let proofs = proofs.sharing_client(&self.kafka, source.topic.name());
            source.begin(self.partition, bounds, &self.figures, &proofs, &self.shutdown)?;
        }
        let position = |source: &Source| self.figures.lock().position(source.topic, self.partition).next;
        let positions = self.sources.iter().map(|source| (&source.consumer, position(source)));
        Ok(self.sources[0].consumer.assign_shared(self.partition.id(), positions)?)
    }

    /// Counts what comes, until it is told to stop.
    fn read(&mut self) -> Result<(), Failure> {
        let (begun, mut behind, mut reading) = (Instant::now(), true, false);
        let mut check_at = begun + DOUBT_INTERVAL;
        while !self.shutdown.is_cancelled() {
            if behind && self.is_caught_up() {
                behind = false;
                self.caught_up(begun);
            }
            let consumer = &self.sources[0].consumer;
            let mut doubtful = consumer.is_disconnected();
            match consumer.poll(if reading { Duration::ZERO } else { POLL_TIMEOUT })? {
                Event::Record(record) => {
                    reading = true;
                    self.count(&record);
                    continue;
                }
                Event::End(_) => {
                    self.read_to_end();
                    continue;
                }
                Event::Idle => {
                    if reading && !behind {
                        std::thread::sleep(GATHERING_TIME);
                    }
                    reading = false;
                }
                // The problem is over once a check has found the ends, and they have been reached.
                Event::Interrupted(error) => {
                    (doubtful, behind) = (true, false);
                    self.show(error.to_string());
                }
            }
            if doubtful {
                check_at = check_at.min(Instant::now() + DOUBT_INTERVAL);
            }
            if Instant::now() >= check_at {
                check_at = Instant::now() + self.check()?;
                behind = true;
            }
        }
        Ok(())
    }

    /// Asks whether there are records that have not come. Returns when to ask again.
    fn check(&mut self) -> Result<Duration, Failure> {
        let mut interval = CHECK_INTERVAL;
        for source in &mut self.sources {
            source.end = match source.bounds(self.partition) {
                Ok(bounds) => bounds.high,
                Err(failure) if failure.needs_renewal(&source.consumer) => return Err(failure),
                // The next question would take as long in vain.
                Err(_) => source::UNKNOWN,
            };
            let position = self.figures.lock().position(source.topic, self.partition).next;
            if source.is_stalled(position) {
                return Err(Failure::Stalled(source.consumer.topic().to_owned()));
            }
            if position < source.end {
                interval = DOUBT_INTERVAL;
            }
            if source.end == source::UNKNOWN {
                break;
            }
        }
        Ok(interval)
    }

    fn is_caught_up(&self) -> bool {
        let figures = self.figures.lock();
        let is_read = |source: &Source| figures.position(source.topic, self.partition).next >= source.end;
        self.sources.iter().all(is_read)
    }

    /// Everything has been counted that was there when this region began.
    fn caught_up(&self, begun: Instant) {
        if self.set_problem(None) {
            let (service, partition, seconds) = (
                self.service.as_str(),
                self.partition.id(),
                begun.elapsed().as_secs_f32(),
            );
            let [order, shipment] = self.sources.each_ref().map(|source| source.counted.take());
            tracing::info!(service, partition, order, shipment, seconds, "caught up");
        }
        self.release();
    }

    /// The end of a partition was reached, of one topic or the other. Its last offset may be the end of a transaction,
    /// which is no record: it must not look uncounted when retention has removed it.
    fn read_to_end(&self) {
        for source in &self.sources {
            if let Some(end) = source.consumer.position(self.partition.id())
                && self.figures.lock().read_to(source.topic, self.partition, end)
            {
                self.figures.changed.send_replace(());
            }
        }
    }

    /// Counts one record. One line is logged for each order that comes in; those that were in the log already when the
    /// service started have had theirs.
    fn count(&self, record: &ConsumedRecord<'_>) {
        let Some(source) = self
            .sources
            .iter()
            .find(|source| source.consumer.topic() == record.topic())
        else {
            return;
        };
        let (value, offset, timestamp) = (record.value(), record.offset(), record.timestamp());
        if offset < source.end {
            source.counted.update(|counted| counted + 1);
        }
        match source.topic {
            Topic::Shipment => {
                let counted = self
                    .figures
                    .lock()
                    .count_shipment(self.partition, offset, timestamp, value);
                if let Some(shipment) = counted {
                    self.figures.remember_shipment(self.partition, &shipment);
                }
            }
            Topic::Order => {
                let counted = self
                    .figures
                    .lock()
                    .count_order(self.partition, offset, timestamp, value);
                if let Ok(Some(id)) = counted {
                    self.figures.remember_order(self.partition, offset, id);
                }
                self.log_order(offset, offset < source.replay_until, counted);
            }
        }
        self.figures.changed.send_replace(());
    }

    fn log_order(&self, offset: i64, replayed: bool, counted: Result<Option<OrderId>, NotAnOrder>) {
        let (service, region, partition) = (self.service.as_str(), Region::from(self.partition), self.partition.id());
        match counted {
            Ok(Some(order_id)) if replayed => {
                tracing::debug!(service, %order_id, partition, offset, %region, "order counted again");
            }
            Ok(Some(order_id)) => tracing::info!(service, %order_id, partition, offset, %region, "order counted"),
            Ok(None) => tracing::debug!(service, partition, offset, %region, "record was counted before"),
            Err(error) => tracing::debug!(service, partition, offset, %region, %error, "not an order"),
        }
    }
}
