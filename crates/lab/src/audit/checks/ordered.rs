//! I3: each record of a ledger's user was attempted, with that money and key; an id belongs to one user; there are no more
//! records than attempts that may have written; the id that an answer names is that of its record.

use super::super::attempts::{Answered, Attempt, Ledger, are_all_refused, asked};
use super::super::evidence::{Evidence, Owner, Partition, Record};
use super::super::finding::{Finding, Invariant, Place, needs_ledger};
use crate::OrderId;

pub(super) fn check(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Invariant::I3);
    let attempts = evidence
        .ledger
        .iter()
        .flat_map(|ledger| ledger.attempts.iter().map(|attempt| (ledger.user(attempt), attempt)));
    let named: Vec<(u64, OrderId)> = attempts
        .filter(|(_, attempt)| attempt.answer == Answered::Unknown)
        .filter_map(|(user, attempt)| Some((user, attempt.order_id?)))
        .collect();
    for partition in &evidence.partitions {
        check_ids(partition, &named, &mut finding);
    }
    let Some(ledger) = &evidence.ledger else {
        needs_ledger(&mut finding);
        return finding;
    };
    let mut counts = vec![Copies::default(); ledger.attempts.len()];
    for partition in &evidence.partitions {
        for (offset, record, owner) in partition.owned() {
            let place = Place::order(partition.number, offset, record.id);
            match owner {
                Owner::Stranger => {}
                Owner::Unknown => {
                    finding.checked(1);
                    let user = record.user;
                    finding.offence(place, || format!("not ordered: user {user} is not in the ledger"));
                }
                Owner::Attempt(first) => {
                    let first = first as usize;
                    check_record(record, ledger.order(first), &mut counts[first], place, &mut finding);
                }
            }
        }
    }
    check_retention(evidence, ledger, &mut finding);
    if finding.checked == 0 {
        finding.not_checked("the log holds no order of the ledger");
    }
    finding
}

/// The records of an order so far.
#[derive(Clone, Copy, Default)]
struct Copies {
    all: u8,
    /// Attempts whose id no answer has named.
    unnamed: u8,
}

fn check_record(record: &Record, attempts: &[Attempt], copies: &mut Copies, place: Place, finding: &mut Finding) {
    finding.checked(1);
    let count = |is_counted: fn(&Attempt) -> bool| attempts.iter().filter(|attempt| is_counted(attempt)).count();
    copies.all = copies.all.saturating_add(1);
    if asked(record.money, record.key) != attempts[0].asked {
        let money = record.money;
        finding.offence(place, || {
            format!("expected the money and the key that were ordered, found money {money}")
        });
    }
    // I2 judges orders of which every attempt was refused.
    let writers = count(Attempt::may_have_written);
    if usize::from(copies.all) > writers && !are_all_refused(attempts) {
        let copies = copies.all;
        finding.offence(place, || {
            format!("its record number {copies}, though at most {writers} of the attempts can have written one")
        });
    }
    if attempts.iter().any(|attempt| attempt.order_id == record.id) {
        return;
    }
    copies.unnamed = copies.unnamed.saturating_add(1);
    let nameless = count(|attempt| attempt.may_have_written() && attempt.order_id.is_none());
    if usize::from(copies.unnamed) > nameless && writers > 0 {
        finding.offence(place, || "no answer to an attempt at it names this id".to_owned());
    }
}

/// An id belongs to one user, also one that the answer to an attempt names that may have written.
fn check_ids(partition: &Partition, named: &[(u64, OrderId)], finding: &mut Finding) {
    let records = &partition.orders.records;
    let id = |index: &u32| records[*index as usize].id;
    let mut by_id: Vec<u32> = (0..records.len() as u32).filter(|index| id(index).is_some()).collect();
    by_id.sort_by_key(id);
    let mut expect = |index: u32, user: u64| {
        if records[index as usize].user != user {
            let offset = partition.orders.offsets.start + i64::from(index);
            finding.offence(Place::order(partition.number, offset, id(&index)), || {
                format!("user {user} has an order with the same id")
            });
        }
    };
    for pair in by_id.windows(2).filter(|pair| id(&pair[0]) == id(&pair[1])) {
        expect(pair[1], records[pair[0] as usize].user);
    }
    for (user, named) in named {
        if let Ok(found) = by_id.binary_search_by_key(&Some(*named), id) {
            expect(by_id[found], *user);
        }
    }
}

/// Orders that retention has removed cannot be looked for. Ids tell their time: a partition whose first order is older
/// than the ledger still has all of it.
pub(super) fn check_retention(evidence: &Evidence, ledger: &Ledger, finding: &mut Finding) {
    for partition in &evidence.partitions {
        let first = partition.orders.records.iter().find_map(|record| record.id);
        let is_older = first.is_some_and(|id| id.unix_millis() < ledger.begun / 1000);
        let low = partition.orders.offsets.start;
        if low > 0 && !is_older {
            let number = partition.number;
            finding.not_checked(format!(
                "order[{number}]: retention has removed what was before offset {low}"
            ));
        }
    }
}
