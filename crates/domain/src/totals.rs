//! What the mall has done so far, counted from the records of topics `order` and `shipment`.

#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::{NotAnOrder, Order, OrderId, Outcome, Partition, Region, Shipment};

/// Figures of one region or of all. `orders` and `money` include duplicates; `shipped` does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Orders in topic `order`.
    pub orders: u64,
    /// The sum of their money.
    pub money: u64,
    /// Orders that were shipped.
    pub shipped: u64,
    /// Orders that repeat the id of a shipped one.
    pub duplicates: u64,
    /// Records of topic `order` that are no orders.
    pub rejected: u64,
    /// Records of topic `order` that have no record in `shipment` yet.
    pub waiting: u64,
}

impl Totals {
    fn add(&mut self, other: &Self) {
        self.orders += other.orders;
        self.money += other.money;
        self.shipped += other.shipped;
        self.duplicates += other.duplicates;
        self.rejected += other.rejected;
        self.waiting += other.waiting;
    }
}

/// The figures of one region.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegionTotals {
    partition: Partition,
    region: Region,
    #[serde(flatten)]
    totals: Totals,
    last_order: Option<Order>,
    #[serde(skip)]
    position: Position,
}

/// Up to where a partition of each topic has been counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Position {
    /// The offset after the last record of `order`.
    order: i64,
    /// The offset after the last record of `shipment`.
    shipment: i64,
    /// The offset in `order` after the last record that has an outcome.
    outcomes: i64,
}

/// For each partition, the offset after the last record that is in the figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offsets {
    /// By partition of topic `order`.
    pub order: Vec<i64>,
    /// By partition of topic `shipment`.
    pub shipment: Vec<i64>,
}

/// The figures of all regions, and the exact offsets up to which they count.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    regions: Vec<RegionTotals>,
}

impl Statistics {
    /// The regions, by partition.
    pub fn regions(&self) -> &[RegionTotals] {
        &self.regions
    }

    /// The sum over all regions.
    pub fn total(&self) -> Totals {
        let mut total = Totals::default();
        self.regions.iter().for_each(|region| total.add(&region.totals));
        total
    }

    /// The offsets up to which the figures count.
    pub fn offsets(&self) -> Offsets {
        let positions = || self.regions.iter().map(|region| region.position);
        Offsets {
            order: positions().map(|position| position.order).collect(),
            shipment: positions().map(|position| position.shipment).collect(),
        }
    }

    /// Adds the regions of those partitions that it does not have yet.
    pub fn grow(&mut self, partitions: impl Iterator<Item = Partition>) {
        let known = self.regions.len();
        self.regions
            .extend(partitions.skip(known).map(|partition| RegionTotals {
                partition,
                region: Region::from(partition),
                totals: Totals::default(),
                last_order: None,
                position: Position::default(),
            }));
    }

    /// Counts a record of topic `order`. Returns the id of the order, or `None` when the record is before the position:
    /// it is in the figures already, and changes nothing.
    ///
    /// # Errors
    /// When the record is not an order. It waits for its outcome as others do.
    pub fn count_order(
        &mut self,
        partition: Partition,
        offset: i64,
        value: &[u8],
    ) -> Result<Option<OrderId>, NotAnOrder> {
        let Some(region) = self.regions.get_mut(partition.index()) else {
            return Ok(None);
        };
        if offset < region.position.order {
            return Ok(None);
        }
        region.position.order = offset + 1;
        region.update_waiting();
        let order = Order::from_record(value)?;
        region.totals.orders += 1;
        region.totals.money += u64::from(order.money.get());
        let order_id = order.order_id;
        region.last_order = Some(order);
        Ok(Some(order_id))
    }

    /// Counts a record of topic `shipment`, unless it is before the position. What no repository wrote moves the
    /// position and nothing else.
    pub fn count_shipment(&mut self, partition: Partition, offset: i64, value: &[u8]) {
        let Some(region) = self.regions.get_mut(partition.index()) else {
            return;
        };
        if offset < region.position.shipment {
            return;
        }
        region.position.shipment = offset + 1;
        let Ok(shipment) = Shipment::from_record(value) else {
            return;
        };
        match shipment.outcome {
            Outcome::Shipped => region.totals.shipped += 1,
            Outcome::Duplicate => region.totals.duplicates += 1,
            Outcome::Rejected => region.totals.rejected += 1,
        }
        region.position.outcomes = region.position.outcomes.max(shipment.order_offset.saturating_add(1));
        region.update_waiting();
    }
}

impl RegionTotals {
    /// The partition of the region.
    pub fn partition(&self) -> Partition {
        self.partition
    }

    /// The figures.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// When more of `shipment` has been read than of `order`, nothing waits as far as is known.
    fn update_waiting(&mut self) {
        let waiting = self.position.order.saturating_sub(self.position.outcomes);
        self.totals.waiting = u64::try_from(waiting).unwrap_or(0);
    }
}

impl Serialize for Statistics {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Answer<'a> {
            regions: &'a [RegionTotals],
            total: Totals,
            offsets: Offsets,
        }
        Answer {
            regions: &self.regions,
            total: self.total(),
            offsets: self.offsets(),
        }
        .serialize(serializer)
    }
}
