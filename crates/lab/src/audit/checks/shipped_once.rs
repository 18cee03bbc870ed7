//! I4: each record of `order` has exactly one outcome; of the records of one order exactly one is shipped, the others are
//! duplicates of it; only what is no order is rejected; each acknowledged order, and each key, has exactly one shipment
//! of its own.

mod classes;
mod own;

use super::super::evidence::{Evidence, Kind, Outcome, Partition};
use super::super::finding::{Finding, Invariant, Place};
use crate::terminal::thousands;

/// An order that comes so much later than others that it cannot be judged may be rejected.
const LATE_MILLIS: u64 = 5 * 60 * 1000;
/// The outcome of a record that has none.
const NONE: u32 = u32::MAX;

pub(super) fn check(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Invariant::I4);
    let mut own = own::Shipments::new(evidence.ledger.as_ref());
    for partition in &evidence.partitions {
        let outcomes = Outcomes::assign(partition, &mut finding);
        outcomes.check_each(&mut finding);
        classes::check(&outcomes, &mut finding);
        own.add(&outcomes);
    }
    own.check(&mut finding);
    if finding.checked == 0 && finding.remarks.is_empty() {
        finding.not_checked("there are no outcomes");
    }
    finding
}

/// The outcome of each record of a partition.
struct Outcomes<'a> {
    partition: &'a Partition,
    /// By the index of the record: the index of its outcome, or [`NONE`].
    of: Vec<u32>,
    /// Records before this offset may have had outcomes that retention has removed, or that an operator has set aside.
    from: i64,
    /// Records from this offset on wait for their outcome: see I10.
    until: i64,
    /// By an operator's decision, in their order: the first offset that was passed over, and the one after the last.
    passed: Vec<(i64, i64)>,
}

impl<'a> Outcomes<'a> {
    fn assign(partition: &'a Partition, finding: &mut Finding) -> Self {
        let (orders, shipments) = (&partition.orders, &partition.shipments);
        let (start, decided) = shipments.in_force();
        let first = shipments
            .outcomes
            .iter()
            .find(|outcome| outcome.kind != Kind::Unreadable);
        let removed = first
            .filter(|_| shipments.offsets.start > 0)
            .map(|outcome| outcome.order_offset);
        let mut assigned = Self {
            partition,
            of: vec![NONE; orders.records.len()],
            from: removed.into_iter().chain(decided).fold(orders.offsets.start, i64::max),
            until: orders.offsets.start,
            passed: Vec::new(),
        };
        for (index, outcome) in shipments.outcomes.iter().enumerate().skip(start) {
            assigned.take(index as u32, outcome, finding);
        }
        if shipments.outcomes.is_empty() && shipments.offsets.start > 0 {
            assigned.from = orders.offsets.end;
        }
        assigned
    }

    fn take(&mut self, index: u32, outcome: &Outcome, finding: &mut Finding) {
        let at = outcome.order_offset;
        let place = self.place(outcome);
        if outcome.kind == Kind::Unreadable {
            return finding.offence(place, || {
                "expected the outcome of an order, found something else".to_owned()
            });
        }
        if outcome.kind == Kind::Skipped {
            self.passed.push((self.until, at + 1));
            self.until = self.until.max(at + 1);
            return;
        }
        self.until = self.until.max(at.saturating_add(1));
        match self.partition.orders.index(at) {
            None if (0..self.from).contains(&at) => {}
            None => finding.offence(place, || {
                format!("an outcome of offset {at} of topic order, where no record is")
            }),
            Some(record) if self.of[record] != NONE => {
                finding.offence(place, || format!("a second outcome of offset {at} of topic order"));
            }
            Some(record) => self.of[record] = index,
        }
    }

    fn place(&self, outcome: &Outcome) -> Place {
        let partition = self.partition;
        Place::shipment(partition.number, partition.shipments.offset(outcome), outcome.order_id)
    }

    /// The place of a record.
    fn record_place(&self, index: usize) -> Place {
        let orders = &self.partition.orders;
        Place::order(
            self.partition.number,
            orders.offsets.start + index as i64,
            orders.records[index].id,
        )
    }

    /// The outcome of a record.
    fn get(&self, index: usize) -> Option<&'a Outcome> {
        self.partition.shipments.outcomes.get(self.of[index] as usize)
    }

    /// Each record with what it has.
    fn check_each(&self, finding: &mut Finding) {
        let orders = &self.partition.orders;
        let (mut newest, mut unknown) = (0, 0);
        for (offset, (index, record)) in (orders.offsets.start..).zip(orders.records.iter().enumerate()) {
            let is_late = record.id.is_some_and(|id| id.unix_millis() + LATE_MILLIS < newest);
            newest = record.id.map_or(newest, |id| newest.max(id.unix_millis()));
            match self.get(index) {
                Some(outcome) => {
                    finding.checked(1);
                    self.check_outcome(index, outcome, is_late, finding);
                }
                None if offset >= self.until || orders.is_gap(offset) => {}
                None if offset < self.from || self.is_passed(offset) => unknown += 1,
                None => finding.offence(self.record_place(index), || {
                    "expected one outcome in topic shipment, found none, though later orders have theirs".to_owned()
                }),
            }
        }
        if unknown > 0 {
            let (number, unknown) = (self.partition.number, thousands(unknown));
            finding.not_checked(format!(
                "order[{number}]: retention has removed the outcomes of {unknown} records, or an operator has passed over them"
            ));
        }
        if orders.offsets.start > 0 {
            let (number, low) = (self.partition.number, orders.offsets.start);
            finding.not_checked(format!(
                "order[{number}]: retention has removed the records before offset {low}"
            ));
        }
        if orders.incomplete_keys > 0 {
            let (number, count) = (self.partition.number, thousands(orders.incomplete_keys));
            finding.not_checked(format!(
                "order[{number}]: {count} records have a key, and not the request that it is for"
            ));
        }
    }

    fn is_passed(&self, offset: i64) -> bool {
        self.passed.iter().any(|(from, to)| (*from..*to).contains(&offset))
    }

    fn check_outcome(&self, index: usize, outcome: &Outcome, is_late: bool, finding: &mut Finding) {
        let id = self.partition.orders.records[index].id;
        if outcome.order_id != id {
            let expected = id.map_or_else(|| "no order".to_owned(), |id| format!("order {id}"));
            return finding.offence(self.place(outcome), || format!("expected the outcome of {expected}"));
        }
        let is_rejected = outcome.kind == Kind::Rejected;
        if id.is_some() && is_rejected && !is_late {
            finding.offence(self.place(outcome), || "rejected, though it is an order".to_owned());
        }
        if id.is_none() && !is_rejected {
            let found = outcome.kind.name();
            finding.offence(self.place(outcome), || {
                format!("expected rejected for what is no order, found {found}")
            });
        }
    }
}
