//! Finds one order in the logs: the time in its id leads to its record, and that to its outcome.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use domain::{Accepted, Journey, Order, OrderId, Outcome, Partition, Shipment, Shipped, Topic};
use kafka::{Config, ConsumeError, Consumer, Fetch, Watermarks};
use tokio_util::sync::CancellationToken;

use crate::kafka_logs::GROUP;

/// An order can stand behind orders that are so much younger: a record that order-N had given up enters the log later.
const DISORDER: Duration = Duration::from_secs(6);
/// An order can also stand behind so many younger orders of any age: those that a broker took up first after a freeze.
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
        let connect = |topic: Topic| -> anyhow::Result<Consumer> {
            let consumer = Consumer::new(kafka, &format!("{name}-lookup"), GROUP, topic.name(), Fetch::Sparse)?;
            consumer.wait_for_broker()?;
            Ok(consumer)
        };
        Ok(Self {
            partition,
            orders: connect(Topic::Order)?,
            shipments: connect(Topic::Shipment)?,
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
        consumer.read(partition, from.max(low)..high, &self.stop, Some(deadline), visit)
    }

    /// The first record with an id. It is not before the first record of the time in the id.
    fn order(&self, id: OrderId, deadline: Instant) -> Result<Option<(Order, i64)>, ConsumeError> {
        let from = self.first_at(&self.orders, id)?;
        let (mut found, mut younger) = (None, 0);
        let beyond = id.time().unix_millis() + DISORDER.as_millis() as u64;
        self.read(&self.orders, from, deadline, |record| {
            // The key of an order's record is its id; other programs may write records without one.
            let key = record.key().and_then(|key| key.parse::<OrderId>().ok());
            if key.is_none_or(|key| key == id) {
                let order = Order::from_record(record.value()).ok();
                found = order
                    .filter(|order| order.order_id == id)
                    .map(|order| (order, record.offset()));
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
    ///
    /// Outcomes stand in the order of topic `order`. The index of times leads near the right one, or far from it where an
    /// outcome was written late; from there the distance in topic `order` leads on, and at last a bisection.
    fn outcome(&self, order_offset: i64, id: OrderId, deadline: Instant) -> Result<Option<Shipped>, ConsumeError> {
        // The outcome is neither before `early` nor at `late` or after it.
        let (mut early, mut late) = (0, i64::MAX);
        let mut from = self.first_at(&self.shipments, id)?;
        while early < late {
            from = match self.probe(order_offset, id, from, deadline)? {
                Probe::Found(shipped) => return Ok(Some(*shipped)),
                Probe::Before => {
                    late = from;
                    early + (late - early) / 2
                }
                Probe::After { offset, missing } => {
                    early = offset + 1;
                    offset
                        .saturating_add(missing)
                        .clamp(early, late.saturating_sub(1).max(early))
                }
            };
        }
        Ok(None)
    }

    /// Compares the first outcomes from an offset on with the one that is looked for.
    fn probe(&self, order_offset: i64, id: OrderId, from: i64, deadline: Instant) -> Result<Probe, ConsumeError> {
        // Without any outcome from here on, it is before, or there is none yet.
        let mut result = Probe::Before;
        self.read(&self.shipments, from, deadline, |record| {
            let Ok(shipment) = Shipment::from_record(record.value()) else {
                return ControlFlow::Continue(());
            };
            let missing = order_offset.saturating_sub(shipment.order_offset);
            let is_skipped = shipment.outcome == Outcome::Skipped && missing <= 0;
            if is_skipped || (missing == 0 && shipment.order_id == Some(id)) {
                result = Probe::Found(Box::new(Shipped::new(shipment, self.partition, record.offset())));
            } else if missing > 0 {
                let offset = record.offset();
                result = Probe::After { offset, missing };
                if missing <= NEAR {
                    return ControlFlow::Continue(());
                }
            }
            ControlFlow::Break(())
        })?;
        Ok(result)
    }
}

/// The place of an outcome, seen from an offset of topic `shipment`.
enum Probe {
    Found(Box<Shipped>),
    /// It is before the offset, or does not exist.
    Before,
    /// It is after this offset. The outcome there is of a record `missing` offsets earlier.
    After {
        offset: i64,
        missing: i64,
    },
}
