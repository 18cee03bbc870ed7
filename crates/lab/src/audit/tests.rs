//! A partition that is as it must be, and the same with one thing wrong.

use std::collections::HashSet;

use domain::{OrderId, Outcome};
use kafka::{Committed, Watermarks};
use proptest::prelude::*;

use super::figures::Fold;
use super::findings::Findings;
use super::partition::{Bounds, PartitionCheck, Summary, judge_suspects};
use super::records::{OrderRecord, Ordered, ShipmentRecord, Shipped};
use super::seen::{FirstOffsets, Occurrence, SeenIds};
use super::*;

/// Ids of partition 1 in consecutive milliseconds.
fn id(number: u64) -> OrderId {
    id_of(1, number)
}

fn id_of(ordinal: u64, number: u64) -> OrderId {
    (((1_000_000 + number) << 22) | (ordinal << 12))
        .to_string()
        .parse()
        .expect("an id")
}

fn order(offset: i64, id: OrderId) -> OrderRecord {
    let order = Ordered { id, money: 1, user: 7 };
    OrderRecord {
        offset,
        order: Some(order),
    }
}

/// A record that is no order.
fn poison(offset: i64) -> OrderRecord {
    OrderRecord { offset, order: None }
}

fn outcome(offset: i64, order_offset: i64, order_id: Option<OrderId>, outcome: Outcome) -> ShipmentRecord {
    let shipment = Shipped {
        order_offset,
        order_id,
        outcome,
    };
    ShipmentRecord {
        offset,
        shipment: Some(shipment),
    }
}

/// The logs of a partition.
#[derive(Clone, Debug)]
struct Logs {
    orders: Vec<OrderRecord>,
    shipments: Vec<ShipmentRecord>,
    bounds: Bounds,
}

impl Logs {
    /// What an honest mall writes: `None` is a record that is no order. After every third outcome a transaction ends, in
    /// an offset of its own.
    fn honest(ids: &[Option<OrderId>]) -> Self {
        let (mut orders, mut shipments, mut known) = (Vec::new(), Vec::new(), HashSet::new());
        for (offset, id) in (0..).zip(ids) {
            orders.push(id.map_or_else(|| poison(offset), |id| order(offset, id)));
            let found = match id {
                None => Outcome::Rejected,
                Some(id) if known.insert(*id) => Outcome::Shipped,
                Some(_) => Outcome::Duplicate,
            };
            shipments.push(outcome(offset + offset / 3, offset, *id, found));
        }
        let count = orders.len() as i64;
        let bounds = Bounds {
            partition: 1,
            order: Watermarks { low: 0, high: count },
            shipment: Watermarks {
                low: 0,
                high: count + count / 3,
            },
            committed: Some(Committed {
                offset: count,
                decided: false,
            }),
        };
        Self {
            orders,
            shipments,
            bounds,
        }
    }

    /// Six orders.
    fn six() -> Self {
        Self::honest(&[0, 1, 2, 3, 4, 5].map(|number| Some(id(number))))
    }

    fn check(&self, remembered_ids: usize) -> (Vec<Finding>, Summary) {
        let mut findings = Findings::default();
        let seen = SeenIds::new(remembered_ids);
        let check = PartitionCheck::new(self.bounds, &mut findings, None, Fold::default(), seen);
        let summary = check.run(self.orders.iter().copied(), self.shipments.iter().copied());
        let mut firsts = FirstOffsets::of(&summary.suspects);
        self.orders.iter().for_each(|record| firsts.see(record));
        judge_suspects(self.bounds, &summary.suspects, &firsts, &mut findings);
        (findings.into_list(), summary)
    }

    /// The invariants that fail, and their offenders.
    fn failing(&self) -> Vec<String> {
        let (findings, _) = self.check(100);
        let failing = findings.iter().filter(|finding| finding.verdict == Verdict::Fails);
        let offenders = failing.flat_map(|finding| {
            let offenders = finding.offenders.iter();
            offenders.map(|offender| format!("{} {offender}", finding.invariant))
        });
        offenders.collect()
    }

    fn not_checked(&self) -> Vec<String> {
        let (findings, _) = self.check(100);
        let not_checked = findings
            .into_iter()
            .filter(|finding| finding.verdict == Verdict::NotChecked);
        not_checked.flat_map(|finding| finding.remarks).collect()
    }
}

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
    for (offset, decided, expected) in [(0, false, 0), (6, false, 0), (7, false, 1), (7, true, 0)] {
        let mut logs = Logs::six();
        logs.bounds.committed = Some(Committed { offset, decided });
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
    logs.bounds.committed = Some(Committed {
        offset: 4,
        decided: false,
    });
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

proptest! {
    #[test]
    fn any_honest_log_holds(
        numbers in prop::collection::vec(prop::option::weighted(0.9, 0_u64..60), 0..120), remembered_ids in 1_usize..80
    ) {
        let ids: Vec<_> = numbers.into_iter().map(|number| number.map(id)).collect();
        let (findings, summary) = Logs::honest(&ids).check(remembered_ids);
        prop_assert!(findings.iter().all(|finding| finding.offences == 0), "{:?}", findings);
        prop_assert_eq!(summary.orders, ids.len() as u64);
    }

    #[test]
    fn no_outcome_can_be_lost_repeated_or_moved_unseen(
        numbers in prop::collection::vec(prop::option::weighted(0.9, 0_u64..60), 2..60),
        at in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(), damage in 0..3,
    ) {
        let ids: Vec<_> = numbers.into_iter().map(|number| number.map(id)).collect();
        let mut logs = Logs::honest(&ids);
        let (from, to) = (at.index(ids.len()), to.index(ids.len()));
        prop_assume!(damage != 2 || from != to);
        match damage {
            0 => drop(logs.shipments.remove(from)),
            1 => logs.shipments.insert(to, logs.shipments[from]),
            _ => {
                let moved = logs.shipments.remove(from);
                logs.shipments.insert(to, moved);
            }
        }
        prop_assert!(!logs.failing().is_empty());
    }

    #[test]
    fn an_id_is_said_to_be_new_or_known_only_if_it_is(
        numbers in prop::collection::vec(0_u64..100, 0..300), capacity in 1_usize..50
    ) {
        let (mut seen, mut known) = (SeenIds::new(capacity), HashSet::new());
        for number in numbers {
            let is_new = known.insert(number);
            match seen.see(id(number)) {
                Occurrence::First => prop_assert!(is_new),
                Occurrence::Repeated => prop_assert!(!is_new),
                Occurrence::Uncertain => prop_assert!(known.len() > capacity),
            }
        }
    }
}
