//! I5: the offsets that outcomes are about strictly increase; no order stands in the log before one that was acknowledged
//! before it was first sent.

use super::super::attempts::{Attempt, Ledger};
use super::super::evidence::{Evidence, Kind, Owner, Partition};
use super::super::finding::{Finding, Invariant, Place};

pub(super) fn check(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Invariant::I5);
    for partition in &evidence.partitions {
        check_outcomes(partition, &mut finding);
        if let Some(ledger) = &evidence.ledger {
            check_orders(partition, ledger, &mut finding);
        }
    }
    if finding.checked == 0 {
        finding.not_checked("there are no outcomes");
    }
    finding
}

fn check_outcomes(partition: &Partition, finding: &mut Finding) {
    let shipments = &partition.shipments;
    let (start, _) = shipments.in_force();
    let mut last = None;
    for outcome in &shipments.outcomes[start..] {
        if outcome.kind == Kind::Unreadable {
            continue;
        }
        finding.checked(1);
        let at = outcome.order_offset;
        if let Some(last) = last.filter(|last| at <= *last) {
            let place = Place::shipment(partition.number, shipments.offset(outcome), outcome.order_id);
            finding.offence(place, || {
                format!("the outcome of offset {at} of topic order comes after that of {last}")
            });
        }
        last = last.max(Some(at));
    }
}

fn check_orders(partition: &Partition, ledger: &Ledger, finding: &mut Finding) {
    let acknowledged = acknowledged(partition, ledger);
    let mut seen = vec![false; ledger.attempts.len()];
    for (offset, record, owner) in partition.owned() {
        let Owner::Attempt(first) = owner else { continue };
        if std::mem::replace(&mut seen[first as usize], true) {
            continue;
        }
        finding.checked(1);
        let sent = ledger.attempts[first as usize].at;
        let before = acknowledged.partition_point(|(at, _)| *at < sent);
        let largest = before.checked_sub(1).map_or(-1, |last| acknowledged[last].1);
        if offset < largest {
            finding.offence(Place::order(partition.number, offset, record.id), || {
                format!("expected after offset {largest}, which was acknowledged before this order was sent")
            });
        }
    }
}

/// The times of acknowledgements, in their order, each with the largest offset that was acknowledged until then. I1 is
/// about receipts that are wrong.
fn acknowledged(partition: &Partition, ledger: &Ledger) -> Vec<(u64, i64)> {
    let is_true = |attempt: &&Attempt| {
        let is_own = attempt.is_acknowledged() && u16::from(attempt.receipt) == partition.number;
        is_own
            && partition
                .orders
                .get(attempt.offset)
                .is_some_and(|record| record.id == attempt.order_id)
    };
    let receipts = ledger.attempts.iter().filter(is_true);
    let mut times: Vec<(u64, i64)> = receipts
        .filter_map(|attempt| Some((attempt.answered()?, attempt.offset)))
        .collect();
    times.sort_unstable();
    let mut largest = -1;
    for (_, offset) in &mut times {
        largest = largest.max(*offset);
        *offset = largest;
    }
    times
}
