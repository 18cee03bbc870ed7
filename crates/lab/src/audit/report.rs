//! The verdict, and what it rests on.

use std::fmt::Write as _;
use std::ops::Range;
use std::process::ExitCode;

use serde::Serialize;

use super::attempts::{Ledger, are_all_refused};
use super::evidence::{Evidence, Owner, Partition};
use super::finding::{Finding, Verdict};
use crate::ledger::Fault;
use crate::terminal::{table, thousands};

/// The result of an audit.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Held only if every invariant was checked, and the effect of every fault was seen.
    pub verdict: Verdict,
    /// Records that were read.
    records: u64,
    /// The duration of reading, in seconds.
    seconds: f64,
    /// The records that were read, by partition.
    pub partitions: Vec<PartitionSummary>,
    /// The orders of the ledgers; `None` without a ledger.
    ledgers: Option<OrderCounts>,
    /// The finding about each invariant.
    pub invariants: Vec<Finding>,
    /// Faults of the ledgers that had no effect to be seen, or did not end.
    unproved_faults: Vec<String>,
}

/// The records of a partition that were read.
#[derive(Clone, Debug, Serialize)]
pub struct PartitionSummary {
    /// Its number.
    pub partition: u16,
    /// The offsets of topic `order`.
    pub order: Range<i64>,
    /// Those of topic `shipment`, as they were when the audit began.
    pub shipment: Range<i64>,
    /// Records of topic `order`.
    pub orders: u64,
    /// Records of topic `shipment`.
    pub shipments: u64,
}

/// The orders of the ledgers, by what is known of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OrderCounts {
    /// Orders that were sent.
    pub orders: u64,
    /// An attempt was acknowledged.
    pub acknowledged: u64,
    /// All attempts were refused.
    pub refused: u64,
    /// They may be in the log.
    pub unknown: u64,
    /// Records of other users.
    pub others: u64,
}

impl OrderCounts {
    fn count(ledger: &Ledger, partitions: &[Partition]) -> Self {
        let is_other = |(_, _, owner): &(i64, _, Owner)| *owner == Owner::Stranger;
        let others = partitions.iter().flat_map(Partition::owned).filter(is_other);
        let mut counts = Self {
            others: others.count() as u64,
            ..Self::default()
        };
        for (_, attempts) in ledger.orders() {
            counts.orders += 1;
            if attempts.iter().any(|attempt| attempt.is_acknowledged()) {
                counts.acknowledged += 1;
            } else if are_all_refused(attempts) {
                counts.refused += 1;
            } else {
                counts.unknown += 1;
            }
        }
        counts
    }
}

impl PartitionSummary {
    fn new(partition: &Partition) -> Self {
        let (orders, shipments) = (&partition.orders, &partition.shipments);
        let gaps: usize = orders.gaps.iter().map(|gap| (gap.end - gap.start) as usize).sum();
        Self {
            partition: partition.number,
            order: orders.offsets.clone(),
            shipment: shipments.offsets.clone(),
            orders: (orders.records.len() - gaps) as u64,
            shipments: shipments.outcomes.len() as u64,
        }
    }
}

impl Verdict {
    /// The exit code of a command.
    pub(crate) fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Held | Self::NoOccasion => 0,
            Self::Broken => 1,
            Self::NotProved => 3,
        })
    }
}

impl Report {
    pub(super) fn new(evidence: &Evidence, invariants: Vec<Finding>, records: u64, seconds: f64) -> Self {
        let ledger = evidence.ledger.as_ref();
        let faults = ledger.iter().flat_map(|ledger| ledger.faults.iter());
        let unproved = faults.filter(|fault| fault.seen.is_none() || fault.healed.is_none());
        let name = |fault: &Fault| format!("{} of {}", fault.name, fault.subjects.join(", "));
        let unproved_faults: Vec<String> = unproved.map(name).collect();
        let has = |verdict| invariants.iter().any(|finding| finding.verdict == verdict);
        let verdict = if has(Verdict::Broken) {
            Verdict::Broken
        } else if has(Verdict::NotProved) || !unproved_faults.is_empty() {
            Verdict::NotProved
        } else {
            Verdict::Held
        };
        Self {
            verdict,
            records,
            seconds,
            partitions: evidence.partitions.iter().map(PartitionSummary::new).collect(),
            ledgers: ledger.map(|ledger| OrderCounts::count(ledger, &evidence.partitions)),
            invariants,
            unproved_faults,
        }
    }

