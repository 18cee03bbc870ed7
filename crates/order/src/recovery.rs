//! Reads back what order-N needs from its own partition: the last order id and the receipts of the last ten minutes.

use anyhow::Context as _;
use domain::{Mark, Order, OrderId, Ordinal, Partition, Topic, idempotency};
use kafka::{Consumer, Fetch, Watermarks};
use tokio_util::sync::CancellationToken;

use crate::Now;
use crate::keys::Keys;

/// The group of order-N, which commits nothing: librdkafka asks for one.
const GROUP: &str = "order";
/// Offsets at the end of the partition that are searched for the last order id at least: more than records by other
/// programs are likely to fill.
const TAIL_OFFSETS: i64 = 1000;

/// The part of a partition that order-N remembers: a fold over its last records.
#[derive(Debug)]
pub struct Tail {
    ordinal: Ordinal,
    /// The largest id of this replica.
    pub last_order_id: Option<OrderId>,
    /// The receipts of the last ten minutes.
    pub keys: Keys,
    records: u64,
    now: Now,
}

impl Tail {
    /// Nothing has been read. `now` tells how old orders are.
    pub fn new(ordinal: Ordinal, now: Now) -> Self {
        Self {
            ordinal,
            last_order_id: None,
            keys: Keys::default(),
            records: 0,
            now,
        }
    }

    /// Adds the next record, which may hold any bytes. Orders of other replicas say nothing about this one.
    pub fn add<'a>(&mut self, offset: i64, headers: impl IntoIterator<Item = (&'a str, &'a str)>, value: &[u8]) {
        self.records += 1;
        let Ok(order) = Order::from_record(value) else {
            return;
        };
        if order.order_id.ordinal() != self.ordinal {
            return;
        }
        self.last_order_id = self.last_order_id.max(Some(order.order_id));
        let rest = Mark::SPAN.checked_sub(self.now.wall.since(order.order_id.time()));
        if let (Some((key, request)), Some(rest)) = (idempotency(headers), rest) {
            self.keys
                .insert((&key, &request), order, offset, self.now.monotonic + rest);
        }
    }
}

/// Reads the tail of a partition. Blocks.
pub(crate) fn read_tail(
    kafka: &kafka::Config,
    service: &str,
    ordinal: Ordinal,
    stop: &CancellationToken,
) -> anyhow::Result<Tail> {
    let now = Now::new();
    let client_id = format!("{service}-tail");
    let consumer = Consumer::new(kafka, &client_id, GROUP, Topic::Order.name(), Fetch::Bulk)
        .context("could not make a consumer")?;
    consumer.wait_for_broker()?;
    let partition = Partition::from(ordinal).id();
    let Watermarks { low, high } = consumer.watermarks(partition)?;
    let oldest = consumer.offset_at(partition, (now.wall - Mark::SPAN).unix_millis().cast_signed())?;
    let mut tail = Tail::new(ordinal, now);
    let from = oldest.min(high - TAIL_OFFSETS).max(low);
    consumer.read_all(partition, from..high, stop, |record| {
        tail.add(record.offset(), record.headers(), record.value());
    })?;
    tracing::info!(
        service,
        last_order_id = tail.last_order_id.map(tracing::field::display),
        records = tail.records,
        keys_found = tail.keys.len(),
        seconds = now.monotonic.elapsed().as_secs_f32(),
        "the end of the log is read"
    );
    Ok(tail)
}
