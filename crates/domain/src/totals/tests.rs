use proptest::prelude::*;

use super::*;
use crate::order::tests::order;
use crate::{Outcome, Replicas, Shipment, Timestamp};

/// The time of a record.
const TIME: Option<i64> = Some(1_790_000_000_000);

pub(super) fn three_regions() -> Statistics {
    let mut statistics = Statistics::default();
    statistics.grow(Replicas::THREE.partitions());
    statistics
}

pub(super) fn partition(number: &str) -> Partition {
    Replicas::THREE.parse_partition(number).expect("a partition")
}

pub(super) fn shipment(order_offset: i64, outcome: Outcome) -> Vec<u8> {
    let now = Some(Timestamp::from_unix_millis(0));
    Shipment {
        order_id: None,
        order_offset,
        outcome,
        mark: None,
        duplicate_of: None,
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
    let counted = statistics.count_order(one, 0, TIME, &order(5).to_record());
    assert_eq!(counted, Ok(Some(order(5).order_id)));
    assert!(statistics.count_order(one, 1, TIME, b"poison").is_err());
    let again = statistics.count_order(one, 0, TIME, &order(5).to_record());
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

    statistics.count_shipment(one, 0, TIME, &shipment(0, Outcome::Shipped));
    statistics.count_shipment(one, 2, TIME, &shipment(1, Outcome::Rejected));
    let expected = Totals {
        shipped: 1,
        rejected: 1,
        waiting: 0,
        ..expected
    };
    assert_eq!(
        (statistics.total(), statistics.regions()[1].totals()),
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
fn records_that_an_operator_skipped_are_neither_lost_nor_waiting() {
    let mut statistics = three_regions();
    let one = partition("1");
    for offset in 0..5 {
        let counted = statistics.count_order(one, offset, TIME, &order(5).to_record());
        assert!(counted.is_ok());
    }
    for (offset, order_offset, outcome) in [
        (0, 0, Outcome::Shipped),
        (1, 3, Outcome::Skipped),
        (2, 4, Outcome::Shipped),
    ] {
        statistics.count_shipment(one, offset, TIME, &shipment(order_offset, outcome));
    }
    let Totals {
        shipped,
        waiting,
        lost,
        shipped_twice,
        ..
    } = statistics.total();
    assert_eq!((shipped, waiting, lost, shipped_twice), (2, 0, Some(0), Some(0)));
}

#[test]
fn a_partition_that_is_added_later_starts_from_nothing() {
    let mut statistics = three_regions();
    let counted = statistics.count_order(partition("2"), 0, TIME, &order(5).to_record());
    assert!(counted.is_ok());
    statistics.grow(Replicas::try_from(5).expect("five").partitions());
    assert_eq!((statistics.regions().len(), statistics.total().orders), (5, 1));
}

#[test]
fn a_log_whose_start_is_gone_is_counted_from_where_it_begins() {
    let (mut statistics, one) = (three_regions(), partition("1"));
    statistics.begin(Topic::Order, one, 100);
    statistics.begin(Topic::Shipment, one, 250);
    let unknown = Totals {
        lost: None,
        shipped_twice: None,
        ..Totals::default()
    };
    assert_eq!(statistics.total(), unknown);
    assert_eq!(statistics.begins(), statistics.offsets());
    let counted = statistics.count_order(one, 99, TIME, &order(5).to_record());
    assert_eq!(counted, Ok(None), "before the start");
    let counted = statistics.count_order(one, 100, TIME, &order(6).to_record());
    assert_eq!(counted, Ok(Some(order(6).order_id)));
    assert_eq!(statistics.total().waiting, 1, "those before it are not known");
    let begins = Offsets {
        order: vec![0, 100, 0],
        shipment: vec![0, 250, 0],
    };
    assert_eq!(statistics.begins(), begins);
}

#[test]
fn an_order_that_is_passed_over_is_lost_and_one_with_two_outcomes_was_shipped_twice() {
    let mistakes = |offsets: &[i64], begin| {
        let (mut statistics, one) = (three_regions(), partition("1"));
        statistics.begin(Topic::Shipment, one, begin);
        for (offset, order_offset) in (begin..).zip(offsets) {
            statistics.count_shipment(one, offset, TIME, &shipment(*order_offset, Outcome::Shipped));
        }
        let total = statistics.total();
        (total.lost, total.shipped_twice)
    };
    assert_eq!(mistakes(&[0, 1, 2], 0), (Some(0), Some(0)));
    assert_eq!(mistakes(&[0, 2], 0), (Some(1), Some(0)));
    assert_eq!(mistakes(&[0, 1, 1], 0), (Some(0), Some(1)));
    assert_eq!(mistakes(&[7, 8], 9), (None, None), "what was before is not known");
}

#[test]
fn the_end_of_a_transaction_is_passed_without_a_record() {
    let (mut statistics, one) = (three_regions(), partition("1"));
    statistics.count_shipment(one, 0, TIME, &shipment(0, Outcome::Shipped));
    let before = statistics.clone();
    assert!(statistics.read_to(Topic::Shipment, one, 2));
    assert_eq!(statistics.position(Topic::Shipment, one).next, 2);
    assert_eq!(statistics.total(), before.total());
    assert!(!statistics.read_to(Topic::Shipment, one, 1), "that is known");
    assert_eq!(statistics.position(Topic::Shipment, one).next, 2);
}

#[test]
fn json_has_the_keys_of_the_contract() {
    let (mut statistics, one_region) = (Statistics::default(), Replicas::try_from(1).expect("one"));
    statistics.grow(one_region.partitions());
    let counted = statistics.count_order(partition("0"), 0, TIME, &order(5).to_record());
    assert!(counted.is_ok());
    let totals =
        r#""orders":1,"money":81,"shipped":0,"duplicates":0,"rejected":0,"waiting":1,"lost":0,"shipped_twice":0"#;
    let last_order = String::from_utf8(order(5).to_record()).expect("JSON");
    let expected = format!(
        r#"{{"regions":[{{"partition":0,"region":"陕北",{totals},"last_order":{last_order},"problem":null}}],"total":{{{totals}}},"#
    ) + r#""offsets":{"order":[1],"shipment":[0]},"begins":{"order":[0],"shipment":[0]}}"#;
    assert_eq!(serde_json::to_string(&statistics).expect("JSON"), expected);
}

proptest! {
    #[test]
    fn a_record_that_is_read_again_is_not_counted_again(again in prop::collection::vec(0_i64..20, 0..50)) {
        let mut statistics = three_regions();
        for offset in 0_i64..20 {
            let order = order(offset.cast_unsigned());
            let counted = statistics.count_order(partition("0"), offset, TIME, &order.to_record());
            prop_assert_eq!(counted, Ok(Some(order.order_id)));
            statistics.count_shipment(partition("0"), offset, TIME, &shipment(offset, Outcome::Shipped));
        }
        let before = statistics.clone();
        for offset in again {
            let counted = statistics.count_order(partition("0"), offset, TIME, &order(1).to_record());
            prop_assert_eq!(counted, Ok(None));
            statistics.count_shipment(partition("0"), offset, TIME, &shipment(offset, Outcome::Duplicate));
        }
        prop_assert_eq!(statistics, before);
    }

    #[test]
    fn no_bytes_panic(value in prop::collection::vec(any::<u8>(), 0..100), offset: i64) {
        let mut statistics = three_regions();
        let offset = offset & (i64::MAX >> 1);
        let _ = statistics.count_order(partition("0"), offset, TIME, &value);
        statistics.count_shipment(partition("0"), offset, TIME, &value);
    }
}
