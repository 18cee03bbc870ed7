//! What becomes of the records of topic `order`.

use std::collections::HashSet;

use domain::{Detail, Order, OrderId, Outcome, Partition, Region, Shipment, Timestamp};

use crate::window::{DuplicateWindow, Seen};

/// What becomes of one record of topic `order`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// `None` when the record holds none.
    pub(crate) order: Option<Order>,
    pub(crate) order_offset: i64,
    /// The time of the outcome's record, in Unix milliseconds: the order's own, so that a time is found again by an id.
    pub(crate) timestamp: i64,
    pub(crate) outcome: Outcome,
    /// Why it is not shipped.
    pub(crate) detail: Option<Detail>,
}

impl Decision {
    pub(crate) fn order_id(&self) -> Option<OrderId> {
        self.order.as_ref().map(|order| order.order_id)
    }

    /// The record of topic `shipment`. Only what is shipped was packed.
    pub(crate) fn shipment(&self, packed_at: Timestamp, shipped_at: Timestamp) -> Shipment {
        let shipped = self.outcome == Outcome::Shipped;
        Shipment {
            order_id: self.order_id(),
            order_offset: self.order_offset,
            outcome: self.outcome,
            detail: self.detail.clone(),
            packed_at: shipped.then_some(packed_at),
            shipped_at: shipped.then_some(shipped_at),
        }
    }

    /// Says in the log what became of the record: once it is committed.
    pub(crate) fn log(&self, service: &str, partition: Partition) {
        let (partition, region, offset) = (partition.id(), Region::from(partition), self.order_offset);
        let order_id = self.order_id().map(tracing::field::display);
        let detail = self.detail.as_ref().map(tracing::field::display);
        match self.outcome {
            Outcome::Shipped => tracing::info!(service, order_id, partition, offset, %region, "order shipped"),
            Outcome::Duplicate => {
                tracing::warn!(service, order_id, partition, offset, %region, detail, "order not shipped again");
            }
            Outcome::Rejected => {
                tracing::warn!(service, order_id, partition, offset, %region, detail, "record rejected");
            }
        }
    }
}

/// The id of the order that the value of a record of topic `order` holds, if it holds one.
pub(crate) fn order_id(value: &[u8]) -> Option<OrderId> {
    Order::from_record(value).ok().map(|order| order.order_id)
}

/// Decisions that go into one transaction. They are in nobody's window until it is committed.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) decisions: Vec<Decision>,
    shipped: HashSet<u64>,
}

impl Batch {
    /// Decides on a record of topic `order`. `timestamp` is the record's own, in Unix milliseconds.
    pub(crate) fn decide(&mut self, order_offset: i64, timestamp: i64, value: &[u8], window: &DuplicateWindow) {
        let (order, outcome, detail) = match Order::from_record(value) {
            Err(error) => (None, Outcome::Rejected, Some(Detail::new(error))),
            Ok(order) => {
                let order_id = order.order_id;
                let seen = if self.shipped.contains(&order_id.get()) {
                    Seen::Before
                } else {
                    window.look_up(order_id)
                };
                let (outcome, detail) = match seen {
                    Seen::New => {
                        self.shipped.insert(order_id.get());
                        (Outcome::Shipped, None)
                    }
                    Seen::Before => (Outcome::Duplicate, Some("an order with this id was shipped before")),
                    // Shipping it could be the second time; the record says so, for an operator to decide.
                    Seen::Unknown => (
                        Outcome::Rejected,
                        Some("the id is older than the duplicate window: it may have been shipped before"),
                    ),
                };
                (Some(order), outcome, detail.map(Detail::new))
            }
        };
        let time = order.as_ref().map(|order| order.order_id.time());
        self.decisions.push(Decision {
            order,
            order_offset,
            timestamp: time.map_or(timestamp, |time| time.unix_millis().cast_signed()),
            outcome,
            detail,
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.decisions.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const SPAN: Duration = Duration::from_secs(1);

    fn order(id: u64) -> Vec<u8> {
        format!(r#"{{"money":1,"order_id":"{id}","time":1,"user_id":"1"}}"#).into_bytes()
    }

    fn outcomes(batch: &Batch) -> Vec<Outcome> {
        batch.decisions.iter().map(|decision| decision.outcome).collect()
    }

    #[test]
    fn an_order_is_shipped_once_and_what_is_no_order_is_rejected() {
        let mut window = DuplicateWindow::new(SPAN);
        window.insert("9".parse().expect("an id"), Timestamp::now());
        let mut batch = Batch::default();
        let values = [order(7), order(7), b"{".to_vec(), order(8), order(9)];
        for (offset, value) in (0..).zip(&values) {
            batch.decide(offset, 0, value, &window);
        }
        use Outcome::{Duplicate, Rejected, Shipped};
        assert_eq!(outcomes(&batch), [Shipped, Duplicate, Rejected, Shipped, Duplicate]);
    }

    #[test]
    fn what_was_decided_in_a_batch_that_did_not_commit_is_decided_again() {
        let window = DuplicateWindow::new(SPAN);
        for _attempt in 0..2 {
            let mut batch = Batch::default();
            batch.decide(0, 0, &order(7), &window);
            assert_eq!(outcomes(&batch), [Outcome::Shipped]);
        }
    }

    #[test]
    fn the_time_of_an_outcome_is_that_of_its_order_whatever_the_record_says() {
        let (mut batch, window) = (Batch::default(), DuplicateWindow::new(SPAN));
        batch.decide(0, -1, &order(1_468_136_426_238_382_080), &window);
        batch.decide(1, 5, b"{", &window);
        let timestamps: Vec<i64> = batch.decisions.iter().map(|decision| decision.timestamp).collect();
        assert_eq!(timestamps, [1_638_865_975_328, 5]);
    }

    proptest! {
        #[test]
        fn every_record_has_an_outcome(value in prop::collection::vec(any::<u8>(), 0..200), offset: i64) {
            let mut batch = Batch::default();
            batch.decide(offset, 0, &value, &DuplicateWindow::new(SPAN));
            let decision = &batch.decisions[0];
            prop_assert_eq!(decision.order_offset, offset);
            prop_assert_eq!(decision.detail.is_none(), decision.outcome == Outcome::Shipped);
        }
    }
}
