//! The records of both topics, as repository-N needs them.

use domain::{Mark, NotAnOrder, Order, OrderId, Outcome, Shipment, mark};
use serde::Deserialize;

/// A record of topic `order`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRecord {
    /// Its offset.
    pub offset: i64,
    /// Its time, in Unix milliseconds.
    pub timestamp: i64,
    /// The order and its mark, or why the record holds none.
    pub content: Result<(Order, Mark), NotAnOrder>,
}

impl OrderRecord {
    /// Reads a record, which may hold any bytes.
    pub fn new<'a>(
        offset: i64,
        timestamp: i64,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        value: &[u8],
    ) -> Self {
        Self {
            offset,
            timestamp,
            content: Order::from_record(value).map(|order| (order, mark(headers, value))),
        }
    }

    /// The id of the order.
    pub fn order_id(&self) -> Option<OrderId> {
        self.content.as_ref().ok().map(|(order, _)| order.order_id)
    }

    /// The mark of the order.
    pub fn mark(&self) -> Option<Mark> {
        self.content.as_ref().ok().map(|(_, mark)| *mark)
    }
}

/// The part of a record of topic `shipment` that the position and the window are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct OutcomeRecord {
    /// The offset of the record of topic `order`.
    pub order_offset: i64,
    /// The order in that record, if it holds one.
    pub order_id: Option<OrderId>,
    /// The outcome.
    pub outcome: Outcome,
    /// The mark of the order.
    pub mark: Option<Mark>,
}

impl OutcomeRecord {
    /// Reads the value of a record; `None` if repository-N did not write it.
    pub fn from_record(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value).ok()
    }

    /// Returns `true` if this outcome is of that record.
    pub(crate) fn is_of(&self, record: &OrderRecord) -> bool {
        self.order_offset == record.offset && self.order_id == record.order_id() && self.mark == record.mark()
    }
}

impl From<&Shipment> for OutcomeRecord {
    fn from(shipment: &Shipment) -> Self {
        Self {
            order_offset: shipment.order_offset,
            order_id: shipment.order_id,
            outcome: shipment.outcome,
            mark: shipment.mark,
        }
    }
}
