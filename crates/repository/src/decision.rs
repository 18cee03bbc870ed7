//! Decides the outcome of each record of topic `order`.

use domain::{Detail, OrderId, Outcome, Partition, Region, Shipment, Timestamp};

use crate::outcome::OrderRecord;
use crate::window::{ShippedMarks, Verdict, Window};

/// The outcome of one record of topic `order`, before it is written.
#[derive(Debug, PartialEq, Eq)]
struct Decision {
    record: OrderRecord,
    outcome: Outcome,
    duplicate_of: Option<OrderId>,
    detail: Option<Detail>,
}

/// The records that go into one transaction. They enter the window once it is committed.
#[derive(Debug, Default)]
pub struct Batch {
    decisions: Vec<Decision>,
    shipped: ShippedMarks,
}

impl Batch {
    /// Decides the outcome of the next record of topic `order`.
    pub fn decide(&mut self, record: OrderRecord, window: &Window) {
        let (outcome, duplicate_of, detail) = match &record.content {
            Err(error) => (Outcome::Rejected, None, Some(Detail::new(error))),
            Ok((order, mark)) => {
                let id = order.order_id;
                let repeats = self.shipped.find(*mark, id);
                match repeats.map_or_else(|| window.judge(*mark, id), Verdict::Repeats) {
                    Verdict::New => {
                        self.shipped.insert(*mark, id);
                        (Outcome::Shipped, None, None)
                    }
                    Verdict::Repeats(shipped) => {
                        let detail = format!("the same order as {shipped}, which was shipped");
                        (Outcome::Duplicate, Some(shipped), Some(Detail::new(detail)))
                    }
                    Verdict::TooLate => {
                        let detail = "the record came so late that the order may have been shipped before";
                        (Outcome::Rejected, None, Some(Detail::new(detail)))
                    }
                }
            }
        };
        self.decisions.push(Decision {
            record,
            outcome,
            duplicate_of,
            detail,
        });
    }

    /// The number of records that have been decided.
    pub fn len(&self) -> usize {
        self.decisions.len()
    }

    /// Returns `true` if no record has been decided.
    pub fn is_empty(&self) -> bool {
        self.decisions.is_empty()
    }

    /// The records of topic `shipment`, each with its time in Unix milliseconds: that of the order, so that an id leads
    /// to the outcome, but at most `shipped_at`. A broker refuses times in the future, and they spoil its index.
    pub fn shipments(self, packed_at: Timestamp, shipped_at: Timestamp) -> Vec<(Shipment, i64)> {
        let shipment = |decision: Decision| {
            let shipped = decision.outcome == Outcome::Shipped;
            let (order_id, order_time) = (decision.record.order_id(), decision.record.timestamp);
            let time = order_id.map_or(order_time, |id| id.time().unix_millis().cast_signed());
            let shipment = Shipment {
                order_id,
                order_offset: decision.record.offset,
                outcome: decision.outcome,
                mark: decision.record.mark(),
                duplicate_of: decision.duplicate_of,
                detail: decision.detail,
                packed_at: shipped.then_some(packed_at),
                shipped_at: shipped.then_some(shipped_at),
            };
            (shipment, time.min(shipped_at.unix_millis().cast_signed()))
        };
        self.decisions.into_iter().map(shipment).collect()
    }
}

/// Logs an outcome that is committed.
pub(crate) fn log(service: &str, partition: Partition, shipment: &Shipment) {
    let (partition, region, offset) = (partition.id(), Region::from(partition), shipment.order_offset);
    let order_id = shipment.order_id.map(tracing::field::display);
    let detail = shipment.detail.as_ref().map(tracing::field::display);
    match shipment.outcome {
        Outcome::Shipped => tracing::info!(service, order_id, partition, offset, %region, "order shipped"),
        Outcome::Duplicate => {
            tracing::warn!(service, order_id, partition, offset, %region, detail, "order not shipped again");
        }
        Outcome::Rejected => {
            tracing::warn!(service, order_id, partition, offset, %region, detail, "record rejected");
        }
        Outcome::Skipped => tracing::warn!(service, order_id, partition, offset, %region, detail, "records skipped"),
    }
}

