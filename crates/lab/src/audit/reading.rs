//! Reads the topics. Every function blocks, for a bounded time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use domain::Replicas;
use kafka::{ConsumeError, ConsumedRecord, Consumer, Fetch, Watermarks};
use tokio_util::sync::CancellationToken;

use super::figures::{Figures, Fold};
use super::findings::{Findings, Place};
use super::invariant::Invariant::{I6, I9};
use super::partition::{Bounds, ORDER, PartitionCheck, SHIPMENT, Summary, judge_suspects};
use super::promises::Promises;
use super::records::{OrderRecord, ShipmentRecord};
use super::seen::{FirstOffsets, REMEMBERED_IDS, SeenIds};

const CLIENT: &str = "audit";
/// How long an order may wait for its outcome.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between looks for more outcomes.
const PAUSE: Duration = Duration::from_millis(50);
/// Records are handed over so many at a time, and so many times ahead: each costs 48 bytes.
const BATCH: usize = 1024;
const BATCHES: usize = 8;

/// The topics of a mall, with their ends as they were when it was opened.
pub(super) struct Topics<'a> {
    orders: Consumer,
    shipments: Consumer,
    pub(super) bounds: Vec<Bounds>,
    /// When the bounds were taken.
    opened: Instant,
    stop: &'a CancellationToken,
    read: &'a AtomicU64,
}

impl<'a> Topics<'a> {
    /// Connects, and asks for the ends.
    ///
    /// # Errors
    /// When there is no broker, or not the topics.
    pub(super) fn open(
        kafka: &kafka::Config,
        replicas: Replicas,
        stop: &'a CancellationToken,
        read: &'a AtomicU64,
        findings: &mut Findings,
    ) -> anyhow::Result<Self> {
        let servers = &kafka.bootstrap_servers;
        let consumer =
            |group, topic| Consumer::new(kafka, CLIENT, group, topic, Fetch::Bulk).context("could not make a consumer");
        let (orders, shipments) = (consumer(CLIENT, ORDER)?, consumer(CLIENT, SHIPMENT)?);
        let repositories = consumer("repository", ORDER)?;
        orders.wait_for_broker().map_err(|error| {
            anyhow!(
                "cannot read the topics: {error}: is there a Kafka at {servers}? MALL_KAFKA__BOOTSTRAP_SERVERS says \
                 where it is"
            )
        })?;
        let mut bounds = Vec::new();
        // In this order, so that an offset that is committed meanwhile is covered by outcomes that are read, and an
        // outcome that is written meanwhile is of an order that is read.
        for partition in replicas.partitions() {
            let committed = ended(stop, || committed(&repositories, partition.id(), findings))?;
            let shipment = ended(stop, || watermarks(&shipments, SHIPMENT, partition.id()))?;
            let order = ended(stop, || watermarks(&orders, ORDER, partition.id()))?;
            bounds.push(Bounds {
                partition: partition.into(),
                order,
                shipment,
                committed,
            });
        }
        let opened = Instant::now();
        check_spare_partitions(&orders, replicas, stop, findings)?;
        Ok(Self {
            orders,
            shipments,
            bounds,
            opened,
            stop,
            read,
        })
    }

    /// How many records there are to read, at least.
    pub(super) fn records(&self) -> u64 {
        let count = |watermarks: Watermarks| watermarks.high.abs_diff(watermarks.low);
        let records = self
            .bounds
            .iter()
            .map(|bounds| count(bounds.order) + count(bounds.shipment));
        records.sum()
    }

