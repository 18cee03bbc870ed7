//! Records that are further behind in the log than the time in their ids says.

use std::collections::VecDeque;

use domain::OrderId;

/// The most records that are remembered, 24 bytes each. One is late only when an order was written again.
const MAX_RECORDS: usize = 10_000;

/// Where the records are whose id is smaller than one before them: an order of unknown outcome was written again, with
/// the id and the time of the first attempt, and the index of times leads to where that would be.
#[derive(Debug, Default)]
pub(crate) struct LateRecords {
    largest: Option<OrderId>,
    records: VecDeque<LateRecord>,
}

/// A late record, and its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LateRecord {
    order_id: OrderId,
    pub(crate) order_offset: i64,
    pub(crate) shipment_offset: i64,
}

impl LateRecords {
    /// A record of topic `order` has its outcome. Records are observed in the order of the log. Returns whether it is late.
    pub(crate) fn observe(&mut self, order_id: OrderId, order_offset: i64, shipment_offset: i64) -> bool {
        if self.largest.is_none_or(|largest| largest < order_id) {
            self.largest = Some(order_id);
            return false;
        }
        if self.records.len() == MAX_RECORDS {
            self.records.pop_front();
        }
        let record = LateRecord {
            order_id,
            order_offset,
            shipment_offset,
        };
        // What a new round reads back may have been observed before.
        if !self.records.contains(&record) {
            self.records.push_back(record);
        }
        true
    }

    /// The late records with an id, in the order of the log.
    pub(crate) fn find(&self, order_id: OrderId) -> impl Iterator<Item = LateRecord> {
        let found = self.records.iter().filter(move |record| record.order_id == order_id);
        found.copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u64) -> OrderId {
        id.to_string().parse().expect("an id")
    }

    #[test]
    fn only_records_behind_a_larger_id_are_remembered() {
        let mut late = LateRecords::default();
        for (offset, number) in [(0, 5), (1, 7), (2, 6), (3, 8), (4, 7)] {
            late.observe(id(number), offset, offset + 10);
        }
        let offsets = |number| -> Vec<(i64, i64)> {
            late.find(id(number))
                .map(|record| (record.order_offset, record.shipment_offset))
                .collect()
        };
        assert_eq!(offsets(5), []);
        assert_eq!(offsets(6), [(2, 12)]);
        assert_eq!(offsets(7), [(4, 14)]);
    }

    #[test]
    fn a_record_that_is_observed_twice_is_one() {
        let mut late = LateRecords::default();
        late.observe(id(5), 0, 0);
        for _ in 0..2 {
            late.observe(id(4), 1, 1);
        }
        assert_eq!(late.find(id(4)).count(), 1);
    }

    #[test]
    fn the_oldest_are_forgotten_beyond_the_bound() {
        let mut late = LateRecords::default();
        late.observe(id(1_000_000), 0, 0);
        for number in 0..=MAX_RECORDS as u64 {
            late.observe(id(number), 1, 1);
        }
        assert_eq!(late.find(id(0)).count(), 0);
        assert_eq!(late.find(id(1)).count(), 1);
        assert_eq!(late.find(id(MAX_RECORDS as u64)).count(), 1);
    }
}
