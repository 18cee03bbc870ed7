//! The checks of one partition: topics `order` and `shipment` side by side.

mod outcomes;
mod position;

use std::collections::BTreeMap;

use domain::OrderId;
use kafka::Watermarks;

use super::figures::Fold;
use super::findings::{Findings, Place};
use super::invariant::Invariant::{I4, I5, I6, I7, I10};
use super::promises::Promises;
use super::records::{OrderRecord, ShipmentRecord};
use super::seen::{Occurrence, SeenIds, Suspect};

pub(super) use self::outcomes::judge_suspects;

pub(super) const ORDER: &str = "order";
pub(super) const SHIPMENT: &str = "shipment";
/// So many records that were passed over are kept, in case that their outcomes come after all.
const MAX_PASSED_OVER: usize = 100_000;

/// What is known of a partition before it is read. The outcomes that `shipment` bounds are of records that `order` bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) partition: u16,
    pub(super) order: Watermarks,
    pub(super) shipment: Watermarks,
    /// What group `repository` has committed.
    pub(super) committed: Option<i64>,
}

/// What was read of a partition.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) orders: u64,
    pub(super) shipments: u64,
    /// The first order that is left in the log.
    pub(super) first_id: Option<OrderId>,
    /// Orders without an outcome.
    pub(super) waiting: u64,
    /// Those whose outcomes can only be judged after a second reading.
    pub(super) suspects: Vec<Suspect>,
}

/// A record of topic `order`, and what is known of its id.
#[derive(Clone, Copy, Debug)]
struct Sighting {
    record: OrderRecord,
    occurrence: Occurrence,
    /// The largest id before it.
    newest: Option<OrderId>,
}

/// Checks a partition. It is fed by two iterators, and keeps nothing that grows with them.
#[derive(Debug)]
pub(super) struct PartitionCheck<'a> {
    pub(super) bounds: Bounds,
    pub(super) findings: &'a mut Findings,
    pub(super) promises: Option<&'a mut Promises>,
    pub(super) fold: Fold,
    pub(super) seen: SeenIds,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    summary: Summary,
    /// The offset that the next record of `order` has.
    next_order: i64,
    /// Outcomes for records of `order` before this offset are not looked for: retention has removed them.
    settled_before: i64,
    /// The largest offset of `order` that has an outcome.
    last_outcome: Option<i64>,
    /// The offset after the last record of `shipment`.
    shipment_end: i64,
    /// Records of `order` without an outcome, after which others had theirs.
    passed_over: BTreeMap<i64, Sighting>,
    /// Whether there are outcomes of records that have come since the bounds were taken.
    is_beyond: bool,
    judged: u64,
    /// Outcomes that cannot be judged because retention has removed what they are about.
    unknown: u64,
    /// Suspects for whom there was no room.
    unknown_suspects: u64,
}

impl<'a> PartitionCheck<'a> {
    pub(super) fn new(
        bounds: Bounds,
        findings: &'a mut Findings,
        promises: Option<&'a mut Promises>,
        fold: Fold,
        seen: SeenIds,
    ) -> Self {
        let state = State {
            next_order: bounds.order.low,
            shipment_end: bounds.shipment.low,
            ..State::default()
        };
        Self {
            bounds,
            findings,
            promises,
            fold,
            seen,
            state,
        }
    }

    /// Checks all records of the partition, each topic in the order of its log.
    pub(super) fn run(
        mut self,
        orders: impl Iterator<Item = OrderRecord>,
        shipments: impl Iterator<Item = ShipmentRecord>,
    ) -> Summary {
        let mut orders = orders.peekable();
        let mut is_first = true;
        for record in shipments {
            self.state.summary.shipments += 1;
            self.state.shipment_end = record.offset + 1;
            self.fold.shipment(&record);
            let place = Place::record(SHIPMENT, self.bounds.partition, record.offset, None);
            let Some(shipment) = record.shipment else {
                self.findings.offence(I4, place, || {
                    "expected the outcome of an order, found something else".to_owned()
                });
                continue;
            };
            self.check_region(SHIPMENT, record.offset, shipment.order_id);
            if std::mem::take(&mut is_first) && self.bounds.shipment.low > 0 {
                self.state.settled_before = shipment.order_offset;
            }
            if shipment.order_offset < self.bounds.order.high {
                while let Some(order) = orders.next_if(|order| order.offset < shipment.order_offset) {
                    let sighting = self.see(order);
                    self.pass_over(sighting);
                }
            }
            match orders.next_if(|order| order.offset == shipment.order_offset) {
                Some(order) => {
                    let sighting = self.see(order);
                    self.judge(&sighting, record.offset, shipment);
                }
                None => self.is_not_next(record.offset, shipment),
            }
            self.state.last_outcome = self.state.last_outcome.max(Some(shipment.order_offset));
        }
        if is_first && self.bounds.shipment.low > 0 {
            self.state.settled_before = self.bounds.committed.unwrap_or(0);
        }
        for order in orders {
            let sighting = self.see(order);
            self.wait(&sighting);
        }
        self.conclude()
    }

