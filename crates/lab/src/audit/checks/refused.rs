//! I2: no record belongs to an order of which every attempt was refused.

use super::super::attempts::are_all_refused;
use super::super::evidence::{Evidence, Owner};
use super::super::finding::{Finding, Invariant, Place, needs_ledger};

pub(super) fn check(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Invariant::I2);
    let Some(ledger) = &evidence.ledger else {
        needs_ledger(&mut finding);
        return finding;
    };
    for partition in &evidence.partitions {
        for (offset, record, owner) in partition.owned() {
            let Owner::Attempt(first) = owner else { continue };
            finding.checked(1);
            if are_all_refused(ledger.order(first as usize)) {
                finding.offence(Place::order(partition.number, offset, record.id), || {
                    "every attempt at it was refused as not written".to_owned()
                });
            }
        }
    }
    super::ordered::check_retention(evidence, ledger, &mut finding);
    if finding.checked == 0 {
        finding.not_checked("the log holds no order of the ledger");
    }
    finding
}