    /// Reads a partition, and checks it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn check(
        &self,
        bounds: Bounds,
        figures: Option<&Figures>,
        promises: Option<&mut Promises>,
        findings: &mut Findings,
    ) -> anyhow::Result<Summary> {
        let fold = Fold::of(figures, bounds.partition, findings);
        // Ends the readers when the check has ended, or one of them has failed.
        let stop = self.stop.child_token();
        let mut summary = thread::scope(|scope| {
            let (orders, order_records) = sync_channel(BATCHES);
            let (shipments, shipment_records) = sync_channel(BATCHES);
            let orders = scope.spawn(|| self.send_orders(bounds, Batches::new(orders, &stop)));
            let shipments = scope.spawn(|| self.send_shipments(bounds, Batches::new(shipments, &stop)));
            let check = PartitionCheck::new(bounds, findings, promises, fold, SeenIds::new(REMEMBERED_IDS));
            let summary = check.run(records(order_records), records(shipment_records));
            joined(orders.join())?;
            joined(shipments.join())?;
            anyhow::Ok(summary)
        })
        .with_context(|| format!("cannot read partition {} to its end", bounds.partition))?;
        self.judge_suspects(bounds, &mut summary, findings)?;
        Ok(summary)
    }

    fn send_orders(&self, bounds: Bounds, mut batches: Batches<'_, OrderRecord>) -> Result<(), ConsumeError> {
        let Watermarks { low, high } = bounds.order;
        let stop = batches.stop;
        self.replay(&self.orders, bounds.partition, low..high, stop, |record| {
            batches.push(OrderRecord::new(record.offset(), record.value()));
        })
    }

    /// Reads on while there are orders without an outcome, and some time is left.
    fn send_shipments(&self, bounds: Bounds, mut batches: Batches<'_, ShipmentRecord>) -> Result<(), ConsumeError> {
        let partition = i32::from(bounds.partition);
        let (mut next, mut covered) = (bounds.shipment.low, bounds.order.low);
        let stop = batches.stop;
        loop {
            let high = self.shipments.watermarks(partition)?.high.max(bounds.shipment.high);
            self.replay(&self.shipments, bounds.partition, next..high, stop, |record| {
                let record = ShipmentRecord::new(record.offset(), record.value());
                if let Some(shipment) = record.shipment {
                    covered = covered.max(shipment.order_offset.saturating_add(1));
                }
                next = record.offset + 1;
                batches.push(record);
            })?;
            let is_late = self.opened.elapsed() > PATIENCE;
            if covered >= bounds.order.high || is_late || stop.is_cancelled() {
                return Ok(());
            }
            batches.flush();
            thread::sleep(PAUSE);
        }
    }

    fn replay(
        &self,
        consumer: &Consumer,
        partition: u16,
        offsets: std::ops::Range<i64>,
        stop: &CancellationToken,
        mut visit: impl FnMut(&ConsumedRecord<'_>),
    ) -> Result<(), ConsumeError> {
        let end = offsets.end;
        consumer.read_all(i32::from(partition), offsets, stop, |record| {
            // Others write meanwhile.
            if record.offset() < end {
                visit(record);
                self.read.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    /// Reads topic `order` again, for those orders whose ids were too small to be remembered.
    fn judge_suspects(&self, bounds: Bounds, summary: &mut Summary, findings: &mut Findings) -> anyhow::Result<()> {
        let suspects = std::mem::take(&mut summary.suspects);
        let Some(last) = suspects.last() else {
            return Ok(());
        };
        let mut firsts = FirstOffsets::of(&suspects);
        self.replay(
            &self.orders,
            bounds.partition,
            bounds.order.low..last.offset,
            self.stop,
            |record| {
                firsts.see(&OrderRecord::new(record.offset(), record.value()));
            },
        )?;
        judge_suspects(bounds, &suspects, &firsts, findings);
        Ok(())
    }
}

fn watermarks(consumer: &Consumer, topic: &str, partition: i32) -> anyhow::Result<Watermarks> {
    let answer = consumer.watermarks(partition);
    answer.map_err(|error| {
        anyhow!(
            "cannot read {topic}[{partition}]: {error}: is the mall open, and has it so many regions? --replicas says how \
             many"
        )
    })
}

/// A topic may have more partitions than the mall has regions: nobody writes to those.
fn check_spare_partitions(
    orders: &Consumer,
    replicas: Replicas,
    stop: &CancellationToken,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    for number in usize::from(replicas.get())..orders.leaders()?.len() {
        let partition = u16::try_from(number)?;
        let Watermarks { low, high } = ended(stop, || watermarks(orders, ORDER, i32::from(partition)))?;
        if low < high {
            findings.offence(I6, Place::record(ORDER, partition, low, None), || {
                format!(
                    "expected no records, since the mall has {replicas} regions (--replicas): found {}",
                    high - low
                )
            });
        }
    }
    Ok(())
}

/// What group `repository` has committed. Who may not ask reads the topics all the same.
fn committed(consumer: &Consumer, partition: i32, findings: &mut Findings) -> anyhow::Result<Option<i64>> {
    match consumer.committed(partition) {
        Ok(committed) => Ok(committed.map(|committed| committed.offset)),
        Err(error) => {
            findings.not_checked(I9, error.to_string());
            Ok(None)
        }
    }
}

/// Asks, unless it is to stop.
fn ended<T>(stop: &CancellationToken, ask: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    if stop.is_cancelled() {
        return Err(anyhow!("asked to stop"));
    }
    ask()
}

fn joined(ended: thread::Result<Result<(), ConsumeError>>) -> anyhow::Result<()> {
    Ok(ended.map_err(|_| anyhow!("a reader has panicked"))??)
}

fn records<T>(batches: Receiver<Vec<T>>) -> impl Iterator<Item = T> {
    batches.into_iter().flatten()
}

/// Hands records to another thread, many at a time.
struct Batches<'a, T> {
    sender: SyncSender<Vec<T>>,
    batch: Vec<T>,
    stop: &'a CancellationToken,
}

impl<'a, T> Batches<'a, T> {
    fn new(sender: SyncSender<Vec<T>>, stop: &'a CancellationToken) -> Self {
        Self {
            sender,
            batch: Vec::with_capacity(BATCH),
            stop,
        }
    }

    fn push(&mut self, record: T) {
        self.batch.push(record);
        if self.batch.len() == BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        if self.sender.send(batch).is_err() {
            // Nobody takes them: the check has panicked.
            self.stop.cancel();
        }
    }
}

impl<T> Drop for Batches<'_, T> {
    fn drop(&mut self) {
        self.flush();
    }
}
