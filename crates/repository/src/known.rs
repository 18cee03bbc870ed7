//! What this process knows of orders and their outcomes, so that nobody has to look into the logs.

use std::collections::VecDeque;
use std::sync::Arc;

use domain::{Known, Order, OrderId, Partition, Shipment};
use parking_lot::Mutex;

use crate::late::{LateRecord, LateRecords};
use crate::recent::{Entry, Offsets, RecentOrders};

/// Outcomes are observed in the order of the log. Clones share their state.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownOrders(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    late: LateRecords,
    recent: RecentOrders,
}

impl KnownOrders {
    /// This process has committed the outcome of an order.
    pub(crate) fn committed(&self, order: &Order, shipment: &Shipment, shipment_offset: i64) {
        let State { late, recent } = &mut *self.0.lock();
        if !late.observe(order.order_id, shipment.order_offset, shipment_offset) {
            recent.observe(order, shipment, shipment_offset);
        }
    }

    /// An outcome was read from the log, which does not hold the order itself.
    pub(crate) fn read_back(&self, order_id: OrderId, order_offset: i64, shipment_offset: i64) {
        let State { late, recent } = &mut *self.0.lock();
        if !late.observe(order_id, order_offset, shipment_offset) {
            recent.forget_until(Offsets {
                order: order_offset,
                shipment: shipment_offset,
            });
        }
    }

    /// The late records with an id, in the order of the log.
    pub(crate) fn late_records(&self, id: OrderId) -> Vec<LateRecord> {
        self.0.lock().late.find(id).collect()
    }

    /// Where the first order is that is remembered, and how many more before it could be.
    pub(crate) fn begins(&self) -> Option<(Offsets, usize)> {
        self.0.lock().recent.begins()
    }

    /// Remembers orders that come directly before those. Returns whether they do.
    pub(crate) fn prepend(&self, older: VecDeque<Entry>) -> bool {
        self.0.lock().recent.prepend(older)
    }

    /// What is known of an order. Of one with late records the logs tell more.
    pub(crate) fn find(&self, id: OrderId, partition: Partition) -> Known {
        let State { late, recent } = &*self.0.lock();
        match late.find(id).next() {
            Some(_) => Known::Nothing,
            None => recent.find(id, partition),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{Outcome, Replicas, Timestamp};

    use super::*;

    fn id(id: u64) -> OrderId {
        id.to_string().parse().expect("an id")
    }

    fn commit(known: &KnownOrders, number: u64) {
        let json = format!(r#"{{"money":1,"order_id":"{number}","time":1,"user_id":"1"}}"#);
        let time = Some(Timestamp::from_unix_millis(5));
        let shipment = Shipment {
            order_id: Some(id(number)),
            order_offset: 3,
            outcome: Outcome::Shipped,
            detail: None,
            packed_at: time,
            shipped_at: time,
        };
        known.committed(&Order::from_record(json.as_bytes()).expect("an order"), &shipment, 4);
    }

    fn find(known: &KnownOrders, number: u64) -> Known {
        known.find(id(number), Replicas::THREE.parse_partition("1").expect("a partition"))
    }

    #[test]
    fn of_an_order_with_a_late_record_only_that_is_known() {
        let known = KnownOrders::default();
        for number in [5, 9, 7] {
            commit(&known, number);
        }
        assert!(matches!(find(&known, 5), Known::Shipped(_)));
        assert_eq!(find(&known, 6), Known::NotThere);
        assert_eq!(find(&known, 7), Known::Nothing);
        assert_eq!(known.late_records(id(7)).len(), 1);
    }

    #[test]
    fn what_is_read_back_is_a_gap_unless_it_is_late() {
        let known = KnownOrders::default();
        commit(&known, 5);
        commit(&known, 9);
        known.read_back(id(7), 1, 1);
        assert!(matches!(find(&known, 5), Known::Shipped(_)));
        known.read_back(id(10), 2, 2);
        commit(&known, 11);
        assert_eq!(find(&known, 9), Known::Nothing);
        assert!(matches!(find(&known, 11), Known::Shipped(_)));
    }
}
