//! Reads one topic from its beginning and counts its records.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use domain::{NotAnOrder, OrderId, Partition, Region, Replicas};
use kafka::{ConsumedRecord, Consumer, Event};
use service::Latch;
use tokio_util::sync::CancellationToken;

use crate::Figures;
use crate::discovery::News;
use crate::progress::Progress;

/// How long a wait may keep from noticing that the service is asked to stop.
const POLL: Duration = Duration::from_millis(100);
/// The first record after a quiet time is counted at once, those that come in the time after it together: a request to
/// the broker for each of them costs more than all else that is done for it.
const GATHERING: Duration = Duration::from_millis(20);

/// A topic that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    Order,
    Shipment,
}

impl Topic {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Shipment => "shipment",
        }
    }
}

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
    /// The partitions that are read.
    pub(crate) partitions: Vec<Partition>,
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
            match self.consumer.poll(if reading { Duration::ZERO } else { POLL })? {
                Event::Record(record) => {
                    (reading, interruption) = (true, None);
                    let replay = progress.read(index(record.partition()), record.offset());
                    self.count(&record, replay);
                }
                Event::End(partition) => progress.at_end(index(partition)),
                Event::Idle => {
                    if reading && caught_up {
                        std::thread::sleep(GATHERING);
                    }
                    reading = false;
                }
                // After that there is something to show, and other partitions may go on.
                Event::Interrupted(reason) if !caught_up => self.latch.hold(&reason),
                Event::Interrupted(reason) if interruption.as_ref() == Some(&reason) => {}
                Event::Interrupted(reason) => {
                    tracing::warn!(service = self.service, reason, "the figures may be incomplete");
                    interruption = Some(reason);
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
            News::Partitions(0) if self.partitions.is_empty() => {
                progress.found(0);
                let topic = self.topic.name();
                self.latch
                    .hold(&format!("topic {topic} does not exist: run mall topics"));
            }
            News::Partitions(count) => {
                let new = progress.found(count);
                if !new.is_empty() {
                    let replicas = Replicas::try_from(i64::try_from(count)?).context("too many partitions")?;
                    self.partitions = replicas.partitions().collect();
                    self.figures.lock().grow(replicas.partitions());
                    self.assign(&self.partitions[new])?;
                }
            }
            News::End(index, end) => progress.ends_at(index, end),
            News::OutOfReach(index) => progress.out_of_reach(index),
            // With partitions there is something to show: the figures are good, if not of this moment.
            News::Outage(reason) if self.partitions.is_empty() => self.latch.hold(&reason),
            News::Outage(_) => {}
            News::Renewal => {
                self.consumer.renew().context("could not make another consumer")?;
                self.assign(&self.partitions)?;
            }
        }
        Ok(())
    }

    /// Reads these partitions from where the figures stand.
    fn assign(&self, partitions: &[Partition]) -> anyhow::Result<()> {
        let offsets = self.figures.lock().offsets();
        let offsets = match self.topic {
            Topic::Order => offsets.order,
            Topic::Shipment => offsets.shipment,
        };
        let position = |partition: &Partition| offsets.get(partition.index()).copied().filter(|offset| *offset > 0);
        let positions = partitions.iter().map(|partition| (partition.id(), position(partition)));
        Ok(self.consumer.assign_more(positions)?)
    }

    /// Counts one record. One line is logged for each order that comes in; those that were in the log already when the
    /// service started have had theirs.
    fn count(&self, record: &ConsumedRecord<'_>, replay: bool) {
        let Some(partition) = self.partitions.get(index(record.partition())).copied() else {
            return;
        };
        let (value, offset) = (record.value(), record.offset());
        match self.topic {
            Topic::Shipment => self.figures.lock().count_shipment(partition, offset, value),
            Topic::Order => {
                let counted = self.figures.lock().count_order(partition, offset, value);
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
