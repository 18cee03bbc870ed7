//! Whether an outcome is what it must be.

use std::time::Duration;

use domain::{OrderId, Outcome};

use super::{Bounds, ORDER, PartitionCheck, SHIPMENT, Sighting};
use crate::audit::findings::{Findings, Place};
use crate::audit::invariant::Invariant::{I4, I5};
use crate::audit::records::Shipped;
use crate::audit::seen::{FirstOffsets, Occurrence, Suspect};

/// So many suspects are kept: 24 MB.
const MAX_SUSPECTS: usize = 1_000_000;
/// A repository recognises the id of an order again for at least this long: an order service remembers keys for so long.
const WINDOW: Duration = Duration::from_secs(10 * 60);

impl PartitionCheck<'_> {
    /// An outcome, and the record that it is of.
    pub(super) fn judge(&mut self, sighting: &Sighting, offset: i64, shipment: Shipped) {
        self.state.judged += 1;
        let at = sighting.record.offset;
        let place = Place::record(SHIPMENT, self.bounds.partition, offset, shipment.order_id);
        let found = shipment.outcome.name();
        let Some(id) = sighting.record.id() else {
            if shipment.outcome != Outcome::Rejected || shipment.order_id.is_some() {
                self.findings.offence(I4, place, || {
                    format!("expected rejected for offset {at} of topic order, which holds no order, found {found}")
                });
            }
            return;
        };
        if shipment.order_id != Some(id) {
            self.findings.offence(I4, place, || {
                format!("expected the outcome of order {id} at offset {at} of topic order")
            });
            return;
        }
        let suspect = Suspect {
            offset: at,
            id,
            outcome: shipment.outcome,
            is_old: sighting
                .newest
                .is_some_and(|newest| id < OrderId::smallest_at(newest.time() - WINDOW)),
        };
        match sighting.occurrence {
            Occurrence::Uncertain if self.state.summary.suspects.len() < MAX_SUSPECTS => {
                self.state.summary.suspects.push(suspect);
            }
            Occurrence::Uncertain => self.state.unknown_suspects += 1,
            occurrence => judge_outcome(self.bounds, &suspect, occurrence, self.findings),
        }
    }

    /// An outcome that is not that of the next record of topic `order`.
    pub(super) fn is_not_next(&mut self, offset: i64, shipment: Shipped) {
        let Bounds {
            partition,
            order,
            shipment: outcomes,
            ..
        } = self.bounds;
        let (at, last) = (shipment.order_offset, self.state.last_outcome);
        let place = Place::record(SHIPMENT, partition, offset, shipment.order_id);
        if at >= order.high && offset >= outcomes.high {
            self.state.is_beyond = true;
        } else if let Some(sighting) = self.state.passed_over.remove(&at) {
            self.is_out_of_order(place, at);
            self.judge(&sighting, offset, shipment);
        } else if let Some(last) = last.filter(|last| at <= *last) {
            // Before the start of the log nobody knows which offsets were passed over.
            if at < order.low && at < last {
                self.is_out_of_order(place, at);
            } else {
                self.findings.offence(I4, place, || {
                    format!(
                        "expected the outcome of a later offset of topic order than {last}, found a second one of {at}"
                    )
                });
            }
        } else if at < order.low {
            self.state.unknown += 1;
        } else {
            self.findings.offence(I4, place, || {
                format!("an outcome for offset {at} of topic order, where no record is")
            });
        }
    }

    pub(super) fn is_out_of_order(&mut self, place: Place, at: i64) {
        let last = self.state.last_outcome.unwrap_or_default();
        self.findings.offence(I5, place, || {
            format!("the outcome of offset {at} of topic order comes after that of offset {last}")
        });
    }
}

/// What became of an order whose earlier occurrences are known.
fn judge_outcome(bounds: Bounds, suspect: &Suspect, occurrence: Occurrence, findings: &mut Findings) {
    let Suspect {
        offset,
        id,
        outcome,
        is_old,
    } = *suspect;
    let place = Place::record(ORDER, bounds.partition, offset, Some(id));
    match (occurrence, outcome) {
        (Occurrence::Repeated, Outcome::Shipped) => findings.offence(I4, place, || {
            "shipped a second time: an earlier record has the same id".to_owned()
        }),
        (Occurrence::Repeated, _) | (_, Outcome::Shipped | Outcome::Skipped) => {}
        (_, Outcome::Duplicate | Outcome::Rejected) if bounds.order.low > 0 => findings.not_checked(
            I4,
            format!(
                "{ORDER}[{}]: whether a {} order has come before cannot be told: retention has removed the start of the log",
                bounds.partition,
                outcome.name()
            ),
        ),
        (_, Outcome::Rejected) if is_old => findings.remark(
            I4,
            format!("{ORDER}[{}]: orders with ids older than the duplicate window were rejected", bounds.partition),
        ),
        (_, Outcome::Duplicate | Outcome::Rejected) => findings.offence(I4, place, || {
            format!("expected shipped, found {}, though no earlier record has the same id", outcome.name())
        }),
    }
}

/// Judges the suspects of a partition after its second reading.
pub(in crate::audit) fn judge_suspects(
    bounds: Bounds,
    suspects: &[Suspect],
    firsts: &FirstOffsets,
    findings: &mut Findings,
) {
    for suspect in suspects {
        judge_outcome(bounds, suspect, firsts.occurrence(suspect), findings);
    }
}
