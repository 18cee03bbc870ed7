//! Each acknowledged order of a ledger, and each key, has exactly one shipment of its own.

use super::super::super::attempts::{Attempt, Ledger};
use super::super::super::evidence::{Kind, Owner};
use super::super::super::finding::{Finding, Place};
use super::Outcomes;

/// The shipments of the orders of a ledger.
pub(super) struct Shipments<'a> {
    ledger: Option<&'a Ledger>,
    /// By the index of the first attempt at the order.
    orders: Vec<Counts>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    shipped: u8,
    /// Duplicates: there is a shipment somewhere.
    duplicates: u8,
    /// A record has no outcome, or an unknown one: that is an offence of its own.
    is_open: bool,
    /// The log holds a record of it: a lost order is an offence against I1.
    is_found: bool,
}

impl<'a> Shipments<'a> {
    pub(super) fn new(ledger: Option<&'a Ledger>) -> Self {
        Self {
            ledger,
            orders: vec![Counts::default(); ledger.map_or(0, |ledger| ledger.attempts.len())],
        }
    }

    /// Adds the outcomes of a partition.
    pub(super) fn add(&mut self, outcomes: &Outcomes<'_>) {
        for (index, record) in outcomes.partition.orders.records.iter().enumerate() {
            let Owner::Attempt(first) = outcomes.partition.owner(index) else {
                continue;
            };
            let counts = &mut self.orders[first as usize];
            counts.is_found = true;
            let outcome = outcomes.get(index).filter(|outcome| outcome.order_id == record.id);
            match outcome.map(|outcome| outcome.kind) {
                Some(Kind::Shipped) => counts.shipped = counts.shipped.saturating_add(1),
                Some(Kind::Duplicate) => counts.duplicates = counts.duplicates.saturating_add(1),
                Some(_) => {}
                None => counts.is_open = true,
            }
        }
    }

    pub(super) fn check(&self, finding: &mut Finding) {
        let Some(ledger) = self.ledger else { return };
        for (first, attempts) in ledger.orders() {
            check_order(self.orders[first], attempts, finding);
        }
    }
}

fn check_order(counts: Counts, attempts: &[Attempt], finding: &mut Finding) {
    let receipt = attempts.iter().find(|attempt| attempt.is_acknowledged());
    let place = receipt.map_or_else(
        || Place::region(attempts[0].partition.into()),
        |receipt| Place::order(receipt.receipt.into(), receipt.offset, receipt.order_id),
    );
    if receipt.is_some() {
        finding.checked(1);
    }
    match counts.shipped {
        0 if counts.is_open || !counts.is_found => {}
        0 if counts.duplicates > 0 => {
            finding.offence(place, || {
                "its records are duplicates, and none of its own was shipped".to_owned()
            });
        }
        0 if receipt.is_some() => finding.offence(place, || "acknowledged, and not shipped".to_owned()),
        0 | 1 => {}
        shipped => finding.offence(place, || format!("one order of the ledger, shipped {shipped} times")),
    }
}