#[cfg(test)]
mod tests {
    use domain::{IDEMPOTENCY_KEY, IDEMPOTENCY_REQUEST};
    use proptest::prelude::*;

    use super::*;
    use crate::outcome::OutcomeRecord;

    fn order(id: u64, money: u32) -> Vec<u8> {
        format!(r#"{{"money":{money},"order_id":"{id}","time":1,"user_id":"1"}}"#).into_bytes()
    }

    fn record(offset: i64, value: &[u8]) -> OrderRecord {
        OrderRecord::new(offset, 5, [], value)
    }

    fn keyed(offset: i64, id: u64, request: &str) -> OrderRecord {
        let headers = [(IDEMPOTENCY_KEY, "k"), (IDEMPOTENCY_REQUEST, request)];
        OrderRecord::new(offset, 5, headers, &order(id, 1))
    }

    fn shipments(batch: Batch) -> Vec<Shipment> {
        let now = Timestamp::now();
        batch
            .shipments(now, now)
            .into_iter()
            .map(|(shipment, _)| shipment)
            .collect()
    }

    fn outcomes(batch: Batch) -> Vec<Outcome> {
        shipments(batch).iter().map(|shipment| shipment.outcome).collect()
    }

    use Outcome::{Duplicate, Rejected, Shipped};

    #[test]
    fn a_record_is_shipped_once_and_a_record_without_an_order_is_rejected() {
        let mut batch = Batch::default();
        let values = [order(7, 1), order(7, 1), b"[7]".to_vec(), order(8, 1)];
        for (offset, value) in (0..).zip(&values) {
            batch.decide(record(offset, value), &Window::default());
        }
        assert_eq!(outcomes(batch), [Shipped, Duplicate, Rejected, Shipped]);
    }

    #[test]
    fn two_orders_with_one_id_are_both_shipped() {
        let mut batch = Batch::default();
        batch.decide(record(0, &order(7, 1)), &Window::default());
        batch.decide(record(1, &order(7, 2)), &Window::default());
        assert_eq!(outcomes(batch), [Shipped, Shipped]);
    }

    #[test]
    fn a_retry_is_a_duplicate_of_the_attempt_that_was_shipped_also_of_another_batch() {
        let mut window = Window::default();
        let mut batch = Batch::default();
        batch.decide(keyed(0, 7, "money=1"), &window);
        batch.decide(keyed(1, 8, "money=1"), &window);
        batch.decide(keyed(2, 9, ""), &window);
        let first = shipments(batch);
        assert_eq!(first[1].duplicate_of, first[0].order_id);
        let found: Vec<Outcome> = first.iter().map(|shipment| shipment.outcome).collect();
        assert_eq!(found, [Shipped, Duplicate, Shipped]);
        first
            .iter()
            .for_each(|shipment| window.add(&OutcomeRecord::from(shipment)));
        let mut batch = Batch::default();
        batch.decide(keyed(3, 10, "money=1"), &window);
        let again = shipments(batch);
        assert_eq!(
            (again[0].outcome, again[0].duplicate_of),
            (Duplicate, first[0].order_id)
        );
    }

    #[test]
    fn the_time_of_an_outcome_is_that_of_its_order_and_never_in_the_future() {
        let now = Timestamp::from_unix_millis(1_638_865_980_000);
        let mut batch = Batch::default();
        for value in [
            order(1_468_136_426_238_382_080, 1),
            order(1_468_136_426_238_382_080 + (1 << 45), 1),
            b"{".to_vec(),
        ] {
            batch.decide(record(0, &value), &Window::default());
        }
        let times: Vec<i64> = batch.shipments(now, now).into_iter().map(|(_, time)| time).collect();
        assert_eq!(times, [1_638_865_975_328, 1_638_865_980_000, 5]);
    }

    proptest! {
        #[test]
        fn every_record_has_an_outcome(value in prop::collection::vec(any::<u8>(), 0..200), offset: i64) {
            let mut batch = Batch::default();
            batch.decide(record(offset, &value), &Window::default());
            let shipment = &shipments(batch)[0];
            prop_assert_eq!(shipment.order_offset, offset);
            prop_assert_eq!(shipment.detail.is_none(), shipment.outcome == Shipped);
        }
    }
}
