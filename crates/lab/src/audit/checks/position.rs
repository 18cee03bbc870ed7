//! I9: what repository-N would begin with is its last outcome: the record at its `order_offset` is the one that the outcome
//! speaks of, and the log goes on there. `skipped` outcomes are an operator's.

use super::super::evidence::{Evidence, Kind, Outcome, Partition};
use super::super::finding::{Finding, Invariant, Place};

pub(super) fn check(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Invariant::I9);
    for partition in &evidence.partitions {
        check_last(partition, &mut finding);
        check_skips(partition, &mut finding);
    }
    if finding.checked == 0 && finding.remarks.is_empty() {
        finding.not_checked("there are no outcomes");
    }
    finding
}

fn check_last(partition: &Partition, finding: &mut Finding) {
    let (number, shipments, orders) = (partition.number, &partition.shipments, &partition.orders);
    let Some(last) = shipments.outcomes.last() else {
        if shipments.offsets.start > 0 {
            finding.not_checked(format!("shipment[{number}]: retention has removed all outcomes"));
        }
        return;
    };
    let at = last.order_offset;
    let place = Place::shipment(number, shipments.offset(last), last.order_id);
    if (0..orders.offsets.start).contains(&at) {
        return finding.not_checked(format!(
            "order[{number}]: retention has removed the last order with an outcome"
        ));
    }
    finding.checked(1);
    match orders.get(at) {
        _ if last.kind == Kind::Unreadable => finding.offence(place, || "the last record is no outcome".to_owned()),
        None if last.kind != Kind::Skipped || at >= orders.offsets.end => {
            finding.offence(place, || {
                format!("the last outcome is of offset {at} of topic order, where no record is")
            });
        }
        Some(record) if record.id != last.order_id && !is_anonymous_skip(last) => {
            finding.offence(place, || {
                format!("the last outcome is not of the record at offset {at} of topic order")
            });
        }
        _ => {}
    }
}

/// A `skipped` outcome need not name the order.
fn is_anonymous_skip(outcome: &Outcome) -> bool {
    outcome.kind == Kind::Skipped && outcome.order_id.is_none()
}

fn check_skips(partition: &Partition, finding: &mut Finding) {
    let (number, shipments) = (partition.number, &partition.shipments);
    for (index, skip) in shipments.outcomes.iter().enumerate() {
        if skip.kind != Kind::Skipped {
            continue;
        }
        let (offset, next) = (shipments.offset(skip), skip.order_offset + 1);
        finding.not_checked(format!(
            "shipment[{number}] offset {offset}: an operator has decided to go on at offset {next}; whether an operator \
             did the logs do not say"
        ));
        let place = Place::shipment(number, offset, skip.order_id);
        let found = shipments.outcomes.get(index + 1).map(|outcome| outcome.order_offset);
        if let Some(found) = found.filter(|found| *found != next) {
            finding.offence(place, || {
                format!("decided to go on at offset {next}, the next outcome is that of {found}")
            });
        }
    }
}
