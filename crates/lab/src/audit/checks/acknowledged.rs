//! I1: for each acknowledgement the log holds, at exactly that partition and offset, the record with that id, of that
//! user and money.

use super::super::attempts::{Attempt, Ledger, asked};
use super::super::evidence::{Evidence, Record};
use super::super::finding::{Finding, Invariant, Place, needs_ledger};

pub(super) fn check(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Invariant::I1);
    let Some(ledger) = &evidence.ledger else {
        needs_ledger(&mut finding);
        return finding;
    };
    for attempt in ledger.attempts.iter().filter(|attempt| attempt.is_acknowledged()) {
        check_receipt(evidence, ledger, attempt, &mut finding);
    }
    if finding.checked == 0 {
        finding.not_checked("the ledger has no acknowledgement");
    }
    finding
}

fn check_receipt(evidence: &Evidence, ledger: &Ledger, attempt: &Attempt, finding: &mut Finding) {
    let partition = u16::from(attempt.receipt);
    let place = Place::order(partition, attempt.offset, attempt.order_id);
    let Some(log) = evidence.partition(partition) else {
        finding.checked(1);
        return finding.offence(place, || {
            "acknowledged in a partition that the mall does not have".to_owned()
        });
    };
    if (0..log.orders.offsets.start).contains(&attempt.offset) {
        return finding.not_checked(format!("order[{partition}]: retention has removed acknowledged orders"));
    }
    finding.checked(1);
    let Some(found) = log.orders.get(attempt.offset) else {
        return finding.offence(place, || "acknowledged, and not in the log".to_owned());
    };
    if found.id != attempt.order_id {
        return finding.offence(place, || {
            format!("acknowledged at this offset, which holds {}", named(found))
        });
    }
    let user = ledger.user(attempt);
    if found.user != user || asked(found.money, found.key) != attempt.asked {
        let (money, found_user) = (found.money, found.user);
        finding.offence(place, || {
            format!(
                "expected the order of user {user} with its money and key, found money {money} of user {found_user}"
            )
        });
    }
}

fn named(record: &Record) -> String {
    record
        .id
        .map_or_else(|| "no order".to_owned(), |id| format!("order {id}"))
}
