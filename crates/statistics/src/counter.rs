//! Reads one topic, after what a snapshot has of it, and counts its records.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use domain::{NotAnOrder, OrderId, Partition, Region, Snapshot, Topic};
use kafka::{ConsumedRecord, Consumer, Event, Watermarks};
use service::Latch;
use tokio::sync::{Notify, SetOnce};
use tokio_util::sync::CancellationToken;

use crate::Figures;
use crate::discovery::News;
use crate::progress::Progress;
use crate::stall::StallDetector;
use crate::start::Start;

/// How long a wait may keep from noticing that the service is asked to stop. rdkafka spends some of each wait without a
/// pause: with 100 ms this was a third of what an idle statistics takes.
const POLL: Duration = Duration::from_millis(250);
/// The same while what was there at the start is looked for: what the broker has said of each partition waits so long.
const START_POLL: Duration = Duration::from_millis(20);
/// The first record after a quiet time is counted at once, those that come in the time after it together: a request to
/// the broker for each of them costs more than all else that is done for it.
const GATHERING: Duration = Duration::from_millis(20);

/// Counts one topic. Blocks its thread.
pub(crate) struct Counter {
    pub(crate) topic: Topic,
    /// The name of this service in its log.
    pub(crate) service: String,
    pub(crate) consumer: Consumer,
    pub(crate) news: Receiver<News>,
    pub(crate) figures: Arc<Figures>,
    pub(crate) latch: Latch,
    pub(crate) shutdown: CancellationToken,
    /// What was counted before this process.
    pub(crate) snapshot: Arc<SetOnce<Snapshot>>,
    /// The partitions that there are.
    pub(crate) partitions: Vec<Partition>,
    /// Those that are read.
    pub(crate) assigned: Vec<Partition>,
    pub(crate) stall_detector: StallDetector,
    /// Notified when it is doubtful whether all records come.
    pub(crate) ends_wanted: Arc<Notify>,
}

impl Counter {
    /// Counts until it is told to stop.
    pub(crate) fn run(mut self) -> anyhow::Result<()> {
        let (begun, mut progress) = (Instant::now(), Progress::default());
        let (mut caught_up, mut reading, mut interruption) = (false, false, None);
        while !self.shutdown.is_cancelled() {
            while let Ok(news) = self.news.try_recv() {
                self.hear(news, &mut progress)?;
            }
            let timeout = match (reading, caught_up || self.partitions.is_empty()) {
                (true, _) => Duration::ZERO,
                (false, true) => POLL,
                (false, false) => START_POLL,
            };
            match self.consumer.poll(timeout)? {
                Event::Record(record) => {
                    (reading, interruption) = (true, None);
                    self.stall_detector.reset();
                    let replay = progress.read(index(record.partition()), record.offset());
                    self.count(&record, replay);
                }
                Event::End(partition) => {
                    self.stall_detector.reset();
                    progress.at_end(index(partition));
                    self.read_to_end(partition);
                }
                Event::Idle => {
                    if reading && caught_up {
                        std::thread::sleep(GATHERING);
                    }
                    reading = false;
                    if self.consumer.is_disconnected() {
                        self.ends_wanted.notify_one();
                    }
                }
                // After that there is something to show, and other partitions may go on.
                Event::Interrupted(error) if !caught_up => self.latch.hold(&error.to_string()),
                Event::Interrupted(error) => {
                    self.ends_wanted.notify_one();
                    let reason = Some(error.to_string());
                    if interruption != reason {
                        tracing::warn!(service = self.service, reason, "the figures may be incomplete");
                        interruption = reason;
                    }
                }
            }
            if !caught_up && progress.is_caught_up() {
                caught_up = true;
                let (service, topic, records) = (self.service.as_str(), self.topic.name(), progress.replayed());
                let seconds = begun.elapsed().as_secs_f32();
                tracing::info!(service, topic, records, seconds, "caught up");
                self.latch.release();
            }
        }
        Ok(())
    }

    fn hear(&mut self, news: News, progress: &mut Progress) -> anyhow::Result<()> {
        match news {
            News::Partitions(found) if found.is_empty() && self.partitions.is_empty() => {
                progress.found(0);
                let topic = self.topic.name();
                self.latch
                    .hold(&format!("topic {topic} does not exist: run mall topics"));
            }
            News::Partitions(found) => {
                if !progress.found(found.len()).is_empty() {
                    self.figures.lock().grow(found.iter().copied());
                    self.partitions = found;
                    self.figures.changed.send_replace(());
                }
            }
            News::Start(partition, start, bounds) => {
                let position = self.begin(partition, start, bounds);
                progress.starts_at(partition.index(), position);
                progress.ends_at(partition.index(), bounds.high);
                self.assigned.push(partition);
                self.assign(&[partition])?;
            }
            News::Forbidden(reason) => self.latch.hold(&reason),
            News::OutOfReach(partition) => progress.out_of_reach(partition.index()),
            // With partitions there is something to show: the figures are good, if not of this moment.
            News::Outage(reason) if self.partitions.is_empty() => self.latch.hold(&reason),
            News::Outage(_) => self.stall_detector.reset(),
            News::Ends(ends) => {
                let is_behind = self.is_behind(&ends);
                if self.stall_detector.is_stalled(is_behind, Instant::now()) {
                    self.renew("there are records, and none comes")?;
                } else if is_behind {
                    self.ends_wanted.notify_one();
                } else if self.consumer.is_disconnected() && !self.reaches_broker() {
                    self.renew("it reaches no broker, and another client does")?;
                }
            }
        }
        Ok(())
    }

