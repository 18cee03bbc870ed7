//! The orders that were shipped last, with their outcomes: most questions are about these, and need no broker.

use std::collections::VecDeque;

use domain::{Accepted, Journey, Money, Order, OrderId, Outcome, Partition, Shipment, Shipped, Timestamp, UserId};

/// The most orders that are remembered, of 64 bytes each: of three regions a million.
const MAX_ORDERS: usize = 350_000;

/// What this process has shipped last, without a gap: each has a larger id than the one before it. What comes with a
/// smaller one is a [late record](crate::late::LateRecords).
#[derive(Debug)]
pub(crate) struct RecentOrders(VecDeque<Entry>);

#[derive(Debug)]
struct Entry {
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

/// What is known of an order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// All of it.
    Shipped(Box<Journey>),
    /// It is not among those between which its id is.
    NotThere,
    /// It is older than all that are remembered, or not shipped yet: the logs know.
    Nothing,
}

impl Default for RecentOrders {
    fn default() -> Self {
        // With room for all: a queue that has grown may have room for twice as many. What is not used is not resident.
        Self(VecDeque::with_capacity(MAX_ORDERS))
    }
}

impl RecentOrders {
    /// The outcome of an order is committed that is not late. They are observed in the order of the log.
    pub(crate) fn observe(&mut self, order: &Order, shipment: &Shipment, shipment_offset: i64) {
        let Some(entry) = Entry::new(order, shipment, shipment_offset) else {
            return self.forget();
        };
        if self.0.len() == MAX_ORDERS {
            self.0.pop_front();
        }
        self.0.push_back(entry);
    }

    /// An outcome is committed whose order is not known: it would be a gap.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }

    /// What is known of an order without late records.
    pub(crate) fn find(&self, id: OrderId, partition: Partition) -> Known {
        match (self.0.front(), self.0.back()) {
            (Some(first), Some(last)) if (first.order_id..=last.order_id).contains(&id) => {}
            _ => return Known::Nothing,
        }
        let Ok(index) = self.0.binary_search_by_key(&id, |entry| entry.order_id) else {
            return Known::NotThere;
        };
        let journey = self.0[index].journey(partition).map(Box::new);
        journey.map_or(Known::Nothing, Known::Shipped)
    }
}

impl Entry {
    /// `None` for what was not shipped.
    fn new(order: &Order, shipment: &Shipment, shipment_offset: i64) -> Option<Self> {
        let user_id = order.user_id.as_str();
        Some(Self {
            order_id: order.order_id,
            order_offset: shipment.order_offset,
            shipment_offset,
            packed_at: shipment.packed_at?,
            shipped_at: shipment.shipped_at?,
            time: order.time,
            user_number: user_id.parse().ok()?,
            user_digits: u8::try_from(user_id.len()).ok()?,
            money: order.money,
        })
    }

    fn journey(&self, partition: Partition) -> Option<Journey> {
        let digits = usize::from(self.user_digits);
        let order = Order {
            money: self.money,
            order_id: self.order_id,
            time: self.time,
            // With the zeros that it began with.
            user_id: UserId::try_from(format!("{:0digits$}", self.user_number)).ok()?,
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
        recent.forget();
        assert_eq!(find(&recent, 7), Known::Nothing);
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
