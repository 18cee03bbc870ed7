//! Finds one order in the logs: the time in its id leads to its record, and that to its outcome.

use std::ops::ControlFlow;
use std::time::Instant;

use domain::{Accepted, Journey, Order, OrderId, Partition, Shipment, Shipped};
use kafka::{Config, ConsumeError, Consumer};

use crate::known::KnownOrders;

/// Records with larger ids after which no more is expected: ids grow with the log, but others may have put records there.
const LARGER_IDS: u32 = 16;

/// Outcomes that are read rather than skipped. The end of a transaction has the time at which it was written, so in what
/// was shipped late the index of times leads to the first one, far before the outcome.
const NEAR: i64 = 16;

/// Finds orders of one partition. Blocks.
pub(crate) struct Lookup {
    partition: Partition,
    orders: Consumer,
    shipments: Consumer,
    known: KnownOrders,
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
        known: KnownOrders,
    ) -> anyhow::Result<Self> {
        let connect = |topic| -> anyhow::Result<Consumer> {
            let consumer = Consumer::for_scan(kafka, &format!("{name}-lookup"), "repository", topic)?;
            consumer.wait_for_broker()?;
            Ok(consumer)
        };
        Ok(Self {
            partition,
            orders: connect("order")?,
            shipments: connect("shipment")?,
            known,
        })
    }

    /// The journey of an order; `None` when it is not in the log.
    ///
    /// # Errors
    /// When the broker does not answer before `deadline`.
    pub(crate) fn find(&self, id: OrderId, deadline: Instant) -> Result<Option<Journey>, ConsumeError> {
        let mut records = Vec::new();
        let from = self.first_at(&self.orders, id)?;
        if let Some((order, offset)) = self.order_from(from, id, deadline)? {
            let from = self.first_at(&self.shipments, id)?;
            records.push((order, offset, self.shipment_of(offset, from, deadline)?));
        }
        for late in self.known.late_records(id) {
            if records.iter().any(|(_, offset, _)| *offset == late.order_offset) {
                continue;
            }
            if let Some((order, offset)) = self.order_from(late.order_offset, id, deadline)? {
                let shipment = self.shipment_of(offset, late.shipment_offset, deadline)?;
                records.push((order, offset, shipment));
            }
        }
        let record = |(order, offset, shipment)| {
            let accepted = Accepted::new(&order, self.partition, offset);
            (order, accepted, shipment)
        };
        Ok(Journey::new(records.into_iter().map(record).collect()))
    }

    /// The first offset whose record has the time of an id, or a later one.
    fn first_at(&self, consumer: &Consumer, id: OrderId) -> Result<i64, ConsumeError> {
        consumer.offset_at(self.partition.id(), id.time().unix_millis().cast_signed())
    }

    /// The first record with an id, from an offset on to where ids are larger.
    fn order_from(&self, from: i64, id: OrderId, deadline: Instant) -> Result<Option<(Order, i64)>, ConsumeError> {
        let (mut found, mut larger) = (None, 0);
        self.orders.scan(self.partition.id(), from, deadline, |record| {
            let key = record.key().and_then(|key| key.parse::<OrderId>().ok());
            larger += u32::from(key > Some(id));
            if key == Some(id) {
                found = Order::from_record(record.value())
                    .ok()
                    .map(|order| (order, record.offset()));
            }
            if found.is_some() || larger == LARGER_IDS {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        Ok(found)
    }

    /// The outcome of the record of topic `order` at an offset; `None` when it waits for one.
    fn shipment_of(&self, order_offset: i64, from: i64, deadline: Instant) -> Result<Option<Shipped>, ConsumeError> {
        let mut from = from;
        loop {
            let (mut found, mut further) = (None, None);
            self.shipments.scan(self.partition.id(), from, deadline, |record| {
                let Ok(shipment) = Shipment::from_record(record.value()) else {
                    return ControlFlow::Continue(());
                };
                let missing = order_offset - shipment.order_offset;
                if (1..=NEAR).contains(&missing) {
                    return ControlFlow::Continue(());
                }
                further = (missing > 0).then(|| record.offset() + missing);
                found = (missing == 0).then(|| Shipped::new(shipment, self.partition, record.offset()));
                ControlFlow::Break(())
            })?;
            // Outcomes are in the order of the log, with the ends of transactions between them, so it is not before that.
            // An outcome that does not exist yet is not beyond the end either.
            match further {
                Some(offset) => from = offset.min(self.shipments.watermarks(self.partition.id())?.high),
                None => return Ok(found),
            }
        }
    }
}
