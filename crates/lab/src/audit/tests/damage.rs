//! One thing that is wrong, and what is found.

use domain::Outcome;

use super::*;

/// Expects one offence, whose text contains all of these.
fn only(found: &[String], texts: &[&str]) {
    assert_eq!(found.len(), 1, "{found:#?}");
    for text in texts {
        assert!(found[0].contains(text), "{text:?} is not in {found:#?}");
    }
}

#[test]
fn an_honest_log_has_no_offences() {
    assert_eq!(Logs::six().failing(), [""; 0]);
    assert_eq!(Logs::six().not_checked(), [""; 0]);
    let poisoned = Logs::honest(&[Some(id(0)), None, Some(id(1)), Some(id(0)), None]);
    assert_eq!(poisoned.failing(), [""; 0]);
    assert_eq!(Logs::honest(&[]).failing(), [""; 0]);
}

#[test]
fn an_order_without_an_outcome_was_passed_over_or_waits() {
    let mut logs = Logs::six();
    logs.shipments.remove(2);
    only(
        &logs.failing(),
        &["I4 order[1] offset 2, order", "found none, though later"],
    );
    let mut logs = Logs::six();
    logs.bounds.committed = None;
    logs.shipments.pop();
    only(&logs.failing(), &["I10 order[1] offset 5, order", "found none yet"]);
    assert_eq!(logs.check(100).1.waiting, 1);
}

#[test]
fn a_second_outcome_is_found_whether_it_comes_at_once_or_later() {
    for (index, order_offset) in [(3, 2), (5, 1)] {
        let mut logs = Logs::six();
        let again = outcome(0, order_offset, Some(id(order_offset as u64)), Outcome::Shipped);
        logs.shipments.insert(index, again);
        only(
            &logs.failing(),
            &["I4 shipment[1]", &format!("found a second one of {order_offset}")],
        );
    }
}

#[test]
fn outcomes_in_another_order_are_all_there() {
    let mut logs = Logs::six();
    logs.shipments.swap(2, 3);
    only(
        &logs.failing(),
        &[
            "I5 shipment[1] offset 2, order",
            "offset 2 of topic order comes after that of offset 3",
        ],
    );
}

#[test]
fn an_outcome_is_that_of_its_order() {
    use Outcome::{Duplicate, Rejected, Shipped};
    for (order_offset, order_id, found, text) in [
        (1, Some(id(2)), Shipped, "expected the outcome of order"),
        (1, None, Rejected, "expected the outcome of order"),
        (1, Some(id(1)), Duplicate, "expected shipped, found duplicate"),
        (1, Some(id(1)), Rejected, "expected shipped, found rejected"),
    ] {
        let mut logs = Logs::six();
        logs.shipments[1] = outcome(1, order_offset, order_id, found);
        only(&logs.failing(), &["I4", "[1] offset 1", text]);
    }
    let mut logs = Logs::honest(&[Some(id(0)), None, Some(id(0))]);
    logs.shipments[2] = outcome(2, 2, Some(id(0)), Shipped);
    only(
        &logs.failing(),
        &["I4 order[1] offset 2, order", "shipped a second time"],
    );
    logs = Logs::honest(&[Some(id(0)), None]);
    logs.shipments[1] = outcome(1, 1, None, Shipped);
    only(
        &logs.failing(),
        &["I4 shipment[1] offset 1", "which holds no order, found shipped"],
    );
    logs = Logs::six();
    logs.shipments[1].shipment = None;
    assert_eq!(
        logs.failing().len(),
        2,
        "the record itself, and its order without an outcome"
    );
}

#[test]
fn an_outcome_needs_a_record() {
    let mut logs = Logs::six();
    logs.shipments.push(outcome(7, 6, Some(id(6)), Outcome::Shipped));
    logs.bounds.committed = None;
    only(
        &logs.failing(),
        &["I4 shipment[1] offset 7", "offset 6 of topic order, where no record is"],
    );
    // Written since the ends were looked at, of an order that was written since.
    logs.shipments[6].offset = logs.bounds.shipment.high;
    assert_eq!(logs.failing(), [""; 0]);
    // Then an order that is left behind is passed over.
    logs.shipments.remove(5);
    only(&logs.failing(), &["I4 order[1] offset 5", "found none, though later"]);
}

#[test]
fn a_gap_in_topic_order_is_named_at_its_first_offset() {
    for index in [0, 2, 5] {
        let mut logs = Logs::six();
        logs.orders.remove(index);
        logs.shipments.remove(index);
        logs.bounds.committed = None;
        only(
            &logs.failing(),
            &[&format!("I7 order[1] offset {index}: expected a record")],
        );
    }
}

