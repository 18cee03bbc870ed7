//! The records of one order: the same key and request, with times in their ids at most ten minutes apart; without a key,
//! the same bytes.

use super::super::super::evidence::{Kind, Outcome, Record};
use super::super::super::finding::Finding;
use super::Outcomes;
use crate::terminal::thousands;

const WINDOW_MILLIS: u64 = 10 * 60 * 1000;

pub(super) fn check(outcomes: &Outcomes<'_>, finding: &mut Finding) {
    let records = &outcomes.partition.orders.records;
    let mut orders: Vec<u32> = (0..records.len() as u32)
        .filter(|index| is_judged(outcomes, *index as usize))
        .collect();
    orders.sort_unstable_by_key(|index| (records[*index as usize].identity, *index));
    let mut unmarked = 0;
    for class in orders.chunk_by(|a, b| records[*a as usize].identity == records[*b as usize].identity) {
        let members = class.iter().filter_map(|index| outcomes.get(*index as usize));
        unmarked += members.filter(|outcome| outcome.mark == 0).count() as u64;
        if class.len() > 1 {
            check_class(outcomes, class, finding);
        } else {
            check_single(outcomes, class[0] as usize, finding);
        }
    }
    check_marks(outcomes, orders, finding);
    if unmarked > 0 {
        let (number, unmarked) = (outcomes.partition.number, thousands(unmarked));
        finding.not_checked(format!("shipment[{number}]: {unmarked} outcomes carry no mark"));
    }
}

/// Returns `true` for an order that was shipped or is a duplicate.
fn is_judged(outcomes: &Outcomes<'_>, index: usize) -> bool {
    let is_kind = |outcome: &Outcome| matches!(outcome.kind, Kind::Shipped | Kind::Duplicate);
    outcomes.partition.orders.records[index].id.is_some() && outcomes.get(index).is_some_and(is_kind)
}

fn check_single(outcomes: &Outcomes<'_>, index: usize, finding: &mut Finding) {
    if outcomes
        .get(index)
        .is_some_and(|outcome| outcome.kind == Kind::Duplicate)
    {
        is_duplicate_of_none(outcomes, index, finding);
    }
}

/// Follows the records of a class in the order of the log.
fn check_class(outcomes: &Outcomes<'_>, class: &[u32], finding: &mut Finding) {
    let records = &outcomes.partition.orders.records;
    let mut shipped: Vec<&Record> = Vec::new();
    let mut mark = 0;
    for index in class.iter().map(|index| *index as usize) {
        let (record, Some(outcome)) = (&records[index], outcomes.get(index)) else {
            continue;
        };
        if outcome.mark != 0 && mark != 0 && outcome.mark != mark {
            finding.offence(outcomes.place(outcome), || {
                "its mark differs from that of the same order before".to_owned()
            });
        }
        mark = if outcome.mark == 0 { mark } else { outcome.mark };
        let before = shipped
            .iter()
            .rev()
            .find(|before| is_within_window(before, record))
            .and_then(|before| before.id);
        match (outcome.kind, before) {
            (Kind::Shipped, Some(before)) => finding.offence(outcomes.record_place(index), || {
                format!("shipped a second time: it is the same order as {before}")
            }),
            (Kind::Shipped, None) => {}
            (_, Some(before)) => check_original(outcomes, index, before, finding),
            (_, None) if shipped.is_empty() => is_duplicate_of_none(outcomes, index, finding),
            // A duplicate of a duplicate: its first one is more than ten minutes older, the one between is not.
            (_, None) => {}
        }
        if outcome.kind == Kind::Shipped {
            shipped.push(record);
        }
    }
}

fn is_within_window(a: &Record, b: &Record) -> bool {
    let times = a.id.zip(b.id).map(|(a, b)| a.unix_millis().abs_diff(b.unix_millis()));
    times.is_some_and(|apart| apart <= WINDOW_MILLIS)
}

fn check_original(outcomes: &Outcomes<'_>, index: usize, before: crate::OrderId, finding: &mut Finding) {
    let named = outcomes.partition.shipments.original(outcomes.of[index] as usize);
    match named {
        Some(named) if named != before => finding.offence(outcomes.record_place(index), || {
            format!("expected a duplicate of order {before}, found one of {named}")
        }),
        Some(_) => {}
        None => {
            let number = outcomes.partition.number;
            finding.not_checked(format!(
                "shipment[{number}]: duplicates do not name the order that was shipped"
            ));
        }
    }
}

fn is_duplicate_of_none(outcomes: &Outcomes<'_>, index: usize, finding: &mut Finding) {
    // Retention may have removed the original of the duplicate.
    if outcomes.partition.orders.offsets.start > 0 || outcomes.from > outcomes.partition.orders.offsets.start {
        return;
    }
    finding.offence(outcomes.record_place(index), || {
        "expected shipped, found duplicate: it is the first".to_owned()
    });
}

/// Different orders have different marks.
fn check_marks(outcomes: &Outcomes<'_>, mut orders: Vec<u32>, finding: &mut Finding) {
    let mark = |index: &u32| outcomes.get(*index as usize).map_or(0, |outcome| outcome.mark);
    let identity = |index: u32| outcomes.partition.orders.records[index as usize].identity;
    orders.sort_unstable_by_key(|index| (mark(index), *index));
    for pair in orders.windows(2) {
        let [first, second] = [pair[0], pair[1]];
        if mark(&first) != 0 && mark(&first) == mark(&second) && identity(first) != identity(second) {
            finding.offence(outcomes.record_place(second as usize), || {
                let place = outcomes.record_place(first as usize);
                format!("has the mark of another order, {place}")
            });
        }
    }
}
