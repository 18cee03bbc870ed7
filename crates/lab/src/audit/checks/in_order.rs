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

/// A moment in the life of an order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    /// Its first attempt; an acknowledgement at the same time may have been later.
    Sent,
    Acknowledged,
}

/// Follows the moments of a partition in the order of time.
fn check_orders(partition: &Partition, ledger: &Ledger, finding: &mut Finding) {
    let mut seen = vec![false; ledger.attempts.len()];
    let mut moments: Vec<(u64, Moment, i64)> = Vec::new();
    for (offset, _, owner) in partition.owned() {
        let Owner::Attempt(first) = owner else { continue };
        if std::mem::replace(&mut seen[first as usize], true) {
            continue;
        }
        moments.push((ledger.attempts[first as usize].at, Moment::Sent, offset));
    }
    let is_own = |attempt: &&Attempt| attempt.is_acknowledged() && u16::from(attempt.receipt) == partition.number;
    for attempt in ledger.attempts.iter().filter(is_own) {
        // I1 is about receipts that are wrong.
        let record = partition.orders.get(attempt.offset);
        if let Some(at) = attempt
            .answered()
            .filter(|_| record.is_some_and(|record| record.id == attempt.order_id))
        {
            moments.push((at, Moment::Acknowledged, attempt.offset));
        }
    }
    moments.sort_unstable();
    let mut largest = -1;
    for (_, moment, offset) in moments {
        match moment {
            Moment::Acknowledged => largest = largest.max(offset),
            Moment::Sent => {
                finding.checked(1);
                if offset < largest {
                    let id = partition.orders.get(offset).and_then(|record| record.id);
                    finding.offence(Place::order(partition.number, offset, id), || {
                        format!("expected after offset {largest}, which was acknowledged before this order was sent")
                    });
                }
            }
        }
    }
}
