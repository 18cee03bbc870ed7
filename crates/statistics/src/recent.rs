//! The last orders with their way, and how many there were in each of the last seconds.

use std::collections::VecDeque;

use domain::{OrderId, Outcome, Partition, Shipment, Timestamp};
use serde::Serialize;

/// The number of orders kept for each region, and shown of all regions.
const ORDERS: usize = 20;
/// The number of seconds kept and shown.
pub(crate) const SECONDS: usize = 120;

/// The last orders and seconds of all regions. Held in memory alone: a start begins with what it reads.
#[derive(Debug, Default)]
pub(crate) struct Recent(Vec<RecentOfRegion>);

#[derive(Debug, Default)]
struct RecentOfRegion {
    /// With their offsets.
    orders: VecDeque<(i64, RecentOrder)>,
    /// Outcomes that were read before their orders, which are in another topic: with the offset of the order.
    early: VecDeque<(i64, Outcome, Option<Timestamp>)>,
    accepted: Seconds,
    shipped: Seconds,
}

/// One of the last orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RecentOrder {
    order_id: OrderId,
    partition: Partition,
    /// The time in its id.
    accepted: Timestamp,
    /// `None` while it waits.
    outcome: Option<Outcome>,
    /// When it was shipped, if it was.
    shipped: Option<Timestamp>,
}

/// Orders accepted and shipped in each of the last seconds, by region, the oldest second first.
#[derive(Debug, Serialize)]
pub(crate) struct History {
    accepted: Vec<Vec<u32>>,
    shipped: Vec<Vec<u32>>,
}

impl Recent {
    pub(crate) fn count_order(&mut self, partition: Partition, offset: i64, id: OrderId, now: Timestamp) {
        let region = self.region(partition);
        let early = region.early.iter().find(|(order, _, _)| *order == offset);
        let order = RecentOrder {
            order_id: id,
            partition,
            accepted: id.time(),
            outcome: early.map(|(_, outcome, _)| *outcome),
            shipped: early.and_then(|(_, _, time)| *time),
        };
        region.early.retain(|(order, _, _)| *order > offset);
        if region.orders.len() == ORDERS {
            region.orders.pop_front();
        }
        region.orders.push_back((offset, order));
        region.accepted.count(id.time(), now);
    }

    pub(crate) fn count_shipment(&mut self, partition: Partition, shipment: &Shipment, now: Timestamp) {
        let region = self.region(partition);
        let Shipment {
            order_offset,
            outcome,
            shipped_at,
            ..
        } = *shipment;
        let order = region.orders.iter_mut().rfind(|(offset, _)| *offset == order_offset);
        match order {
            Some((_, order)) => (order.outcome, order.shipped) = (Some(outcome), shipped_at),
            None => region.keep_early(order_offset, outcome, shipped_at),
        }
        if let Some(time) = shipped_at {
            region.shipped.count(time, now);
        }
    }

    /// The last orders of all regions, the latest first.
    pub(crate) fn orders(&self) -> Vec<RecentOrder> {
        let mut all: Vec<_> = self.0.iter().flat_map(|region| &region.orders).collect();
        all.sort_unstable_by_key(|(_, order)| std::cmp::Reverse(order.order_id));
        all.into_iter().take(ORDERS).map(|(_, order)| order.clone()).collect()
    }

    /// The last seconds of the first `regions` regions, up to now.
    pub(crate) fn history(&self, regions: usize, now: Timestamp) -> History {
        let none = RecentOfRegion::default();
        let of = |seconds: fn(&RecentOfRegion) -> &Seconds| {
            let region = |index| seconds(self.0.get(index).unwrap_or(&none)).until(now);
            (0..regions).map(region).collect()
        };
        History {
            accepted: of(|region| &region.accepted),
            shipped: of(|region| &region.shipped),
        }
    }

    fn region(&mut self, partition: Partition) -> &mut RecentOfRegion {
        if self.0.len() <= partition.index() {
            self.0.resize_with(partition.index() + 1, RecentOfRegion::default);
        }
        &mut self.0[partition.index()]
    }
}

impl RecentOfRegion {
    /// Keeps an outcome until its order is read. Most rejected records are no orders and are never asked for: they push
    /// out one another alone.
    fn keep_early(&mut self, order_offset: i64, outcome: Outcome, shipped: Option<Timestamp>) {
        let same = |(_, other, _): &(i64, Outcome, Option<Timestamp>)| {
            (*other == Outcome::Rejected) == (outcome == Outcome::Rejected)
        };
        if self.early.iter().filter(|early| same(early)).count() == ORDERS
            && let Some(oldest) = self.early.iter().position(same)
        {
            self.early.remove(oldest);
        }
        self.early.push_back((order_offset, outcome, shipped));
    }
}

/// Counts of an event in each of the last seconds.
#[derive(Debug)]
struct Seconds {
    /// By second since 1970, modulo their number.
    counts: [u32; SECONDS],
    /// The latest of them.
    last: u64,
}

impl Default for Seconds {
    fn default() -> Self {
        Self {
            counts: [0; SECONDS],
            last: 0,
        }
    }
}

