//! What becomes of a record of topic `order`.

use domain::{Detail, Order, OrderId, Outcome, Shipment};

use crate::window::{DuplicateWindow, Seen};

/// A record of topic `order` that waits for its outcome to be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parcel {
    pub(crate) order_id: Option<OrderId>,
    pub(crate) order_offset: i64,
    /// The time of the order's record, in Unix milliseconds.
    pub(crate) timestamp: i64,
    pub(crate) outcome: Outcome,
    detail: Option<Detail>,
}

impl Parcel {
    /// Decides on a record, and remembers an order that will be shipped.
    pub(crate) fn new(order_offset: i64, timestamp: i64, value: &[u8], window: &mut DuplicateWindow) -> Self {
        let (order_id, outcome, detail) = match Order::from_record(value) {
            Err(error) => (None, Outcome::Rejected, Some(error.into())),
            Ok(Order { order_id, .. }) => match window.look_up(order_id) {
                Seen::New => {
                    window.insert(order_id);
                    (Some(order_id), Outcome::Shipped, None)
                }
                Seen::Before => (
                    Some(order_id),
                    Outcome::Duplicate,
                    Some(Detail::new("an order with this id was shipped before")),
                ),
                // Shipping it could be the second time; the record says so, for somebody to decide.
                Seen::Unknown => {
                    let detail = "the id is older than the duplicate window: it may have been shipped before";
                    (Some(order_id), Outcome::Rejected, Some(Detail::new(detail)))
                }
            },
        };
        Self {
            order_id,
            order_offset,
            timestamp,
            outcome,
            detail,
        }
    }

    /// Why it is not shipped.
    pub(crate) fn detail(&self) -> Option<&str> {
        self.detail.as_ref().map(Detail::as_str)
    }

    /// The record of topic `shipment`. Only what is shipped was packed.
    pub(crate) fn shipment(&self, packed_at: domain::Timestamp, shipped_at: domain::Timestamp) -> Shipment {
        let shipped = self.outcome == Outcome::Shipped;
        Shipment {
            order_id: self.order_id,
            order_offset: self.order_offset,
            outcome: self.outcome,
            detail: self.detail.clone(),
            packed_at: shipped.then_some(packed_at),
            shipped_at: shipped.then_some(shipped_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(id: u64) -> Vec<u8> {
        format!(r#"{{"money":1,"order_id":"{id}","time":1,"user_id":"1"}}"#).into_bytes()
    }

    #[test]
    fn an_order_is_shipped_once_and_what_is_no_order_is_rejected() {
        let mut window = DuplicateWindow::new(10);
        let mut outcome = |value: &[u8]| Parcel::new(0, 0, value, &mut window).outcome;
        let outcomes = [
            outcome(&order(7)),
            outcome(&order(7)),
            outcome(b"{"),
            outcome(&order(8)),
        ];
        assert_eq!(
            outcomes,
            [
                Outcome::Shipped,
                Outcome::Duplicate,
                Outcome::Rejected,
                Outcome::Shipped
            ]
        );
    }

    proptest! {
        #[test]
        fn every_record_has_an_outcome(value in prop::collection::vec(any::<u8>(), 0..200), offset: i64) {
            let parcel = Parcel::new(offset, 0, &value, &mut DuplicateWindow::new(10));
            prop_assert_eq!(parcel.order_offset, offset);
            prop_assert_eq!(parcel.detail().is_none(), parcel.outcome == Outcome::Shipped);
        }
    }
}
