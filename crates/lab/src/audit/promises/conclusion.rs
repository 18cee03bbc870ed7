//! What can only be known when all of the log has been seen.

use std::collections::BTreeMap;

use domain::OrderId;

use super::orders::Entry;
use super::{Left, Orderings, Promises};
use crate::audit::findings::{Findings, Place};
use crate::audit::invariant::Invariant::{I1, I2, I3, I5, I6, I10, I11};
use crate::audit::partition::ORDER;
use crate::terminal::thousands;

impl Promises {
    /// Checks what can only be known when all of the log has been seen. Returns how many orders and acknowledgements
    /// there are.
    pub(in crate::audit) fn conclude(self, left: &[Left], findings: &mut Findings) -> Orderings {
        let mut summary = Orderings {
            others: self.others,
            ..Orderings::default()
        };
        let mut lost = BTreeMap::new();
        for (user, entry) in self.orders.iter() {
            summary.count(entry);
            if entry.is_acknowledged() {
                self.check_acknowledged(user, entry, left, &mut lost, findings);
            }
            self.check_position(user, entry, findings);
        }
        self.check_shared_receipts(&lost, findings);
        self.check_answers(findings);
        findings.checked(I2, summary.refused);
        findings.checked(I3, summary.found);
        findings.checked(I11, summary.acknowledged);
        if summary.others > 0 {
            let others = thousands(summary.others);
            findings.remark(I3, format!("{others} orders in the log are not of these ledgers"));
        }
        if summary.unanswered > 0 {
            let unanswered = thousands(summary.unanswered);
            findings.remark(
                I10,
                format!("{unanswered} orders have no answer: what sent them was stopped meanwhile"),
            );
        }
        self.check_retention(left, &summary, findings);
        summary
    }

    /// An order that was acknowledged is where its receipt says, and the broker was there to have it.
    fn check_acknowledged(
        &self,
        user: u64,
        entry: &Entry,
        left: &[Left],
        lost: &mut BTreeMap<(u16, i64), (u64, OrderId)>,
        findings: &mut Findings,
    ) {
        let Some((partition, offset, id)) = entry.receipt() else {
            return;
        };
        findings.checked(I6, 1);
        let place = Place::record(ORDER, partition, offset, Some(id));
        if partition != entry.partition {
            let asked = entry.partition;
            findings.offence(I6, place, || {
                format!("a receipt for partition {partition}, expected one for {asked}")
            });
        }
        if let Some(fault) = self.faults.outage_during(entry.began(), entry.answered())
            && !entry.is_replayed()
        {
            findings.offence(I11, place, || {
                format!("acknowledged while no broker was there ({fault}): expected no acknowledgement")
            });
        }
        let is_removed = left.get(usize::from(partition)).is_some_and(|left| offset < left.low);
        if entry.is_confirmed() {
            findings.checked(I1, 1);
        } else if is_removed {
            findings.not_checked(
                I1,
                format!("{ORDER}[{partition}]: retention has removed acknowledged orders"),
            );
        } else {
            findings.checked(I1, 1);
            lost.insert((partition, offset), (user, id));
            let found = entry.first_offset();
            findings.offence(I1, place, || match found {
                Some(found) => format!("acknowledged at this offset, found at offset {found}"),
                None => "acknowledged, and not in the log".to_owned(),
            });
        }
    }

    /// Two receipts for one offset cannot both be the broker's.
    fn check_shared_receipts(&self, lost: &BTreeMap<(u16, i64), (u64, OrderId)>, findings: &mut Findings) {
        if lost.is_empty() {
            return;
        }
        for (user, entry) in self.orders.iter() {
            let Some((partition, offset, id)) = entry.receipt() else {
                continue;
            };
            if let Some((other, other_id)) = lost.get(&(partition, offset))
                && *other != user
            {
                findings.offence(I11, Place::record(ORDER, partition, offset, Some(id)), || {
                    format!("order {other_id} was acknowledged with the same offset")
                });
            }
        }
    }

    /// What was first attempted after another order had been acknowledged comes after it in the log.
    fn check_position(&self, user: u64, entry: &Entry, findings: &mut Findings) {
        let (Some(offset), Some(before)) = (entry.first_offset(), self.orders.peek(entry.after())) else {
            return;
        };
        let Some((partition, earlier, earlier_id)) = before.receipt().filter(|_| before.is_confirmed()) else {
            return;
        };
        if partition != entry.partition || entry.after() == user {
            return;
        }
        findings.checked(I5, 1);
        if offset < earlier {
            let place = Place::record(ORDER, partition, offset, entry.order_id());
            findings.offence(I5, place, || {
                format!(
                    "expected after offset {earlier}: order {earlier_id} had been acknowledged there before this one was sent"
                )
            });
        }
    }

    fn check_answers(&self, findings: &mut Findings) {
        findings.checked(I10, self.answers);
        for (user, began, answered) in &self.slow {
            if self.faults.gateway_during(*began, *answered) {
                continue;
            }
            let entry = self.orders.peek(*user);
            let place = Place {
                partition: entry.map(|entry| entry.partition),
                topic: Some(ORDER),
                order_id: entry.and_then(Entry::order_id),
                offset: None,
            };
            let seconds = (answered - began) as f64 / 1e6;
            findings.offence(I10, place, || {
                format!("user {user}: expected an answer within 8 s, found one after {seconds:.1} s")
            });
        }
        for _ in 0..self.more_slow {
            findings.offence(I10, Place::default(), String::new);
        }
    }

    /// Orders that retention has removed cannot be looked for. Ids tell their time: a partition whose first order is
    /// older than the first run still has all of it.
    fn check_retention(&self, left: &[Left], summary: &Orderings, findings: &mut Findings) {
        let begun = self.begun.unwrap_or_default() / 1000;
        for (partition, left) in left.iter().enumerate() {
            let is_whole = left.first_id.is_some_and(|id| id.time().unix_millis() < begun);
            if left.low == 0 || is_whole {
                continue;
            }
            let why = format!(
                "{ORDER}[{partition}]: retention has removed what was before offset {}",
                left.low
            );
            if summary.refused > 0 {
                findings.not_checked(I2, why.clone());
            }
            findings.not_checked(I3, why);
        }
    }
}
