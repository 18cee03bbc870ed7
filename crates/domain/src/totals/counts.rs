//! What was counted from one partition of each topic, and up to where.

use serde::{Deserialize, Serialize};

use crate::{NotAnOrder, Order, OrderId, Outcome, Shipment};

/// A topic that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// What was ordered.
    Order,
    /// What became of it.
    Shipment,
}

impl Topic {
    /// Its name, without a prefix.
    pub fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Shipment => "shipment",
        }
    }
}

/// Up to where a partition of a topic has been counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The offset from which the figures count: 0, unless retention had removed the start of the log.
    pub begin: i64,
    /// The offset to go on from. Those before it hold what is in the figures, or no records: a transaction ends in an
    /// offset of its own.
    pub next: i64,
    /// The last record in the figures.
    pub last: Option<LastRecord>,
}

/// What the last record in the figures is known by: a log that was recreated has another one at its offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRecord {
    /// Where it is.
    pub offset: i64,
    /// Its time, in Unix milliseconds.
    pub timestamp: Option<i64>,
    /// The order that it holds or speaks of, if it does.
    pub order_id: Option<OrderId>,
}

impl LastRecord {
    /// The same of any record of a topic.
    pub fn new(topic: Topic, offset: i64, timestamp: Option<i64>, value: &[u8]) -> Self {
        let order_id = match topic {
            Topic::Order => Order::from_record(value).ok().map(|order| order.order_id),
            Topic::Shipment => Shipment::from_record(value).ok().and_then(|shipment| shipment.order_id),
        };
        Self {
            offset,
            timestamp,
            order_id,
        }
    }
}

impl Position {
    /// Where nothing has been counted yet, of a log whose first offset is this one.
    fn starting_at(offset: i64) -> Self {
        Self {
            begin: offset,
            next: offset,
            last: None,
        }
    }

    fn count(&mut self, last: LastRecord) {
        self.next = last.offset.saturating_add(1);
        self.last = Some(last);
    }

    /// Whether it can be the position of something.
    fn is_possible(&self) -> bool {
        let counted = self.begin..self.next;
        0 <= self.begin && self.begin <= self.next && self.last.is_none_or(|last| counted.contains(&last.offset))
    }
}

/// What was counted from a partition of topic `order`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OrderCounts {
    pub(super) orders: u64,
    pub(super) money: u64,
    pub(super) last_order: Option<Order>,
    pub(super) position: Position,
}

impl OrderCounts {
    /// `None` for a record that is in the figures already.
    pub(super) fn count(
        &mut self,
        offset: i64,
        timestamp: Option<i64>,
        value: &[u8],
    ) -> Result<Option<OrderId>, NotAnOrder> {
        if offset < self.position.next {
            return Ok(None);
        }
        let order = Order::from_record(value);
        let order_id = order.as_ref().ok().map(|order| order.order_id);
        self.position.count(LastRecord {
            offset,
            timestamp,
            order_id,
        });
        let order = order?;
        self.orders += 1;
        self.money = self.money.saturating_add(u64::from(order.money.get()));
        self.last_order = Some(order);
        Ok(order_id)
    }
}

/// What was counted from a partition of topic `shipment`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShipmentCounts {
    pub(super) shipped: u64,
    pub(super) duplicates: u64,
    pub(super) rejected: u64,
    /// The offset in topic `order` after the last record that has an outcome.
    pub(super) outcomes: i64,
    /// The outcomes since an operator last decided where to go on, and the offset in topic `order` from then.
    pub(super) since_skip: (u64, i64),
    pub(super) position: Position,
}

impl ShipmentCounts {
    /// A record that is in the figures already changes nothing; one that no repository wrote moves the position alone.
    /// `None` for both.
    pub(super) fn count(&mut self, offset: i64, timestamp: Option<i64>, value: &[u8]) -> Option<Shipment> {
        if offset < self.position.next {
            return None;
        }
        let shipment = Shipment::from_record(value).ok();
        self.position.count(LastRecord {
            offset,
            timestamp,
            order_id: shipment.as_ref().and_then(|shipment| shipment.order_id),
        });
        let shipment = shipment?;
        let next = shipment.order_offset.saturating_add(1);
        let counted = match shipment.outcome {
            Outcome::Shipped => &mut self.shipped,
            Outcome::Duplicate => &mut self.duplicates,
            Outcome::Rejected => &mut self.rejected,
            Outcome::Skipped => {
                // Topic `order` can be another one than before.
                (self.outcomes, self.since_skip) = (next, (0, next));
                return Some(shipment);
            }
        };
        *counted += 1;
        self.since_skip.0 += 1;
        self.outcomes = self.outcomes.max(next);
        Some(shipment)
    }

    /// Records of topic `order` without an outcome before one that has one, and outcomes beyond one for each record,
    /// since an operator last decided where to go on. Both are 0, because repository-N gives each record one outcome, in
    /// order. `None` if the start of the log had been removed uncounted.
    pub(super) fn mistakes(&self) -> Option<(u64, u64)> {
        let (outcomes, first) = self.since_skip;
        let records = u64::try_from(self.outcomes.saturating_sub(first))
            .ok()
            .filter(|_| self.position.begin == 0)?;
        Some((records.saturating_sub(outcomes), outcomes.saturating_sub(records)))
    }
}

/// What was counted from the partitions of a region. Each of the two is a fold of its own log: one can be kept when the
/// other has to be counted again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RegionCounts {
    pub(super) order: OrderCounts,
    pub(super) shipment: ShipmentCounts,
}

impl RegionCounts {
    pub(super) fn position(&self, topic: Topic) -> Position {
        match topic {
            Topic::Order => self.order.position,
            Topic::Shipment => self.shipment.position,
        }
    }

    pub(super) fn position_mut(&mut self, topic: Topic) -> &mut Position {
        match topic {
            Topic::Order => &mut self.order.position,
            Topic::Shipment => &mut self.shipment.position,
        }
    }

    /// Takes what another has counted of a topic.
    pub(super) fn take(&mut self, topic: Topic, other: &Self) {
        match topic {
            Topic::Order => self.order.clone_from(&other.order),
            Topic::Shipment => self.shipment.clone_from(&other.shipment),
        }
    }

    /// Forgets what was counted of a topic, whose log begins at this offset.
    pub(super) fn begin(&mut self, topic: Topic, offset: i64) {
        self.take(topic, &Self::default());
        *self.position_mut(topic) = Position::starting_at(offset);
    }

    /// Records of topic `order` without an outcome. Those that retention has removed uncounted have theirs; and when more
    /// of `shipment` has been read than of `order`, nothing waits as far as is known.
    pub(super) fn waiting(&self) -> u64 {
        let Position { begin, next, .. } = self.order.position;
        let waiting = next.saturating_sub(self.shipment.outcomes.max(begin));
        u64::try_from(waiting).unwrap_or(0)
    }

    /// Whether a statistics can have counted this: there are no more records than offsets.
    pub(super) fn are_possible(&self) -> bool {
        let OrderCounts { orders, position, .. } = &self.order;
        let ShipmentCounts {
            shipped,
            duplicates,
            rejected,
            ..
        } = &self.shipment;
        let outcomes = shipped.saturating_add(*duplicates).saturating_add(*rejected);
        let fits = |records: u64, position: &Position| {
            position.is_possible() && records <= position.next.abs_diff(position.begin)
        };
        fits(*orders, position) && fits(outcomes, &self.shipment.position)
    }
}
