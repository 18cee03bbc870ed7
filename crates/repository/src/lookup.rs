//! Finds one order in the logs: the time in its id leads to its record, and that to its outcome.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use domain::{Accepted, Journey, Order, OrderId, Partition, Shipment, Shipped};
use kafka::{Config, ConsumeError, Consumer, Fetch, ReadLimits, Watermarks};
use tokio_util::sync::CancellationToken;

use crate::kafka_logs::GROUP;

/// An order can stand behind records whose ids are so much younger: a record that order-N had given up, or that a broker
/// held back while it was frozen, enters the log later than those that were made meanwhile.
const DISORDER: Duration = Duration::from_secs(6);
/// After a freeze of any length, so many younger records can come before it: those of the first tenth of a second.
const DISORDERED_RECORDS: u32 = 1000;
/// Outcomes that are read rather than passed over with another fetch.
const NEAR: i64 = 16;

/// Finds orders of one partition. Blocks.
pub(crate) struct Lookup {
    partition: Partition,
    orders: Consumer,
    shipments: Consumer,
    stop: CancellationToken,
}

impl Lookup {
    /// Connects.
    ///
    /// # Errors
    /// When the configuration cannot be used, or no broker answers.
    pub(crate) fn connect(
        kafka: &Config,
        name: &str,
        partition: Partition,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let connect = |topic| -> anyhow::Result<Consumer> {
            let consumer = Consumer::new(kafka, &format!("{name}-lookup"), GROUP, topic, Fetch::Sparse)?;
            consumer.wait_for_broker()?;
            Ok(consumer)
        };
        Ok(Self {
            partition,
            orders: connect("order")?,
            shipments: connect("shipment")?,
            stop: stop.clone(),
        })
    }

    /// Returns the journey of an order; `None` if the order is not in the log.
    ///
    /// # Errors
    /// When the broker does not answer before `deadline`.
    pub(crate) fn find(&self, id: OrderId, deadline: Instant) -> Result<Option<Journey>, ConsumeError> {
        let Some((order, offset)) = self.order(id, deadline)? else {
            return Ok(None);
        };
        Ok(Some(Journey {
            order,
            accepted: Accepted::new(&order, self.partition, offset),
            shipment: self.outcome(offset, id, deadline)?,
        }))
    }

    /// Calls `visit` for each record from an offset on, until it breaks or the end is reached.
    fn read(
        &self,
        consumer: &Consumer,
        from: i64,
        deadline: Instant,
        visit: impl FnMut(&kafka::ConsumedRecord<'_>) -> ControlFlow<()>,
    ) -> Result<(), ConsumeError> {
        let partition = self.partition.id();
        let Watermarks { low, high } = consumer.watermarks(partition)?;
        let limits = ReadLimits {
            stop: &self.stop,
            deadline: Some(deadline),
        };
        consumer.read(partition, from.max(low)..high, limits, visit)
    }

    /// The first record with an id. It is not before the first record of the time in the id.
    fn order(&self, id: OrderId, deadline: Instant) -> Result<Option<(Order, i64)>, ConsumeError> {
        let from = self.first_at(&self.orders, id)?;
        let (mut found, mut younger) = (None, 0);
        let beyond = id.time().unix_millis() + DISORDER.as_millis() as u64;
        self.read(&self.orders, from, deadline, |record| {
            let key = record.key().and_then(|key| key.parse::<OrderId>().ok());
            if key == Some(id) {
                let order = Order::from_record(record.value()).ok();
                found = order.map(|order| (order, record.offset()));
            }
            younger += u32::from(key.is_some_and(|key| key.time().unix_millis() > beyond));
            if found.is_some() || younger > DISORDERED_RECORDS {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        Ok(found)
    }

    /// The first offset whose record has the time of an id, or a later one.
    fn first_at(&self, consumer: &Consumer, id: OrderId) -> Result<i64, ConsumeError> {
        consumer.offset_at(self.partition.id(), id.time().unix_millis().cast_signed())
    }

    /// The outcome of the record of topic `order` at an offset; `None` while there is none.
    fn outcome(&self, order_offset: i64, id: OrderId, deadline: Instant) -> Result<Option<Shipped>, ConsumeError> {
        let mut from = self.first_at(&self.shipments, id)?;
        loop {
            match self.search(order_offset, from, deadline)? {
                Search::Found(shipped) => return Ok(Some(*shipped)),
                Search::Later(offset) => from = offset,
                // The index of times leads too far where an outcome has an earlier time than its order.
                Search::Before if from > 0 => from = 0,
                Search::Before | Search::Missing => return Ok(None),
            }
        }
    }

    /// Reads the outcomes from an offset on. They stand in the order of topic `order`, one for each record and the ends of
    /// transactions between them, so that the distance to a later one is known to be at least the missing records.
    fn search(&self, order_offset: i64, from: i64, deadline: Instant) -> Result<Search, ConsumeError> {
        let mut result = None;
        self.read(&self.shipments, from, deadline, |record| {
            let Ok(shipment) = Shipment::from_record(record.value()) else {
                return ControlFlow::Continue(());
            };
            let missing = order_offset - shipment.order_offset;
            result = match missing {
                0 => Some(Search::Found(Box::new(Shipped::new(
                    shipment,
                    self.partition,
                    record.offset(),
                )))),
                1..=NEAR => return ControlFlow::Continue(()),
                ..0 => Some(Search::Before),
                _ => Some(Search::Later(record.offset() + missing)),
            };
            ControlFlow::Break(())
        })?;
        // Nothing from `from` on: the outcome is before it, or does not exist yet.
        Ok(result.unwrap_or(if from == 0 { Search::Missing } else { Search::Before }))
    }
}

/// The result of reading outcomes from an offset on.
enum Search {
    Found(Box<Shipped>),
    /// It is not before this offset.
    Later(i64),
    /// It is before the offset at which the reading began, if it exists.
    Before,
    /// It does not exist.
    Missing,
}
