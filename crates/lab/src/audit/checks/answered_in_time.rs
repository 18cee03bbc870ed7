//! I10: each attempt is answered within the promised 6 s plus 2 s; each record has its outcome within 10 s. Faults extend
//! these times by what recovery from them may take. Attempts without an answer void the proof.

use super::super::attempts::{Attempt, Ledger};
use super::super::evidence::{Evidence, Kind, Outcome, Partition};
use super::super::finding::{Finding, Invariant, Place};
use super::super::spans::{Spans, deadline};
use crate::terminal::thousands;

/// The gateway answers within 6 s; 2 s are allowed for a machine under load.
pub(super) const ANSWER_MICROS: u64 = 8_000_000;
const OUTCOME_MICROS: u64 = 10_000_000;

pub(super) fn check(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Invariant::I10);
    for partition in &evidence.partitions {
        check_backlog(partition, &mut finding);
        if let Some(ledger) = &evidence.ledger {
            check_outcomes(partition, ledger, &mut finding);
        }
    }
    if let Some(ledger) = &evidence.ledger {
        check_answers(ledger, &mut finding);
    }
    if finding.checked == 0 {
        finding.not_checked("there are no orders");
    }
    finding
}

/// The orders at the end that had no outcome when the audit had waited for 10 s.
fn check_backlog(partition: &Partition, finding: &mut Finding) {
    let orders = &partition.orders;
    finding.checked(orders.records.len() as u64);
    let last = partition
        .shipments
        .outcomes
        .iter()
        .map(|outcome| outcome.order_offset)
        .max();
    let next = match last {
        Some(last) => last.saturating_add(1).max(orders.offsets.start),
        None if partition.shipments.offsets.start > 0 => {
            let number = partition.number;
            return finding.not_checked(format!("shipment[{number}]: retention has removed all outcomes"));
        }
        None => orders.offsets.start,
    };
    for offset in next..orders.offsets.end {
        if let Some(record) = orders.get(offset) {
            finding.offence(Place::order(partition.number, offset, record.id), || {
                "expected an outcome in topic shipment within 10 s, found none yet".to_owned()
            });
        }
    }
}

/// The time until each order was shipped, of the orders that came while the ledger was written: of others the faults are
/// not known.
fn check_outcomes(partition: &Partition, ledger: &Ledger, finding: &mut Finding) {
    let is_timed = |outcome: &&Outcome| outcome.kind == Kind::Shipped && outcome.after != Outcome::NO_TIME;
    for outcome in partition.shipments.outcomes.iter().filter(is_timed) {
        let Some(id) = outcome.order_id else { continue };
        let (at, took) = (id.unix_millis() * 1000, u64::from(outcome.after) * 100_000);
        if took <= OUTCOME_MICROS || !(ledger.begun..=ledger.ended).contains(&at) {
            continue;
        }
        if deadline(ledger, partition.number, at, OUTCOME_MICROS).is_some_and(|deadline| at + took > deadline) {
            let seconds = took / 1_000_000;
            finding.offence(
                Place::order(partition.number, outcome.order_offset, outcome.order_id),
                || format!("expected to be shipped within 10 s, found after {seconds} s"),
            );
        }
    }
}

fn check_answers(ledger: &Ledger, finding: &mut Finding) {
    let stalls = Spans::stalls(ledger);
    let mut without = 0;
    for attempt in &ledger.attempts {
        match attempt.answered() {
            None => without += 1,
            // The load itself was late to read the answer.
            Some(answered) if stalls.overlap(attempt.at, answered) => {}
            Some(answered) => {
                finding.checked(1);
                check_answer(ledger, attempt, answered, finding);
            }
        }
    }
    if without > 0 {
        let without = thousands(without);
        finding.not_checked(format!(
            "{without} attempts have no answer: what sent them was stopped meanwhile"
        ));
    }
    if !stalls.is_empty() {
        finding.not_checked("the load stood still for a while");
    }
}

fn check_answer(ledger: &Ledger, attempt: &Attempt, answered: u64, finding: &mut Finding) {
    if answered - attempt.at <= ANSWER_MICROS || is_excused(ledger, attempt.at, answered) {
        return;
    }
    let place = Place {
        order_id: attempt.order_id,
        ..Place::region(attempt.partition.into())
    };
    let (user, seconds) = (ledger.user(attempt), (answered - attempt.at) as f64 / 1e6);
    finding.offence(place, || {
        format!("user {user}: expected an answer within 8 s, found one after {seconds:.1} s")
    });
}

/// Returns `true` if the gateway was stopped, frozen or cut off: then its answers come when it is back.
fn is_excused(ledger: &Ledger, began: u64, answered: u64) -> bool {
    ledger.faults.iter().any(|fault| {
        let is_gateway = fault.subjects.is_empty() || fault.subjects.iter().any(|subject| subject == "gateway");
        let is_in_time = |healed: u64| began <= healed && answered <= healed + ANSWER_MICROS;
        is_gateway && fault.begun <= answered && fault.healed.is_none_or(is_in_time)
    })
}
