//! Reads one topic from its beginning and counts its records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use domain::{Partition, Region, Replicas};
use kafka::{ConsumedRecord, Consumer, Event, RENEWAL};
use service::Latch;
use tokio_util::sync::CancellationToken;

use crate::Figures;

/// How long a wait may keep from noticing that the service is asked to stop.
const POLL: Duration = Duration::from_millis(100);
/// The first record after a quiet time is counted at once, those that come in the time after it together: a request to
/// the broker for each of them costs more than all else that is done for it.
const GATHERING: Duration = Duration::from_millis(20);
/// How often the cluster is asked for new partitions: they are counted within 15 s.
const DISCOVERY: Duration = Duration::from_secs(10);
/// The same while there are none yet, or while it does not answer.
const FIRST_DISCOVERY: Duration = Duration::from_millis(500);

/// A topic that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Log {
    Order,
    Shipment,
}

impl Log {
    pub(crate) fn topic(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Shipment => "shipment",
        }
    }
}

/// Counts one topic. Blocks its thread.
pub(crate) struct Counter {
    log: Log,
    name: String,
    reader: Consumer,
    figures: Arc<Figures>,
    latch: Latch,
    shutdown: CancellationToken,
    /// All partitions of the topic that are read.
    partitions: Vec<Partition>,
    /// Those of them that have not been read yet to where they ended when they were found, and that offset.
    behind: BTreeMap<i32, i64>,
    /// Records that were there already when their partition was found.
    replayed: u64,
}

impl Counter {
    pub(crate) fn new(
        kafka: &kafka::Config,
        log: Log,
        context: &service::Context,
        latch: Latch,
        figures: Arc<Figures>,
    ) -> anyhow::Result<Self> {
        let (name, shutdown) = (context.name.clone(), context.shutdown.clone());
        let client_id = format!("{name}-{}", log.topic());
        let reader = Consumer::new(kafka, &client_id, "statistics", log.topic()).context("could not make a reader")?;
        let (partitions, behind) = (Vec::new(), BTreeMap::new());
        Ok(Self {
            log,
            name,
            reader,
            figures,
            latch,
            shutdown,
            partitions,
            behind,
            replayed: 0,
        })
    }

    /// Counts until it is asked to stop.
    pub(crate) fn run(mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut reached = begun;
        let mut next_discovery = begun;
        let mut caught_up = false;
        let mut reading = false;
        let mut interrupted = false;
        while !self.shutdown.is_cancelled() {
            if Instant::now() >= next_discovery {
                let answered = self.discover()?;
                if answered {
                    reached = Instant::now();
                } else if reached.elapsed() > RENEWAL {
                    self.renew()?;
                    reached = Instant::now();
                }
                let settled = answered && !self.partitions.is_empty();
                next_discovery = Instant::now() + if settled { DISCOVERY } else { FIRST_DISCOVERY };
            }
            let event = self.reader.poll(if reading { Duration::ZERO } else { POLL })?;
            let served = matches!(event, Event::Record(_) | Event::End(_));
            match event {
                Event::Record(record) => {
                    reading = true;
                    let index = usize::try_from(record.partition()).unwrap_or(usize::MAX);
                    if let Some(partition) = self.partitions.get(index) {
                        let end = self.behind.get(&record.partition()).copied();
                        let replay = end.is_some_and(|end| record.offset() < end);
                        count(&self.figures, self.log, &self.name, *partition, &record, replay);
                        self.replayed += u64::from(replay);
                        // While others write there is always more, and the end of the partition may never be seen.
                        if end.is_some_and(|end| record.offset() + 1 >= end) {
                            self.behind.remove(&record.partition());
                        }
                    }
                }
                Event::End(partition) => {
                    self.behind.remove(&partition);
                }
                Event::Idle if reading => {
                    reading = false;
                    if caught_up {
                        std::thread::sleep(GATHERING);
                    }
                }
                Event::Idle => {}
                Event::Interrupted(reason) => {
                    self.latch.hold(&reason);
                    interrupted = true;
                    continue;
                }
            }
            if interrupted && served {
                interrupted = false;
                if caught_up {
                    self.latch.release();
                }
            }
            if !caught_up && self.behind.is_empty() && !self.partitions.is_empty() {
                caught_up = true;
                let (service, topic, records) = (self.name.as_str(), self.log.topic(), self.replayed);
                tracing::info!(
                    service,
                    topic,
                    records,
                    seconds = begun.elapsed().as_secs_f32(),
                    "caught up"
                );
                self.latch.release();
            }
        }
        Ok(())
    }