/// The number of a second among those that are kept.
fn slot(second: u64) -> usize {
    usize::try_from(second % SECONDS as u64).unwrap_or(0)
}

impl Seconds {
    /// It happened at a time. A clock that is ahead of this one does not make it happen later than now.
    fn count(&mut self, time: Timestamp, now: Timestamp) {
        let second = time.unix_seconds().min(now.unix_seconds());
        if second > self.last {
            let passed = self.last.max(second.saturating_sub(SECONDS as u64)) + 1..=second;
            passed.for_each(|passed| self.counts[slot(passed)] = 0);
            self.last = second;
        }
        if second + SECONDS as u64 > self.last {
            self.counts[slot(second)] += 1;
        }
    }

    /// The last seconds up to now.
    fn until(&self, now: Timestamp) -> Vec<u32> {
        let now = now.unix_seconds();
        let known = self.last.saturating_sub(SECONDS as u64 - 1)..=self.last;
        let count = |second| {
            if known.contains(&second) {
                self.counts[slot(second)]
            } else {
                0
            }
        };
        (now.saturating_sub(SECONDS as u64 - 1)..=now).map(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use domain::Replicas;

    use super::*;

    /// The epoch of the ids: an id below 2^22 is of this time.
    const EPOCH: u64 = 1_288_834_974_657;

    fn partition(number: &str) -> Partition {
        Replicas::THREE.parse_partition(number).expect("one of three")
    }

    /// An id that was made this many milliseconds after the epoch.
    fn id(milliseconds: u64) -> OrderId {
        (milliseconds << 22).to_string().parse().expect("an id")
    }

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::from_unix_millis(EPOCH + milliseconds)
    }

    fn shipped(order_offset: i64, milliseconds: u64) -> Shipment {
        Shipment {
            order_id: None,
            order_offset,
            outcome: Outcome::Shipped,
            mark: None,
            duplicate_of: None,
            detail: None,
            packed_at: None,
            shipped_at: Some(at(milliseconds)),
        }
    }

    #[test]
    fn the_last_orders_of_all_regions_have_their_shipments_whichever_was_read_first() {
        let mut recent = Recent::default();
        let (zero, one) = (partition("0"), partition("1"));
        for offset in 0_i64..30 {
            let time = 10 * offset.cast_unsigned();
            recent.count_shipment(one, &shipped(offset, time + 4), at(0));
            recent.count_order(one, offset, id(time), at(0));
        }
        recent.count_order(zero, 0, id(285), at(0));
        let orders = recent.orders();
        assert_eq!(orders.len(), ORDERS);
        let way = |order: &RecentOrder| (order.order_id, order.partition, order.shipped);
        assert_eq!(way(&orders[0]), (id(290), one, Some(at(294))));
        assert_eq!(way(&orders[1]), (id(285), zero, None));
        assert_eq!(way(&orders[19]), (id(110), one, Some(at(114))));
    }

    #[test]
    fn an_outcome_belongs_to_its_order_however_many_records_are_rejected_after_it() {
        let rejected = |order_offset| Shipment {
            outcome: Outcome::Rejected,
            shipped_at: None,
            ..shipped(order_offset, 0)
        };
        for order_comes_first in [true, false] {
            let (mut recent, one) = (Recent::default(), partition("1"));
            if order_comes_first {
                recent.count_order(one, 0, id(10), at(0));
            }
            recent.count_shipment(one, &shipped(0, 14), at(0));
            for offset in 1..=30 {
                recent.count_shipment(one, &rejected(offset), at(0));
            }
            if !order_comes_first {
                recent.count_order(one, 0, id(10), at(0));
            }
            let order = recent.orders().remove(0);
            assert_eq!((order.outcome, order.shipped), (Some(Outcome::Shipped), Some(at(14))));
        }
    }

    #[test]
    fn seconds_move_on_with_and_without_orders() {
        let (mut recent, two) = (Recent::default(), partition("2"));
        let second = |second: u64| second * 1000;
        for (offset, time) in [(0, 1), (1, 1), (2, 3), (3, 2)] {
            recent.count_order(two, offset, id(second(time)), at(second(3)));
        }
        let counts = |recent: &Recent, now| {
            let accepted = recent.history(3, at(second(now))).accepted.remove(2);
            assert_eq!(accepted.len(), SECONDS);
            accepted
        };
        assert_eq!(counts(&recent, 3)[SECONDS - 4..], [0, 2, 1, 1]);
        assert_eq!(counts(&recent, 5)[SECONDS - 6..], [0, 2, 1, 1, 0, 0]);
        assert_eq!(counts(&recent, 121)[..3], [1, 1, 0]);
        // All of them are older than the seconds that are kept, and one is of a clock that is ahead.
        recent.count_order(two, 4, id(second(900)), at(second(300)));
        recent.count_order(two, 5, id(second(100)), at(second(300)));
        let counts = counts(&recent, 300);
        assert_eq!((counts[SECONDS - 1], counts.iter().sum::<u32>()), (1, 1));
    }
}
