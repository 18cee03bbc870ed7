//! I7: every offset of topic `order` from its first to its end holds a record.

use super::super::evidence::Evidence;
use super::super::finding::{Finding, Invariant, Place};

pub(super) fn check(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Invariant::I7);
    for partition in &evidence.partitions {
        let orders = &partition.orders;
        finding.checked(orders.records.len() as u64);
        for gap in &orders.gaps {
            let next = gap.end;
            finding.offence(Place::order(partition.number, gap.start, None), || {
                format!("expected a record, found none before offset {next}")
            });
        }
    }
    if finding.checked == 0 {
        finding.not_checked("the log is empty");
    }
    finding
}
