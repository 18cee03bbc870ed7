//! Whether partition N can be written to, and what its end holds: the last order id and the idempotency keys.

use std::ops::Range;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use domain::{
    Drawn, IDEMPOTENCY_DRAWN, IDEMPOTENCY_KEY, IdempotencyKey, Order, OrderId, Ordinal, Partition, Timestamp,
};
use kafka::{ConsumeError, ConsumedRecord, Consumer, ProducerHealth, Watermarks};
use service::Latch;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::keys::{Keys, RETENTION};
use crate::writer::Tail;

/// How often the state of the producer is looked at.
const INTERVAL: Duration = Duration::from_millis(500);
/// How often the broker is asked while all is well: finds a topic that was deleted.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// How many offsets at the end of the partition are searched for the last order id at least: more than records that are
/// no orders are likely to fill.
const TAIL_OFFSETS: i64 = 1000;
/// Records that the thread that reads hands to the one that remembers, at a time.
const BATCH: usize = 500;
/// Batches that may wait for the thread that remembers: less than a MiB.
const BATCHES: usize = 4;
/// What a predecessor sent before it was killed can still wait in the broker's socket, for as long as the broker hangs.
/// Kafka takes it up with the first requests after that, in milliseconds: the end of the log is read this much later.
const PREDECESSOR: Duration = Duration::from_millis(500);

/// Looks after the producer, and holds the latch while the partition cannot be written to.
pub(crate) struct Broker {
    kafka: kafka::Config,
    name: String,
    ordinal: Ordinal,
    producer: ProducerHealth,
    idempotency_keys: usize,
    latch: Latch,
}

impl Broker {
    pub(crate) fn new(config: &Config, name: &str, producer: ProducerHealth, latch: Latch) -> Self {
        Self {
            kafka: config.kafka.clone(),
            name: name.to_owned(),
            ordinal: config.ordinal,
            producer,
            idempotency_keys: config.settings.idempotency_keys.get() as usize,
            latch,
        }
    }

    fn partition(&self) -> i32 {
        Partition::from(self.ordinal).id()
    }

    /// Reads the end of the partition, for as long as it takes; `None` when the service is asked to stop meanwhile.
    pub(crate) async fn tail(&self, shutdown: &CancellationToken) -> Option<Tail> {
        while !shutdown.is_cancelled() {
            match self.try_tail(shutdown).await {
                Ok(tail) => {
                    self.latch.release();
                    return Some(tail);
                }
                Err(error) => self.latch.hold(&format!("{error:#}")),
            }
            // A time-out is not an error: it is the interval.
            let _ = tokio::time::timeout(INTERVAL, shutdown.cancelled()).await;
        }
        None
    }

    async fn try_tail(&self, shutdown: &CancellationToken) -> anyhow::Result<Tail> {
        self.producer
            .check(self.partition())
            .await
            .map_err(anyhow::Error::msg)?;
        let client_id = format!("{}-tail", self.name);
        let reader = TailReader {
            consumer: Consumer::for_replay(&self.kafka, &client_id, "order", "order")
                .context("could not make a consumer")?,
            service: self.name.clone(),
            ordinal: self.ordinal,
            idempotency_keys: self.idempotency_keys,
            stop: shutdown.clone(),
        };
        spawn_blocking(move || reader.read()).await?
    }

    /// Holds the latch while the partition cannot be written to, until the service is asked to stop.
    pub(crate) async fn watch(self, shutdown: CancellationToken) {
        let mut checked = Instant::now();
        while tokio::time::timeout(INTERVAL, shutdown.cancelled()).await.is_err() {
            let doubtful = self.producer.is_doubtful() || self.latch.reason().is_some();
            if doubtful || checked.elapsed() > CHECK_INTERVAL {
                match self.producer.check(self.partition()).await {
                    Ok(()) => self.latch.release(),
                    Err(reason) => self.latch.hold(&reason),
                }
                checked = Instant::now();
            }
        }
    }
}

/// Reads the end of a partition.
struct TailReader {
    consumer: Consumer,
    service: String,
    ordinal: Ordinal,
    idempotency_keys: usize,
    stop: CancellationToken,
}

/// What a record at its end says.
struct TailRecord {
    /// `None` when it is no order of this replica.
    id: Option<OrderId>,
    offset: i64,
    keyed_order: Option<(IdempotencyKey, Drawn, Order)>,
}

/// What has been read of it.
struct Found {
    ordinal: Ordinal,
    tail: Tail,
    /// When reading began.
    now: Timestamp,
    /// How many records were read.
    records: u64,
    /// How many keys had to be forgotten for younger ones.
    forgotten: u64,
}

