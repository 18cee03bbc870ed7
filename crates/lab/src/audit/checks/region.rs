//! I6: the partition of a record, the ordinal in its id, the partition that was asked for and that of the receipt are one.

use super::super::evidence::{Evidence, Owner};
use super::super::finding::{Finding, Invariant, Place};

pub(super) fn check(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Invariant::I6);
    for partition in &evidence.partitions {
        let number = partition.number;
        for (offset, record, owner) in partition.owned() {
            finding.checked(1);
            let place = Place::order(number, offset, record.id);
            let ordinal = record.id.map_or(number, |id| id.ordinal());
            if ordinal != number {
                finding.offence(place, || {
                    format!("expected an order of order-{number}, found one of order-{ordinal}")
                });
            }
            if let (Some(ledger), Owner::Attempt(first)) = (&evidence.ledger, owner) {
                let asked = u16::from(ledger.attempts[first as usize].partition);
                if asked != number {
                    finding.offence(place, || {
                        format!("expected in partition {asked}, for which it was ordered")
                    });
                }
            }
        }
    }
    for attempt in evidence.ledger.iter().flat_map(|ledger| &ledger.attempts) {
        if attempt.is_acknowledged() {
            finding.checked(1);
            let (asked, receipt) = (attempt.partition, attempt.receipt);
            if asked != receipt {
                finding.offence(Place::order(receipt.into(), attempt.offset, attempt.order_id), || {
                    format!("a receipt for partition {receipt}, expected one for {asked}")
                });
            }
        }
    }
    for (partition, offsets) in &evidence.spare {
        finding.offence(Place::order(*partition, offsets.start, None), || {
            let (regions, found) = (evidence.partitions.len(), offsets.end - offsets.start);
            format!("expected no records, since the mall has {regions} regions (--replicas): found {found}")
        });
    }
    if finding.checked == 0 {
        finding.not_checked("the log is empty");
    }
    finding
}
