//! The orders that were shipped last, with their outcomes: most questions are about these, and need no broker.

use std::collections::VecDeque;

use domain::{
    Accepted, Journey, Known, Money, Order, OrderId, Outcome, Partition, Shipment, Shipped, Timestamp, UserId,
};

/// The most orders that are remembered, of 64 bytes each: of three regions a million.
const MAX_ORDERS: usize = 350_000;

/// What was shipped last, without a gap: each has a larger id than the one before it. What comes with a smaller one is a
/// [late record](crate::late::LateRecords).
#[derive(Debug)]
pub(crate) struct RecentOrders {
    entries: VecDeque<Entry>,
    /// Where the next outcome is expected; `None` before the first one.
    next: Option<Offsets>,
}

/// Where a record of topic `order` is, and where its outcome is, or where the search for it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offsets {
    pub(crate) order: i64,
    pub(crate) shipment: i64,
}

/// An order that was shipped.
#[derive(Debug)]
pub(crate) struct Entry {
    order_id: OrderId,
    order_offset: i64,
    shipment_offset: i64,
    packed_at: Timestamp,
    shipped_at: Timestamp,
    time: u64,
    user_number: u64,
    user_digits: u8,
    money: Money,
}

impl Default for RecentOrders {
    fn default() -> Self {
        Self {
            entries: Self::entries(),
            next: None,
        }
    }
}

impl RecentOrders {
    /// The outcome of an order is committed that is not late. They are observed in the order of the log.
    pub(crate) fn observe(&mut self, order: &Order, shipment: &Shipment, shipment_offset: i64) {
        let offsets = Offsets {
            order: shipment.order_offset,
            shipment: shipment_offset,
        };
        let Some(entry) = Entry::new(order, shipment, shipment_offset) else {
            return self.forget_until(offsets);
        };
        if self.entries.len() == MAX_ORDERS {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
        self.next = Some(offsets.next());
    }

    /// There is an outcome here whose order is not known: it would be a gap.
    pub(crate) fn forget_until(&mut self, offsets: Offsets) {
        self.entries.clear();
        self.next = Some(offsets.next());
    }

    /// Where the first is that is remembered, and how many more before it could be.
    pub(crate) fn begins(&self) -> Option<(Offsets, usize)> {
        let first = self.entries.front().map(Entry::offsets).or(self.next)?;
        Some((first, MAX_ORDERS - self.entries.len()))
    }

    /// An empty queue with room for all: one that has grown may have room for twice as many. What is not used is not resident.
    pub(crate) fn entries() -> VecDeque<Entry> {
        VecDeque::with_capacity(MAX_ORDERS)
    }

    /// Remembers also the last of these, if they come directly before where all that is known begins. Returns whether they
    /// do.
    pub(crate) fn prepend(&mut self, mut older: VecDeque<Entry>) -> bool {
        let (Some(last), Some((begins, room))) = (older.back(), self.begins()) else {
            return false;
        };
        let is_smaller = self.entries.front().is_none_or(|first| last.order_id < first.order_id);
        let fits = last.order_offset + 1 == begins.order && is_smaller;
        if fits {
            older.drain(..older.len().saturating_sub(room));
            older.append(&mut self.entries);
            self.entries = older;
        }
        fits
    }

    /// What is known of an order without late records. One is not there when its id is between two that follow each other.
    pub(crate) fn find(&self, id: OrderId, partition: Partition) -> Known {
        match (self.entries.front(), self.entries.back()) {
            (Some(first), Some(last)) if (first.order_id..=last.order_id).contains(&id) => {}
            _ => return Known::Nothing,
        }
        let Ok(index) = self.entries.binary_search_by_key(&id, |entry| entry.order_id) else {
            return Known::NotThere;
        };
        let journey = self.entries[index].journey(partition).map(Box::new);
        journey.map_or(Known::Nothing, Known::Shipped)
    }
}

impl Offsets {
    fn next(self) -> Self {
        Self {
            order: self.order + 1,
            shipment: self.shipment + 1,
        }
    }
}

impl Entry {
    /// `None` for what was not shipped.
    pub(crate) fn new(order: &Order, shipment: &Shipment, shipment_offset: i64) -> Option<Self> {
        Some(Self {
            order_id: order.order_id,
            order_offset: shipment.order_offset,
            shipment_offset,
            packed_at: shipment.packed_at?,
            shipped_at: shipment.shipped_at?,
            time: order.time,
            user_number: order.user_id.number(),
            user_digits: order.user_id.digits(),
            money: order.money,
        })
    }

    pub(crate) fn offsets(&self) -> Offsets {
        Offsets {
            order: self.order_offset,
            shipment: self.shipment_offset,
        }
    }

