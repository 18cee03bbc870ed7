//! The totals of the mall, counted from the records of topics `order` and `shipment`.

mod counts;
mod snapshot;
#[cfg(test)]
mod tests;

use serde::Serialize;

use self::counts::RegionCounts;
pub use self::counts::{LastRecord, Position, Topic};
pub use self::snapshot::{Snapshot, SnapshotError};
use crate::{NotAnOrder, Order, OrderId, Ordinal, Partition, Region, Shipment};

/// Figures of one region or of all. `orders` and `money` include duplicates; `shipped` does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
    /// Records of topic `order` that were passed over: 0, unless another program has written to the topics.
    /// `None` when it cannot be told, because retention had removed the start of `shipment`.
    pub lost: Option<u64>,
    /// Outcomes beyond one for each record of topic `order`; as `lost`.
    pub shipped_twice: Option<u64>,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            orders: 0,
            money: 0,
            shipped: 0,
            duplicates: 0,
            rejected: 0,
            waiting: 0,
            lost: Some(0),
            shipped_twice: Some(0),
        }
    }
}

impl Totals {
    fn add(&mut self, other: &Self) {
        self.orders += other.orders;
        self.money = self.money.saturating_add(other.money);
        self.shipped += other.shipped;
        self.duplicates += other.duplicates;
        self.rejected += other.rejected;
        self.waiting += other.waiting;
        self.lost = self.lost.zip(other.lost).map(|(one, other)| one + other);
        self.shipped_twice = self
            .shipped_twice
            .zip(other.shipped_twice)
            .map(|(one, other)| one + other);
    }
}

/// The figures of one region.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionTotals {
    partition: Partition,
    counts: RegionCounts,
    problem: Option<String>,
}

/// An offset for each partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offsets {
    /// By partition of topic `order`.
    pub order: Vec<i64>,
    /// By partition of topic `shipment`.
    pub shipment: Vec<i64>,
}

/// The figures of all regions, and the exact offsets from which and up to which they count.
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
        self.regions.iter().for_each(|region| total.add(&region.totals()));
        total
    }

    /// The offsets up to which the figures count: those of the next records.
    pub fn offsets(&self) -> Offsets {
        self.offsets_by(|position| position.next)
    }

    /// The offsets from which the figures count: 0, unless retention had removed the start of a log.
    pub fn begins(&self) -> Offsets {
        self.offsets_by(|position| position.begin)
    }

    fn offsets_by(&self, offset: impl Fn(Position) -> i64) -> Offsets {
        let of = |topic| {
            let regions = self.regions.iter();
            regions.map(|region| offset(region.counts.position(topic))).collect()
        };
        Offsets {
            order: of(Topic::Order),
            shipment: of(Topic::Shipment),
        }
    }

    /// Up to where a partition of a topic has been counted.
    pub fn position(&self, topic: Topic, partition: Partition) -> Position {
        let region = self.regions.get(partition.index());
        region.map(|region| region.counts.position(topic)).unwrap_or_default()
    }

    /// Adds the regions of those partitions that it does not have yet.
    pub fn grow(&mut self, partitions: impl Iterator<Item = Partition>) {
        let known = self.regions.len();
        self.regions
            .extend(partitions.skip(known).map(|partition| RegionTotals {
                partition,
                counts: RegionCounts::default(),
                problem: None,
            }));
    }

    /// Counts a partition of a topic from this offset, at which its log begins.
    pub fn begin(&mut self, topic: Topic, partition: Partition, offset: i64) {
        if let Some(counts) = self.counts(partition) {
            counts.begin(topic, offset);
        }
    }

    /// Takes what a snapshot has of each region.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        let ordinals = (0..).map_while(|number| Ordinal::try_from(number).ok());
        self.grow(ordinals.map(Partition::from).take(snapshot.regions().len()));
        for (region, counted) in self.regions.iter_mut().zip(snapshot.regions()) {
            region.counts.clone_from(counted);
        }
    }

    /// Records why the figures of a region may be incomplete, or that they are not. Returns `true` if that is news.
    pub fn set_problem(&mut self, partition: Partition, problem: Option<String>) -> bool {
        let Some(region) = self.regions.get_mut(partition.index()) else {
            return false;
        };
        let news = region.problem != problem;
        region.problem = problem;
        news
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
        timestamp: Option<i64>,
        value: &[u8],
    ) -> Result<Option<OrderId>, NotAnOrder> {
        match self.counts(partition) {
            Some(counts) => counts.order.count(offset, timestamp, value),
            None => Ok(None),
        }
    }

    /// Counts a record of topic `shipment`, and returns what it says, unless it is before the position. What no
    /// repository wrote moves the position and nothing else.
    pub fn count_shipment(
        &mut self,
        partition: Partition,
        offset: i64,
        timestamp: Option<i64>,
        value: &[u8],
    ) -> Option<Shipment> {
        self.counts(partition)?.shipment.count(offset, timestamp, value)
    }

    /// There are no more records before this offset. Returns whether that is news.
    pub fn read_to(&mut self, topic: Topic, partition: Partition, offset: i64) -> bool {
        let Some(counts) = self.counts(partition) else {
            return false;
        };
        let next = &mut counts.position_mut(topic).next;
        let news = offset > *next;
        *next = offset.max(*next);
        news
    }

    fn counts(&mut self, partition: Partition) -> Option<&mut RegionCounts> {
        self.regions.get_mut(partition.index()).map(|region| &mut region.counts)
    }
}

impl RegionTotals {
    /// The partition of the region.
    pub fn partition(&self) -> Partition {
        self.partition
    }

    /// The figures.
    pub fn totals(&self) -> Totals {
        let RegionCounts { order, shipment } = &self.counts;
        let mistakes = shipment.mistakes();
        Totals {
            orders: order.orders,
            money: order.money,
            shipped: shipment.shipped,
            duplicates: shipment.duplicates,
            rejected: shipment.rejected,
            waiting: self.counts.waiting(),
            lost: mistakes.map(|(lost, _)| lost),
            shipped_twice: mistakes.map(|(_, twice)| twice),
        }
    }
}

impl Serialize for RegionTotals {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Answer<'a> {
            partition: Partition,
            region: Region,
            #[serde(flatten)]
            totals: Totals,
            last_order: Option<&'a Order>,
            problem: Option<&'a str>,
        }
        Answer {
            partition: self.partition,
            region: Region::from(self.partition),
            totals: self.totals(),
            last_order: self.counts.order.last_order.as_ref(),
            problem: self.problem.as_deref(),
        }
        .serialize(serializer)
    }
}

impl Serialize for Statistics {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Answer<'a> {
            regions: &'a [RegionTotals],
            total: Totals,
            offsets: Offsets,
            begins: Offsets,
        }
        Answer {
            regions: &self.regions,
            total: self.total(),
            offsets: self.offsets(),
            begins: self.begins(),
        }
        .serialize(serializer)
    }
}
