//! Figures that statistics would have, and the same with one thing wrong.

use domain::{Shipment, Statistics};
use serde_json::Value;

use super::*;
use crate::audit::findings::{Finding, Verdict};

/// Four orders and a record that is none in partition 0, three of them with outcomes.
fn log() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let order = |id: u64| format!(r#"{{"money":{},"order_id":"{id}","time":1,"user_id":"1"}}"#, 10 * id).into_bytes();
    let outcome = |order_offset, outcome| {
        let shipment = Shipment {
            order_id: None,
            order_offset,
            outcome,
            mark: None,
            duplicate_of: None,
            detail: None,
            packed_at: None,
            shipped_at: None,
        };
        shipment.to_record()
    };
    let orders = vec![order(1), b"{".to_vec(), order(1), order(2), order(3)];
    let shipments = vec![
        outcome(0, Outcome::Shipped),
        outcome(1, Outcome::Rejected),
        outcome(2, Outcome::Duplicate),
    ];
    (orders, shipments)
}

/// What statistics shows that began at an offset of topic `order`, and has counted so many records of it.
fn figures(begin: i64, count: usize, change: impl FnOnce(&mut Value)) -> Figures {
    let (orders, shipments) = log();
    let mut statistics = Statistics::default();
    let partition = domain::Replicas::THREE.partitions().next().expect("a partition");
    statistics.grow([partition].into_iter());
    statistics.begin(domain::Topic::Order, partition, begin);
    for (offset, value) in (0..).zip(orders).take(count) {
        let _ = statistics.count_order(partition, offset, None, &value);
    }
    for (offset, value) in (0..).zip(shipments) {
        statistics.count_shipment(partition, offset, None, &value);
    }
    let mut json = serde_json::to_value(&statistics).expect("JSON");
    change(&mut json);
    serde_json::from_value(json).expect("figures")
}

/// What the log, of which everything before an offset of topic `order` was removed, says about these figures.
fn check(figures: &Figures, low: i64) -> Finding {
    let ((orders, shipments), mut findings) = (log(), Findings::default());
    let mut fold = Fold::of(Some(figures), 0, &mut findings);
    for (offset, value) in (0..).zip(&orders).skip_while(|(offset, _)| *offset < low) {
        fold.order(&OrderRecord::new(offset, value));
    }
    for (offset, value) in (0..).zip(&shipments) {
        fold.shipment(&ShipmentRecord::new(offset, value));
    }
    fold.conclude(0, low..5, 0..3, &mut findings);
    findings.into_list().swap_remove(I8 as usize)
}

#[test]
fn figures_are_compared_at_the_offsets_that_they_name() {
    for (begin, count) in [(0, 5), (0, 3), (2, 5), (0, 0)] {
        let finding = check(&figures(begin, count, |_| {}), 0);
        assert_eq!(finding.verdict, Verdict::Holds, "{begin} {count}: {finding:?}");
    }
    assert_eq!(check(&figures(0, 5, |_| {}), 0).checked, 4);
}

#[test]
fn a_figure_that_is_not_that_of_the_log_is_named() {
    for (name, expected, wrong) in [
        ("orders", 4, 5),
        ("money", 70, 69),
        ("shipped", 1, 2),
        ("duplicates", 1, 0),
        ("rejected", 1, 0),
    ] {
        let finding = check(&figures(0, 5, |json| json["regions"][0][name] = wrong.into()), 0);
        let expected = format!("order[0]: expected as in the log before offset 5: {name} {expected}, found {wrong}");
        assert_eq!(finding.offences, 1, "{name}");
        assert_eq!(finding.offenders[0].to_string(), expected);
    }
}

#[test]
fn statistics_cannot_count_more_than_there_is() {
    let finding = check(&figures(0, 5, |json| json["offsets"]["shipment"][0] = 4.into()), 0);
    assert_eq!(finding.offences, 1, "{finding:?}");
    let expected = "shipment[0]: statistics has counted up to offset 4, expected at most 3, where the log ends";
    assert!(finding.offenders[0].to_string().starts_with(expected), "{finding:?}");
}

#[test]
fn what_was_counted_and_then_removed_is_not_compared() {
    let finding = check(&figures(0, 5, |_| {}), 2);
    assert_eq!(finding.verdict, Verdict::NotChecked, "{finding:?}");
    assert_eq!(check(&figures(2, 5, |_| {}), 2).verdict, Verdict::Holds);
    let none = check(&figures(0, 5, |json| json["regions"] = Value::Array(Vec::new())), 0);
    assert_eq!(none.remarks, ["statistics has no figures of partition 0"]);
}

#[test]
fn totals_are_sums_and_no_figure_goes_down() {
    let check = |earlier: &Figures, later: &Figures| {
        let mut findings = Findings::default();
        later.check_totals(earlier, &mut findings);
        let finding = findings.into_list().swap_remove(I8 as usize);
        finding.offenders.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let (few, many) = (figures(0, 3, |_| {}), figures(0, 5, |_| {}));
    assert_eq!(check(&few, &many), [""; 0]);
    let down = check(&many, &few);
    assert_eq!(down.len(), 2, "{down:?}");
    assert_eq!(down[0], "order[0]: orders went down from 4 to 2 while this was checked");
    let wrong = figures(0, 5, |json| json["total"]["money"] = 71.into());
    assert_eq!(
        check(&few, &wrong),
        ["in total: expected as in the regions: money 70, found 71"]
    );
}

#[test]
fn figures_have_reached_what_they_have_counted() {
    let figures = figures(0, 3, |_| {});
    assert!(figures.have_reached(0, 3, 3));
    for (partition, order, shipment) in [(0, 4, 3), (0, 3, 4), (1, 0, 0)] {
        assert!(!figures.have_reached(partition, order, shipment));
    }
}