    fn journey(&self, partition: Partition) -> Option<Journey> {
        let order = Order {
            money: self.money,
            order_id: self.order_id,
            time: self.time,
            user_id: UserId::with_digits(self.user_number, self.user_digits)?,
        };
        let shipment = Shipment {
            order_id: Some(self.order_id),
            order_offset: self.order_offset,
            outcome: Outcome::Shipped,
            detail: None,
            packed_at: Some(self.packed_at),
            shipped_at: Some(self.shipped_at),
        };
        let accepted = Accepted::new(&order, partition, self.order_offset);
        let shipped = Shipped::new(shipment, partition, self.shipment_offset);
        Journey::new(vec![(order, accepted, Some(shipped))])
    }
}

#[cfg(test)]
mod tests {
    use domain::Replicas;

    use super::*;

    fn id(id: u64) -> OrderId {
        id.to_string().parse().expect("an id")
    }

    fn order(number: u64) -> Order {
        let json = format!(r#"{{"money":1,"order_id":"{number}","time":1,"user_id":"007"}}"#);
        Order::from_record(json.as_bytes()).expect("an order")
    }

    fn shipment(order: &Order, order_offset: i64, outcome: Outcome) -> Shipment {
        let time = (outcome == Outcome::Shipped).then_some(Timestamp::from_unix_millis(5));
        Shipment {
            order_id: Some(order.order_id),
            order_offset,
            outcome,
            detail: None,
            packed_at: time,
            shipped_at: time,
        }
    }

    fn observe(recent: &mut RecentOrders, number: u64, outcome: Outcome) {
        let order = order(number);
        let offset = number.cast_signed();
        recent.observe(&order, &shipment(&order, offset, outcome), offset + 100);
    }

    fn partition() -> Partition {
        Replicas::THREE.parse_partition("1").expect("a partition")
    }

    fn find(recent: &RecentOrders, number: u64) -> Known {
        recent.find(id(number), partition())
    }

    #[test]
    fn a_journey_is_what_the_logs_say() {
        let mut recent = RecentOrders::default();
        observe(&mut recent, 7, Outcome::Shipped);
        let order = order(7);
        let shipped = Shipped::new(shipment(&order, 7, Outcome::Shipped), partition(), 107);
        let accepted = Accepted::new(&order, partition(), 7);
        let expected = Journey::new(vec![(order, accepted, Some(shipped))]).expect("a journey");
        assert_eq!(find(&recent, 7), Known::Shipped(Box::new(expected)));
    }

    #[test]
    fn only_between_the_first_and_the_last_it_is_known_that_an_order_is_not_there() {
        let mut recent = RecentOrders::default();
        assert_eq!(find(&recent, 5), Known::Nothing);
        for number in [5, 9] {
            observe(&mut recent, number, Outcome::Shipped);
        }
        assert_eq!(find(&recent, 4), Known::Nothing);
        assert_eq!(find(&recent, 6), Known::NotThere);
        assert_eq!(find(&recent, 10), Known::Nothing);
    }

    #[test]
    fn after_a_gap_only_what_came_then_is_known() {
        let mut recent = RecentOrders::default();
        observe(&mut recent, 5, Outcome::Shipped);
        observe(&mut recent, 6, Outcome::Rejected);
        observe(&mut recent, 7, Outcome::Shipped);
        assert_eq!(find(&recent, 5), Known::Nothing);
        assert_eq!(find(&recent, 6), Known::Nothing);
        assert!(matches!(find(&recent, 7), Known::Shipped(_)));
        recent.forget_until(Offsets {
            order: 8,
            shipment: 108,
        });
        assert_eq!(find(&recent, 7), Known::Nothing);
    }

    fn entry(number: u64) -> Entry {
        let (order, offset) = (order(number), number.cast_signed());
        Entry::new(&order, &shipment(&order, offset, Outcome::Shipped), offset + 100).expect("shipped")
    }

    #[test]
    fn only_what_comes_directly_before_the_first_is_remembered_too() {
        let mut recent = RecentOrders::default();
        assert!(!recent.prepend([entry(6)].into()), "where it begins is not known");
        recent.forget_until(Offsets {
            order: 6,
            shipment: 106,
        });
        assert!(!recent.prepend(VecDeque::new()));
        assert!(!recent.prepend([entry(5)].into()), "6 is missing");
        observe(&mut recent, 7, Outcome::Shipped);
        assert!(recent.prepend([entry(5), entry(6)].into()));
        assert!(!recent.prepend([entry(6)].into()), "it has come");
        for number in [5, 6, 7] {
            assert!(matches!(find(&recent, number), Known::Shipped(_)), "{number}");
        }
        let first = Offsets {
            order: 5,
            shipment: 105,
        };
        assert_eq!(recent.begins(), Some((first, MAX_ORDERS - 3)));
    }

    #[test]
    fn the_oldest_are_forgotten_beyond_the_bound() {
        let mut recent = RecentOrders::default();
        for number in 0..=MAX_ORDERS as u64 {
            observe(&mut recent, number, Outcome::Shipped);
        }
        assert_eq!(find(&recent, 0), Known::Nothing);
        assert!(matches!(find(&recent, 1), Known::Shipped(_)));
        assert_eq!(size_of::<Entry>(), 64);
    }
}