    /// The next record of topic `order`: what can be checked without its outcome.
    fn see(&mut self, record: OrderRecord) -> Sighting {
        let partition = self.bounds.partition;
        let expected = std::mem::replace(&mut self.state.next_order, record.offset + 1);
        if record.offset != expected {
            let place = Place::record(ORDER, partition, expected, None);
            self.findings.offence(I7, place, || {
                format!("expected a record, found the next one at offset {}", record.offset)
            });
        }
        self.state.summary.orders += 1;
        self.fold.order(&record);
        let newest = self.seen.newest();
        let mut occurrence = Occurrence::First;
        if let Some(order) = record.order {
            self.check_region(ORDER, record.offset, Some(order.id));
            occurrence = self.seen.see(order.id);
            self.state.summary.first_id.get_or_insert(order.id);
            if let Some(promises) = self.promises.as_deref_mut() {
                promises.check_record(partition, record.offset, &order, self.findings);
            }
        }
        Sighting {
            record,
            occurrence,
            newest,
        }
    }

    fn check_region(&mut self, topic: &'static str, offset: i64, id: Option<OrderId>) {
        let partition = self.bounds.partition;
        if let Some(id) = id.filter(|id| id.ordinal().get() != partition) {
            self.findings
                .offence(I6, Place::record(topic, partition, offset, Some(id)), || {
                    format!(
                        "expected an order of order-{partition}, found one of order-{}",
                        id.ordinal()
                    )
                });
        }
    }

    /// A record without an outcome, though a later one has one.
    fn pass_over(&mut self, sighting: Sighting) {
        if sighting.record.offset < self.state.settled_before {
            self.state.unknown += 1;
            return;
        }
        self.state.passed_over.insert(sighting.record.offset, sighting);
        if self.state.passed_over.len() > MAX_PASSED_OVER
            && let Some((_, sighting)) = self.state.passed_over.pop_first()
        {
            self.has_no_outcome(&sighting);
        }
    }

    fn has_no_outcome(&mut self, sighting: &Sighting) {
        let place = Place::record(
            ORDER,
            self.bounds.partition,
            sighting.record.offset,
            sighting.record.id(),
        );
        self.findings.offence(I4, place, || {
            "expected one outcome in topic shipment, found none, though later orders have theirs".to_owned()
        });
    }

    /// A record at the end without an outcome.
    fn wait(&mut self, sighting: &Sighting) {
        let offset = sighting.record.offset;
        if offset < self.state.settled_before {
            self.state.unknown += 1;
        } else if self.state.is_beyond {
            self.has_no_outcome(sighting);
        } else {
            self.state.summary.waiting += 1;
            let place = Place::record(ORDER, self.bounds.partition, offset, sighting.record.id());
            self.findings.offence(I10, place, || {
                "expected an outcome in topic shipment within 10 s, found none yet".to_owned()
            });
        }
    }

    fn conclude(mut self) -> Summary {
        for (_, sighting) in std::mem::take(&mut self.state.passed_over) {
            self.has_no_outcome(&sighting);
        }
        let Bounds {
            partition,
            order,
            shipment,
            ..
        } = self.bounds;
        if self.state.next_order < order.high {
            let next = self.state.next_order;
            self.findings
                .offence(I7, Place::record(ORDER, partition, next, None), || {
                    format!(
                        "expected a record, found none up to the end of the log at offset {}",
                        order.high
                    )
                });
        }
        self.check_committed();
        let State {
            summary,
            shipment_end,
            judged,
            unknown,
            unknown_suspects,
            ..
        } = self.state;
        let findings = self.findings;
        findings.checked(I4, judged);
        findings.checked(I5, summary.shipments);
        findings.checked(I6, summary.orders + summary.shipments);
        findings.checked(I7, summary.orders);
        findings.checked(I10, summary.orders);
        if unknown > 0 {
            let why = format!("{ORDER}[{partition}]: retention has removed {unknown} records or their outcomes");
            findings.not_checked(I4, why);
        }
        if unknown_suspects > 0 {
            let why = format!("{ORDER}[{partition}]: {unknown_suspects} ids are too far out of order to look them up");
            findings.not_checked(I4, why);
        }
        let shipment_end = shipment_end.max(shipment.high);
        self.fold
            .conclude(partition, order.low..order.high, shipment.low..shipment_end, findings);
        summary
    }
}