    /// Starts to read partitions that are new. Returns whether the broker has answered.
    fn discover(&mut self) -> anyhow::Result<bool> {
        let fresh = match self.fresh() {
            Ok(fresh) => fresh,
            Err(error) => {
                self.complain(&self.reader.outage(&error));
                return Ok(false);
            }
        };
        if fresh.is_empty() {
            self.complain(&format!("topic {} does not exist: run mall topics", self.log.topic()));
            return Ok(true);
        }
        self.partitions.extend(fresh.keys());
        self.figures.lock().grow(self.partitions.iter().copied());
        self.assign(fresh.keys().copied())?;
        self.behind
            .extend(fresh.into_iter().map(|(partition, end)| (partition.id(), end)));
        Ok(true)
    }

    /// Goes on with another client where this one stopped.
    fn renew(&mut self) -> anyhow::Result<()> {
        self.reader.renew().context("could not make another reader")?;
        self.assign(self.partitions.iter().copied())
    }

    /// Reads these partitions from where the figures stand.
    fn assign(&self, partitions: impl Iterator<Item = Partition>) -> anyhow::Result<()> {
        let offsets = self.figures.lock().offsets();
        let offsets = match self.log {
            Log::Order => offsets.order,
            Log::Shipment => offsets.shipment,
        };
        let position = |partition: Partition| offsets.get(partition.index()).copied().filter(|offset| *offset > 0);
        Ok(self
            .reader
            .assign_more(partitions.map(|partition| (partition.id(), position(partition))))?)
    }

    /// The partitions that are not read yet, and where they end.
    fn fresh(&self) -> anyhow::Result<BTreeMap<Partition, i64>> {
        let count = i64::try_from(self.reader.partitions()?)?;
        if count == 0 {
            return Ok(BTreeMap::new());
        }
        let replicas = Replicas::try_from(count).context("too many partitions")?;
        let fresh = replicas.partitions().skip(self.partitions.len());
        fresh
            .map(|partition| Ok((partition, self.reader.watermarks(partition.id())?.high)))
            .collect()
    }

    /// Only while there is nothing to show: after that the figures are good, if not of this moment.
    fn complain(&self, reason: &str) {
        if self.partitions.is_empty() {
            self.latch.hold(reason);
        }
    }
}

/// Counts one record. One line is logged for each order that comes in; those that were in the log already when the
/// service started have had theirs.
fn count(figures: &Figures, log: Log, service: &str, partition: Partition, record: &ConsumedRecord<'_>, replay: bool) {
    let (offset, region) = (record.offset(), Region::from(partition));
    if log == Log::Shipment {
        figures.lock().count_shipment(partition, offset, record.value());
    } else {
        let counted = figures
            .lock()
            .count_order(partition, offset, record.value())
            .map(|order| order.order_id);
        match counted {
            Some(order_id) if replay => {
                tracing::debug!(service, %order_id, partition = partition.id(), offset, %region, "order counted again")
            }
            Some(order_id) => {
                tracing::info!(service, %order_id, partition = partition.id(), offset, %region, "order counted")
            }
            None => tracing::debug!(service, partition = partition.id(), offset, %region, "not an order"),
        }
    }
    figures.changed.send_replace(());
}
