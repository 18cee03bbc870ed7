//! Reads back from the logs what was shipped before the memory of recent orders begins: by an earlier process.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use domain::{Order, Partition, Shipment};
use kafka::{Config, ConsumeError, Consumer, Replay};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::known::KnownOrders;
use crate::recent::{Entry, Offsets, RecentOrders};

/// What was shipped is read back when this many shipped orders had to be looked for in the logs. It takes some seconds of a
/// processor, as much as a few hundred more would.
const MISSED: usize = 100;
/// A backfill that has failed is tried again after this, when more are missed.
const PAUSE: Duration = Duration::from_secs(30);

/// Reads back what was shipped once it is asked for.
pub(crate) struct Backfill {
    kafka: Config,
    name: String,
    partition: Partition,
    known: KnownOrders,
    missed: AtomicUsize,
    wanted: Notify,
}

impl Backfill {
    pub(crate) fn new(kafka: &Config, name: &str, partition: Partition, known: KnownOrders) -> Self {
        Self {
            kafka: kafka.clone(),
            name: name.to_owned(),
            partition,
            known,
            missed: AtomicUsize::new(0),
            wanted: Notify::new(),
        }
    }

    /// An order was found in the logs that could have been remembered: it was shipped.
    pub(crate) fn missed(&self) {
        if self.missed.fetch_add(1, Ordering::Relaxed) + 1 >= MISSED {
            self.wanted.notify_one();
        }
    }

    /// Waits until many have been missed and reads them back, once; then until the service is asked to stop.
    pub(crate) async fn run(&self, shutdown: &CancellationToken) {
        let read_back = async {
            self.wanted.notified().await;
            while let Err(error) = self.read_back(shutdown.clone()).await {
                let (service, error) = (self.name.as_str(), format!("{error:#}"));
                tracing::warn!(
                    service,
                    error,
                    "could not read back what was shipped: trying again when it is asked for"
                );
                sleep(PAUSE).await;
                self.wanted.notified().await;
            }
        };
        shutdown.run_until_cancelled(read_back).await;
        // Not again: the memory is full now, or a record that stays in the log ends what can be read back.
        shutdown.cancelled().await;
    }

    async fn read_back(&self, stop: CancellationToken) -> anyhow::Result<()> {
        let begun = Instant::now();
        let (kafka, name, partition, known) = (
            self.kafka.clone(),
            self.name.clone(),
            self.partition,
            self.known.clone(),
        );
        let read = move || anyhow::Ok(Reader::connect(&kafka, &name, partition, known, stop)?.read()?);
        let (service, orders) = (self.name.as_str(), spawn_blocking(read).await??);
        let seconds = begun.elapsed().as_secs_f32();
        tracing::info!(service, orders, seconds, "what was shipped is read back");
        Ok(())
    }
}

/// Reads the logs of one partition. Blocks.
struct Reader {
    partition: i32,
    orders: Consumer,
    shipments: Consumer,
    known: KnownOrders,
    stop: CancellationToken,
}

impl Reader {
    fn connect(
        kafka: &Config,
        name: &str,
        partition: Partition,
        known: KnownOrders,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let connect = |topic| -> anyhow::Result<Consumer> {
            // One that reads ahead would be faster, and need 60 MiB more.
            let consumer = Consumer::new(kafka, &format!("{name}-backfill"), "repository", topic)?;
            consumer.wait_for_broker()?;
            Ok(consumer)
        };
        Ok(Self {
            partition: partition.id(),
            orders: connect("order")?,
            shipments: connect("shipment")?,
            known,
            stop,
        })
    }

    /// Reads as much as there is room for, without what comes before a record whose order was not simply shipped. Returns
    /// how many orders that were.
    fn read(&self) -> Result<usize, ConsumeError> {
        let Some((before, room)) = self.known.begins() else {
            return Ok(0);
        };
        let older = self.shipped_before(before, room)?;
        let orders = older.len();
        Ok(if self.known.prepend(older) { orders } else { 0 })
    }

    /// What was shipped directly before, without a gap: at most so many.
    fn shipped_before(&self, before: Offsets, most: usize) -> Result<VecDeque<Entry>, ConsumeError> {
        let low = self.orders.watermarks(self.partition)?.low;
        let from = low.max(before.order - most as i64);
        let mut orders = self.orders.records(self.partition, from..before.order, &self.stop)?;
        let mut shipped = RecentOrders::entries();
        let Some(mut next) = next_order(&mut orders)? else {
            return Ok(shipped);
        };
        // Records of both topics have the time in the id of their order.
        let time = next.1.order_id.time().unix_millis().cast_signed();
        let from = self.shipments.offset_at(self.partition, time)?;
        let mut outcomes = self
            .shipments
            .records(self.partition, from..before.shipment, &self.stop)?;
        let mut largest = None;
        while let Some(record) = outcomes.next()? {
            let Ok(shipment) = Shipment::from_record(record.value()) else {
                continue;
            };
            let offset = shipment.order_offset;
            if offset >= before.order {
                break;
            }
            while next.0 < offset
                && let Some(later) = next_order(&mut orders)?
            {
                next = later;
            }
            let is_gap = shipped.back().is_some_and(|last| last.offsets().order + 1 != offset);
            // What is late, not shipped, or no order is a gap, too.
            let entry = Some(&next.1)
                .filter(|order| next.0 == offset && largest < Some(order.order_id))
                .and_then(|order| Entry::new(order, &shipment, record.offset()));
            if is_gap || entry.is_none() {
                shipped.clear();
            }
            shipped.extend(entry);
            largest = largest.max(shipment.order_id);
        }
        Ok(shipped)
    }
}

/// The next order, with its offset. Not every record is one.
fn next_order(records: &mut Replay<'_>) -> Result<Option<(i64, Order)>, ConsumeError> {
    while let Some(record) = records.next()? {
        if let Ok(order) = Order::from_record(record.value()) {
            return Ok(Some((record.offset(), order)));
        }
    }
    Ok(None)
}