    /// Whether there are records that have not been read.
    fn is_behind(&self, ends: &[(i32, i64)]) -> bool {
        let figures = self.figures.lock();
        ends.iter().any(|(id, end)| {
            let partition = self.partitions.get(index(*id));
            partition.is_some_and(|partition| figures.position(self.topic, *partition).next < *end)
        })
    }

    /// Asks with the client that reads: when all has been read, nothing that comes says that it has a broker again.
    fn reaches_broker(&self) -> bool {
        let first = self.assigned.first().map(|partition| partition.id());
        self.consumer.ends(first).is_ok()
    }

    /// Reads on with another client.
    fn renew(&mut self, reason: &str) -> anyhow::Result<()> {
        let (service, topic) = (self.service.as_str(), self.topic.name());
        tracing::warn!(service, topic, reason, "the client is replaced");
        self.consumer.renew().context("could not make another consumer")?;
        self.assign(&self.assigned)
    }

    /// Begins the figures of a partition. Returns the offset of the next record to count.
    fn begin(&self, partition: Partition, start: Start, bounds: Watermarks) -> i64 {
        let position = {
            let mut figures = self.figures.lock();
            match (start, self.snapshot.get()) {
                (Start::AfterSnapshot, Some(snapshot)) => figures.restore(self.topic, partition, snapshot),
                _ => figures.begin(self.topic, partition, bounds.low),
            }
            figures.position(self.topic, partition)
        };
        self.figures.changed.send_replace(());
        if position.begin > 0 {
            tracing::warn!(
                service = self.service,
                topic = self.topic.name(),
                partition = partition.id(),
                offset = position.begin,
                "totals begin at this offset: what was before it had been removed from the log uncounted"
            );
        }
        position.next
    }

    /// Reads these partitions from where the figures stand.
    fn assign(&self, partitions: &[Partition]) -> anyhow::Result<()> {
        let figures = self.figures.lock();
        let position = |partition: &Partition| (partition.id(), figures.position(self.topic, *partition).next);
        let positions: Vec<_> = partitions.iter().map(position).collect();
        drop(figures);
        Ok(self.consumer.assign_more(positions)?)
    }

    /// All of a partition has been read. Its last offset may be the end of a transaction, which is no record: it must not
    /// look uncounted when retention has removed it.
    fn read_to_end(&self, partition: i32) {
        let end = self.consumer.position(partition);
        if let (Some(end), Some(partition)) = (end, self.partitions.get(index(partition)))
            && self.figures.lock().read_to(self.topic, *partition, end)
        {
            self.figures.changed.send_replace(());
        }
    }

    /// Counts one record. One line is logged for each order that comes in; those that were in the log already when the
    /// service started have had theirs.
    fn count(&self, record: &ConsumedRecord<'_>, replay: bool) {
        let Some(partition) = self.partitions.get(index(record.partition())).copied() else {
            return;
        };
        let (value, offset, timestamp) = (record.value(), record.offset(), record.timestamp());
        match self.topic {
            Topic::Shipment => {
                let counted = self.figures.lock().count_shipment(partition, offset, timestamp, value);
                if let Some(shipment) = counted {
                    self.figures.remember_shipment(partition, &shipment);
                }
            }
            Topic::Order => {
                let counted = self.figures.lock().count_order(partition, offset, timestamp, value);
                if let Ok(Some(id)) = counted {
                    self.figures.remember_order(partition, offset, id);
                }
                self.log_order(partition, offset, replay, counted);
            }
        }
        self.figures.changed.send_replace(());
    }

    fn log_order(&self, partition: Partition, offset: i64, replay: bool, counted: Result<Option<OrderId>, NotAnOrder>) {
        let (service, region, partition) = (self.service.as_str(), Region::from(partition), partition.id());
        match counted {
            Ok(Some(order_id)) if replay => {
                tracing::debug!(service, %order_id, partition, offset, %region, "order counted again");
            }
            Ok(Some(order_id)) => tracing::info!(service, %order_id, partition, offset, %region, "order counted"),
            Ok(None) => tracing::debug!(service, partition, offset, %region, "record was counted before"),
            Err(error) => tracing::debug!(service, partition, offset, %region, %error, "not an order"),
        }
    }
}

/// The partition as an index; what is none is beyond all.
fn index(partition: i32) -> usize {
    usize::try_from(partition).unwrap_or(usize::MAX)
}