    /// The report for people.
    pub fn render(&self) -> String {
        let mut text = self.summary();
        text.push('\n');
        text.push_str(&self.table());
        for finding in self.with(Verdict::Broken) {
            offenders(&mut text, finding);
        }
        self.remarks(&mut text);
        text.push('\n');
        text.push_str(&self.conclusion());
        text
    }

    fn with(&self, verdict: Verdict) -> impl Iterator<Item = &Finding> {
        self.invariants.iter().filter(move |finding| finding.verdict == verdict)
    }

    fn summary(&self) -> String {
        let orders = self.partitions.iter().map(|partition| partition.orders).sum();
        let shipments = self.partitions.iter().map(|partition| partition.shipments).sum();
        let mut text = format!(
            "Read {} records of topic order and {} of topic shipment, {} partitions, in {:.1} s ({} records/s).\n",
            thousands(orders),
            thousands(shipments),
            self.partitions.len(),
            self.seconds,
            thousands((self.records as f64 / self.seconds.max(1e-6)) as u64),
        );
        for partition in self.partitions.iter().filter(|partition| partition.order.start > 0) {
            let (number, start) = (partition.partition, partition.order.start);
            let _ = writeln!(
                text,
                "order[{number}] begins at offset {start}: retention has removed what was before."
            );
        }
        if let Some(ledgers) = self.ledgers {
            let [orders, acknowledged, refused, unknown, others] = [
                ledgers.orders,
                ledgers.acknowledged,
                ledgers.refused,
                ledgers.unknown,
                ledgers.others,
            ]
            .map(thousands);
            let _ = writeln!(
                text,
                "The ledgers have {orders} orders: {acknowledged} acknowledged, {refused} refused, {unknown} unknown."
            );
            if ledgers.others > 0 {
                let _ = writeln!(text, "{others} orders in the log are not of these ledgers.");
            }
        }
        text
    }

    fn table(&self) -> String {
        let rows = self.invariants.iter().map(|finding| {
            let (sign, offences) = match finding.verdict {
                Verdict::Held => ("✅", thousands(0)),
                Verdict::Broken => ("❌", thousands(finding.offences)),
                Verdict::NotProved => ("➖", "not proved".to_owned()),
                Verdict::NoOccasion => ("➖", "no occasion".to_owned()),
            };
            vec![
                sign.to_owned(),
                finding.invariant.to_string(),
                finding.name.to_owned(),
                thousands(finding.checked),
                offences,
            ]
        });
        table(&["", "", "what must be true", "checked", "offences"], rows, &[3, 4])
    }

    fn remarks(&self, text: &mut String) {
        // A remark that several invariants have in common is said once.
        let mut shared: Vec<(&String, Vec<String>)> = Vec::new();
        for finding in &self.invariants {
            for remark in &finding.remarks {
                let invariant = finding.invariant.to_string();
                match shared.iter_mut().find(|(known, _)| *known == remark) {
                    Some((_, invariants)) => invariants.push(invariant),
                    None => shared.push((remark, vec![invariant])),
                }
            }
        }
        if !shared.is_empty() {
            text.push('\n');
        }
        for (remark, invariants) in shared {
            let _ = writeln!(text, "{}: {remark}", invariants.join(", "));
        }
        for fault in &self.unproved_faults {
            let _ = writeln!(text, "{fault}: its effect was not seen, or it did not end.");
        }
    }

    /// One line.
    fn conclusion(&self) -> String {
        let names = |verdict| {
            let names: Vec<String> = self
                .with(verdict)
                .map(|finding| finding.invariant.to_string())
                .collect();
            names.join(", ")
        };
        let not_proved = names(Verdict::NotProved);
        let mut text = match self.verdict {
            Verdict::Held | Verdict::NoOccasion => "✅ Held: all of it is true.".to_owned(),
            Verdict::Broken => format!("❌ Broken: {}.", names(Verdict::Broken)),
            Verdict::NotProved => "➖ Not proved: what was checked is true.".to_owned(),
        };
        if !not_proved.is_empty() {
            let _ = write!(text, " Not checked, or not wholly: {not_proved}.");
        }
        text.push('\n');
        text
    }
}

fn offenders(text: &mut String, finding: &Finding) {
    let _ = writeln!(text, "\n❌ {} {}", finding.invariant, finding.name);
    for offender in &finding.offenders {
        let _ = writeln!(text, "   {offender}");
    }
    let more = finding.offences.saturating_sub(finding.offenders.len() as u64);
    if more > 0 {
        let _ = writeln!(text, "   and {} more", thousands(more));
    }
}
