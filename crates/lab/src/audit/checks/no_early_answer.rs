//! I11: no attempt that began 1 s after every broker was down and was answered before one was started is acknowledged as
//! newly written.

use super::super::attempts::{Answered, Attempt, Ledger};
use super::super::evidence::Evidence;
use super::super::finding::{Finding, Invariant, Place, needs_ledger};
use super::answered_in_time::ANSWER_MICROS;
use crate::ledger::Fault;

/// A broker that is gone may have answered what is still on its way.
const LAST_ANSWERS_MICROS: u64 = 1_000_000;
/// The only broker of a Compose project.
const BROKER: &str = "kafka";

pub(super) fn check(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Invariant::I11);
    let Some(ledger) = &evidence.ledger else {
        needs_ledger(&mut finding);
        return finding;
    };
    let mut is_long = false;
    for fault in ledger.faults.iter() {
        if let Some((from, to)) = outage(fault) {
            is_long |= from + ANSWER_MICROS < to;
            check_outage(ledger, fault, from..to, &mut finding);
        }
    }
    if finding.checked == 0 && is_long {
        finding.not_checked("no attempt began and was answered while no broker was there");
    } else if finding.checked == 0 {
        finding.no_occasion("no broker was down for as long as an answer may take");
    }
    finding
}

/// From when until when no broker can have answered. Which broker a pause or a cut keeps from answering, and when, cannot
/// be told from outside.
fn outage(fault: &Fault) -> Option<(u64, u64)> {
    let is_down = fault.name.starts_with("kill-") || fault.name.starts_with("stop-");
    let is_broker = fault.subjects.iter().any(|subject| subject == BROKER);
    let from = fault.seen.filter(|_| is_down && is_broker)? + LAST_ANSWERS_MICROS;
    Some((from, fault.healed.filter(|healed| *healed > from)?))
}

fn check_outage(ledger: &Ledger, fault: &Fault, span: std::ops::Range<u64>, finding: &mut Finding) {
    let is_within =
        |attempt: &&Attempt| attempt.at >= span.start && attempt.answered().is_some_and(|answered| answered < span.end);
    for attempt in ledger.attempts.iter().filter(is_within) {
        finding.checked(1);
        if attempt.answer == Answered::Acknowledged {
            let name = &fault.name;
            finding.offence(
                Place::order(attempt.receipt.into(), attempt.offset, attempt.order_id),
                || format!("acknowledged while no broker was there ({name})"),
            );
        }
    }
}
