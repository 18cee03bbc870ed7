//! A partition that is as it must be, and the same with one thing wrong.

mod damage;

use std::collections::HashSet;

use domain::{OrderId, Outcome};
use kafka::Watermarks;
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
            committed: Some(count),
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
