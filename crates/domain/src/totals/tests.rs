use proptest::prelude::*;

use super::*;
use crate::order::tests::order;
use crate::{Replicas, Timestamp};

fn three_regions() -> Statistics {
    let mut statistics = Statistics::default();
    statistics.grow(Replicas::THREE.partitions());
    statistics
}

fn partition(number: &str) -> Partition {
    Replicas::THREE.parse_partition(number).expect("a partition")
}

fn shipment(order_offset: i64, outcome: Outcome) -> Vec<u8> {
    let now = Some(Timestamp::from_unix_millis(0));
    Shipment {
        order_id: None,
        order_offset,
        outcome,
        detail: None,
        packed_at: now,
        shipped_at: now,
    }
    .to_record()
}

#[test]
fn orders_wait_until_they_have_an_outcome() {
    let mut statistics = three_regions();
    let one = partition("1");
    let counted = statistics.count_order(one, 0, &order(5).to_record());
    assert_eq!(counted, Ok(Some(order(5).order_id)));
    assert!(statistics.count_order(one, 1, b"poison").is_err());
    let again = statistics.count_order(one, 0, &order(5).to_record());
    assert_eq!(
        again,
        Ok(None),
        "counted before, which is not the same as being no order"
    );
    let expected = Totals {
        orders: 1,
        money: 81,
        waiting: 2,
        ..Totals::default()
    };
    assert_eq!(statistics.total(), expected);

    statistics.count_shipment(one, 0, &shipment(0, Outcome::Shipped));
    statistics.count_shipment(one, 2, &shipment(1, Outcome::Rejected));
    let expected = Totals {
        shipped: 1,
        rejected: 1,
        waiting: 0,
        ..expected
    };
    assert_eq!(
        (statistics.total(), *statistics.regions()[1].totals()),
        (expected, expected)
    );
    assert_eq!(
        statistics.offsets(),
        Offsets {
            order: vec![0, 2, 0],
            shipment: vec![0, 3, 0]
        }
    );
}

#[test]
fn a_partition_that_is_added_later_starts_from_nothing() {
    let mut statistics = three_regions();
    let counted = statistics.count_order(partition("2"), 0, &order(5).to_record());
    assert!(counted.is_ok());
    statistics.grow(Replicas::try_from(5).expect("five").partitions());
    assert_eq!((statistics.regions().len(), statistics.total().orders), (5, 1));
}

proptest! {
    #[test]
    fn a_record_that_is_read_again_is_not_counted_again(again in prop::collection::vec(0_i64..20, 0..50)) {
        let mut statistics = three_regions();
        for offset in 0_i64..20 {
            let order = order(offset.cast_unsigned());
            let counted = statistics.count_order(partition("0"), offset, &order.to_record());
            prop_assert_eq!(counted, Ok(Some(order.order_id)));
            statistics.count_shipment(partition("0"), offset, &shipment(offset, Outcome::Shipped));
        }
        let before = statistics.clone();
        for offset in again {
            let counted = statistics.count_order(partition("0"), offset, &order(1).to_record());
            prop_assert_eq!(counted, Ok(None));
            statistics.count_shipment(partition("0"), offset, &shipment(offset, Outcome::Duplicate));
        }
        prop_assert_eq!(statistics, before);
    }

    #[test]
    fn no_bytes_panic(value in prop::collection::vec(any::<u8>(), 0..100), offset: i64) {
        let mut statistics = three_regions();
        let offset = offset & (i64::MAX >> 1);
        let _ = statistics.count_order(partition("0"), offset, &value);
        statistics.count_shipment(partition("0"), offset, &value);
    }
}
