use proptest::prelude::*;

use super::*;
use crate::order::tests::order;
use crate::totals::tests::{partition, shipment, three_regions};
use crate::{LastRecord, Outcome};

const CLUSTER: Option<&str> = Some("one");

/// A record of one of three regions, by the number of the region.
#[derive(Clone, Debug)]
enum Record {
    Order(&'static str, Vec<u8>),
    Shipment(&'static str, Vec<u8>),
    /// The end of a transaction.
    Marker(&'static str),
}

fn record() -> impl Strategy<Value = Record> {
    let region = || prop::sample::select(vec!["0", "1", "2"]);
    let outcome = prop::sample::select(vec![Outcome::Shipped, Outcome::Duplicate, Outcome::Rejected]);
    prop_oneof![
        (region(), 1_u64..1000).prop_map(|(region, id)| Record::Order(region, order(id).to_record())),
        region().prop_map(|region| Record::Order(region, b"poison".to_vec())),
        (region(), 0_i64..1000, outcome)
            .prop_map(|(region, offset, outcome)| Record::Shipment(region, shipment(offset, outcome))),
        region().prop_map(|region| Record::Shipment(region, b"by hand".to_vec())),
        region().prop_map(Record::Marker),
    ]
}

/// Counts these records, each at the next offset of its log.
fn count(statistics: &mut Statistics, records: &[Record]) {
    for record in records {
        let next = |topic, region| statistics.position(topic, partition(region)).next;
        match record {
            Record::Order(region, value) => {
                let offset = next(Topic::Order, region);
                let _ = statistics.count_order(partition(region), offset, Some(offset), value);
            }
            Record::Shipment(region, value) => {
                let offset = next(Topic::Shipment, region);
                statistics.count_shipment(partition(region), offset, Some(offset), value);
            }
            Record::Marker(region) => {
                let offset = next(Topic::Shipment, region) + 1;
                statistics.read_to(Topic::Shipment, partition(region), offset);
            }
        }
    }
}

fn snapshot_of(statistics: &Statistics) -> Snapshot {
    let mut snapshot = Snapshot::new(CLUSTER.map(str::to_owned));
    snapshot.update(statistics);
    snapshot
}

/// What a process knows that starts from a snapshot.
fn restored(snapshot: &Snapshot) -> Statistics {
    let mut statistics = three_regions();
    statistics.restore(snapshot);
    statistics
}

#[test]
fn the_record_has_a_format_that_does_not_change_unnoticed() {
    let mut statistics = three_regions();
    assert_eq!(snapshot_of(&statistics), Snapshot::new(CLUSTER.map(str::to_owned)));
    let counted = statistics.count_order(partition("1"), 0, Some(7), &order(5).to_record());
    assert!(counted.is_ok());
    let last_order = String::from_utf8(order(5).to_record()).expect("JSON");
    let nothing = r#"{"begin":0,"next":0,"last":null}"#;
    let shipment =
        format!(r#"{{"shipped":0,"duplicates":0,"rejected":0,"outcomes":0,"since_skip":[0,0],"position":{nothing}}}"#);
    let empty =
        format!(r#"{{"order":{{"orders":0,"money":0,"last_order":null,"position":{nothing}}},"shipment":{shipment}}}"#);
    let position = r#"{"begin":0,"next":1,"last":{"offset":0,"timestamp":7,"order_id":"5"}}"#;
    let second = format!(
        r#"{{"order":{{"orders":1,"money":81,"last_order":{last_order},"position":{position}}},"shipment":{shipment}}}"#
    );
    let expected = format!(r#"{{"format":2,"cluster":"one","regions":[{empty},{second}]}}"#);
    let record = snapshot_of(&statistics).to_record();
    assert_eq!(String::from_utf8(record).expect("JSON"), expected);
}

#[test]
fn another_format_or_cluster_and_what_cannot_be_are_told_apart() {
    let read = |value: &str| {
        let error = Snapshot::from_record(value.as_bytes(), CLUSTER).expect_err(value);
        error.to_string()
    };
    let position = r#"{"begin":0,"next":1,"last":{"offset":0,"timestamp":0,"order_id":null}}"#;
    let region = |orders: u64, position: &str| {
        format!(
            r#"{{"format":2,"cluster":null,"regions":[{{
            "order":{{"orders":{orders},"money":1,"last_order":null,"position":{position}}},
            "shipment":{{"shipped":0,"duplicates":0,"rejected":0,"outcomes":0,"since_skip":[0,0],
                "position":{{"begin":0,"next":0,"last":null}}}}}}]}}"#
        )
    };
    for (value, reason) in [
        (
            r#"{"format":0,"totals":[]}"#,
            "expected a snapshot of format 2, found format 0",
        ),
        (r#"{"format":1}"#, "found format 1"),
        (
            r#"{"format":2,"cluster":"other","regions":[]}"#,
            "expected a snapshot of cluster one, found one of cluster other",
        ),
        (
            r#"{"format":2,"cluster":"one","regions":[{}]}"#,
            "damaged: missing field",
        ),
        ("", "damaged: EOF"),
        (&region(2, position), "in region 0, the figures do not fit the offsets"),
        (
            &region(0, &position.replace("\"offset\":0", "\"offset\":1")),
            "do not fit",
        ),
        (
            &region(0, &position.replace("\"begin\":0", "\"begin\":2")),
            "do not fit",
        ),
        (
            &region(0, &position.replace("\"begin\":0", "\"begin\":-1")),
            "do not fit",
        ),
    ] {
        let error = read(value);
        assert!(error.contains(reason), "{error}");
    }
    let valid = region(1, position);
    assert!(
        Snapshot::from_record(valid.as_bytes(), CLUSTER).is_ok(),
        "a broker that tells no cluster"
    );
    assert!(Snapshot::from_record(br#"{"format":2,"cluster":"one","regions":[]}"#, None).is_ok());
}

#[test]
fn what_could_not_be_read_yet_stays_in_the_snapshot() {
    let mut before = three_regions();
    for region in ["0", "1"] {
        let counted = before.count_order(partition(region), 0, Some(7), &order(5).to_record());
        assert!(counted.is_ok());
    }
    let mut snapshot = snapshot_of(&before);
    // The next process reads partition 0 and not yet partition 1; partition 2 has begun, and is empty.
    let mut after = restored(&snapshot);
    after.begin(Topic::Order, partition("2"), 0);
    let counted = after.count_order(partition("0"), 1, Some(8), &order(6).to_record());
    assert!(counted.is_ok());
    snapshot.update(&after);
    let next = |region| snapshot.position(Topic::Order, partition(region)).next;
    assert_eq!([next("0"), next("1"), next("2")], [2, 1, 0]);
    // What it has begun to count anew, because the log is another one, takes the place of what was known.
    after.begin(Topic::Order, partition("1"), 5);
    let counted = after.count_order(partition("1"), 5, Some(9), &order(7).to_record());
    assert!(counted.is_ok());
    snapshot.update(&after);
    let expected = Position {
        begin: 5,
        next: 6,
        last: Some(LastRecord::new(Topic::Order, 5, Some(9), &order(7).to_record())),
    };
    assert_eq!(snapshot.position(Topic::Order, partition("1")), expected);
}

proptest! {
    #[test]
    fn counting_to_a_cut_and_the_rest_after_a_snapshot_is_counting_all(
        records in prop::collection::vec(record(), 0..60), cut in 0_usize..60,
    ) {
        let cut = cut.min(records.len());
        let (mut all, mut begun) = (three_regions(), three_regions());
        count(&mut all, &records);
        count(&mut begun, &records[..cut]);
        let record = snapshot_of(&begun).to_record();
        let snapshot = Snapshot::from_record(&record, CLUSTER).expect("own record");
        let mut gone_on = restored(&snapshot);
        // The end of a transaction is no record: without one before it, nothing has been counted.
        for region in ["0", "1", "2"] {
            let next = begun.position(Topic::Shipment, partition(region)).next;
            gone_on.read_to(Topic::Shipment, partition(region), next);
        }
        prop_assert_eq!(&gone_on, &begun);
        count(&mut gone_on, &records[cut..]);
        prop_assert_eq!(gone_on, all);
    }

    #[test]
    fn records_round_trip(records in prop::collection::vec(record(), 0..60)) {
        let mut statistics = three_regions();
        count(&mut statistics, &records);
        let snapshot = snapshot_of(&statistics);
        prop_assert_eq!(Snapshot::from_record(&snapshot.to_record(), CLUSTER), Ok(snapshot));
    }

    #[test]
    fn no_bytes_panic(value in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = Snapshot::from_record(&value, CLUSTER);
    }
}