#[test]
fn an_order_of_another_region_is_found_in_both_topics() {
    let mut logs = Logs::six();
    (logs.orders[3], logs.shipments[3]) = (
        order(3, id_of(2, 3)),
        outcome(4, 3, Some(id_of(2, 3)), Outcome::Shipped),
    );
    let failing = logs.failing();
    assert_eq!(failing.len(), 2, "{failing:?}");
    for (offence, place) in failing.iter().zip(["shipment[1] offset 4", "order[1] offset 3"]) {
        assert!(
            offence.starts_with(&format!("I6 {place}")) && offence.contains("found one of order-2"),
            "{failing:?}"
        );
    }
}

#[test]
fn a_repository_may_be_behind_its_outcomes_and_not_ahead_of_them() {
    for (offset, expected) in [(0, 0), (6, 0), (7, 1)] {
        let mut logs = Logs::six();
        logs.bounds.committed = Some(offset);
        let failing = logs.failing();
        assert_eq!(failing.len(), expected, "{failing:?}");
        assert!(
            failing
                .iter()
                .all(|offence| offence.starts_with("I9 order[1] offset 7")),
            "{failing:?}"
        );
    }
}

#[test]
fn what_retention_has_removed_is_not_checked() {
    let mut logs = Logs::six();
    logs.orders.drain(..2);
    logs.bounds.order.low = 2;
    assert_eq!(logs.failing(), [""; 0]);
    assert_eq!(
        logs.not_checked(),
        ["order[1]: retention has removed 2 records or their outcomes"]
    );
    let mut logs = Logs::six();
    logs.shipments.drain(..2);
    logs.bounds.shipment.low = 2;
    assert_eq!(logs.failing(), [""; 0]);
    assert_eq!(
        logs.not_checked(),
        ["order[1]: retention has removed 2 records or their outcomes"]
    );
    // Nothing is left of the outcomes: the group's offset tells what they were of.
    logs.shipments.clear();
    logs.bounds.committed = Some(4);
    assert_eq!(
        logs.failing().len(),
        2,
        "the two orders after it wait: {:?}",
        logs.failing()
    );
    assert_eq!(logs.not_checked().len(), 2, "{:?}", logs.not_checked());
    // A duplicate of what was removed.
    let mut logs = Logs::honest(&[Some(id(0)), Some(id(1)), Some(id(0))]);
    logs.orders.drain(..1);
    logs.bounds.order.low = 1;
    assert_eq!(logs.failing(), [""; 0]);
    assert!(
        logs.not_checked()
            .join(" ")
            .contains("whether a duplicate order has come before"),
        "{:?}",
        logs.not_checked()
    );
}

#[test]
fn an_order_that_is_older_than_any_duplicate_window_may_be_rejected() {
    const HOUR: u64 = 3_600_000;
    let mut logs = Logs::honest(&[Some(id(HOUR)), Some(id(0))]);
    logs.shipments[1] = outcome(1, 1, Some(id(0)), Outcome::Rejected);
    assert_eq!(logs.failing(), [""; 0]);
    let mut logs = Logs::honest(&[Some(id(1000)), Some(id(0))]);
    logs.shipments[1] = outcome(1, 1, Some(id(0)), Outcome::Rejected);
    only(
        &logs.failing(),
        &["I4 order[1] offset 1", "expected shipped, found rejected"],
    );
}

#[test]
fn an_id_that_is_no_longer_remembered_is_looked_up() {
    let mut ids: Vec<_> = (0..50).map(|number| Some(id(number))).collect();
    ids.extend([Some(id(3)), Some(id(49)), Some(id(3))]);
    let mut logs = Logs::honest(&ids);
    let (findings, summary) = logs.check(10);
    assert_eq!(summary.suspects.len(), 2);
    assert!(findings.iter().all(|finding| finding.offences == 0), "{findings:?}");
    let last = logs.shipments.last_mut().expect("outcomes");
    *last = outcome(last.offset, 52, Some(id(3)), Outcome::Shipped);
    let (findings, _) = logs.check(10);
    let offenders: Vec<_> = findings.iter().flat_map(|finding| &finding.offenders).collect();
    assert_eq!(offenders.len(), 1, "{offenders:?}");
    assert!(
        offenders[0].to_string().starts_with("order[1] offset 52"),
        "{offenders:?}"
    );
}