impl TailReader {
    /// Blocks.
    fn read(self) -> anyhow::Result<Tail> {
        let begun = Instant::now();
        let mut found = Found::new(self.ordinal, self.idempotency_keys);
        self.read_into(&mut found)?;
        let Found {
            tail,
            records,
            forgotten,
            ..
        } = found;
        let (service, seconds, keys_found) = (self.service.as_str(), begun.elapsed().as_secs_f32(), tail.keys.len());
        tracing::info!(
            service,
            last_order_id = tail.last_order_id.map(tracing::field::display),
            records,
            keys_found,
            seconds,
            "the end of the log is read"
        );
        if forgotten > 0 {
            let setting = "MALL_ORDER__IDEMPOTENCY_KEYS";
            tracing::warn!(
                service,
                forgotten,
                setting,
                "the log holds more keys than are remembered: orders with the oldest ones can be written again"
            );
        }
        Ok(tail)
    }

    /// Reads what is there, and then what a predecessor had on its way.
    fn read_into(&self, found: &mut Found) -> Result<(), ConsumeError> {
        let partition = Partition::from(self.ordinal).id();
        self.consumer.wait_for_broker()?;
        let answered = Instant::now();
        let bounds = self.consumer.watermarks(partition)?;
        // Where nothing was ever written, nobody has had an answer: a mall that is opened for the first time is not held up.
        if bounds.high == 0 {
            return Ok(());
        }
        self.replay(partition, self.start(partition, bounds)?..bounds.high, found)?;
        thread::sleep(PREDECESSOR.saturating_sub(answered.elapsed()));
        self.replay(partition, bounds.high..self.consumer.watermarks(partition)?.high, found)
    }

    /// Reads records, while another thread remembers those before: reading takes about as long as remembering.
    fn replay(&self, partition: i32, offsets: Range<i64>, found: &mut Found) -> Result<(), ConsumeError> {
        let (ordinal, mut batch) = (found.ordinal, Vec::new());
        thread::scope(|scope| {
            let (batches, received) = sync_channel(BATCHES);
            scope.spawn(move || received.iter().flatten().for_each(|record| found.add(record)));
            // An error would mean that the other thread has panicked: so will this one, at the end of the scope.
            let send = |batch| drop(batches.send(batch));
            let read = self.consumer.replay(partition, offsets, &self.stop, |record| {
                batch.push(TailRecord::new(record, ordinal));
                if batch.len() == BATCH {
                    send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH)));
                }
            });
            send(batch);
            read
        })
    }

    /// Where to begin: keys are remembered for a time, and the last id is among the last records.
    fn start(&self, partition: i32, found: Watermarks) -> Result<i64, ConsumeError> {
        let oldest = (Timestamp::now() - RETENTION).unix_millis().cast_signed();
        let first_of_window = self.consumer.offset_at(partition, oldest)?;
        Ok(first_of_window.min(found.high - TAIL_OFFSETS).max(found.low))
    }
}

impl Found {
    fn new(ordinal: Ordinal, idempotency_keys: usize) -> Self {
        Self {
            ordinal,
            tail: Tail {
                last_order_id: None,
                keys: Keys::new(idempotency_keys),
            },
            now: Timestamp::now(),
            records: 0,
            forgotten: 0,
        }
    }

    fn add(&mut self, record: TailRecord) {
        self.records += 1;
        let Some(id) = record.id else {
            return;
        };
        self.tail.last_order_id = self.tail.last_order_id.max(Some(id));
        self.tail.keys.expire(id.time().min(self.now));
        if let Some((key, drawn, order)) = record.keyed_order {
            self.forgotten += u64::from(self.tail.keys.recover(key, drawn, order, record.offset));
        }
    }
}

impl TailRecord {
    fn new(record: &ConsumedRecord<'_>, ordinal: Ordinal) -> Self {
        let id = record.key().and_then(|key| key.parse::<OrderId>().ok());
        // Others may have put records there by hand; ids of other replicas say nothing about this one's.
        let id = id.filter(|id| id.ordinal() == ordinal);
        Self {
            id,
            offset: record.offset(),
            keyed_order: id.and_then(|_| keyed_order(record)),
        }
    }
}

/// The key of a record of this version, what was drawn for it, and its order.
fn keyed_order(record: &ConsumedRecord<'_>) -> Option<(IdempotencyKey, Drawn, Order)> {
    let (mut key, mut drawn) = (None, None);
    for (name, value) in record.headers() {
        match name {
            IDEMPOTENCY_KEY if key.is_none() => key = Some(value),
            IDEMPOTENCY_DRAWN if drawn.is_none() => drawn = Some(value),
            _ => {}
        }
    }
    let (key, drawn) = (key?.to_owned().try_into().ok()?, drawn?.parse().ok()?);
    Some((key, drawn, Order::from_record(record.value()).ok()?))
}
