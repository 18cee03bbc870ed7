//! What an audit tells.

use std::fmt::Write as _;
use std::ops::Range;

use serde::Serialize;

use super::findings::{Finding, Verdict};
use super::partition::{Bounds, ORDER, Summary};
use super::promises::Orderings;
use crate::terminal::{table, thousands};

/// What an audit has found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether no invariant fails. Some may not have been checked.
    holds: bool,
    /// Records that were read.
    records: u64,
    /// How long that took.
    seconds: f64,
    /// What was read, by partition.
    partitions: Vec<PartitionSummary>,
    /// What the ledgers hold; `None` without a ledger.
    ledgers: Option<Orderings>,
    /// What was found about each invariant.
    invariants: Vec<Finding>,
}

/// What was read of a partition.
#[derive(Clone, Debug, Serialize)]
pub struct PartitionSummary {
    /// Which.
    pub partition: u16,
    /// The offsets of topic `order`.
    pub order: Range<i64>,
    /// Those of topic `shipment`, as they were when the audit began.
    pub shipment: Range<i64>,
    /// Records of topic `order`.
    pub orders: u64,
    /// Records of topic `shipment`.
    pub shipments: u64,
    /// Records of topic `order` without an outcome.
    pub waiting: u64,
}

impl PartitionSummary {
    pub(super) fn new(bounds: Bounds, summary: &Summary) -> Self {
        Self {
            partition: bounds.partition,
            order: bounds.order.low..bounds.order.high,
            shipment: bounds.shipment.low..bounds.shipment.high,
            orders: summary.orders,
            shipments: summary.shipments,
            waiting: summary.waiting,
        }
    }
}

impl Report {
    pub(super) fn new(
        partitions: Vec<PartitionSummary>,
        records: u64,
        seconds: f64,
        ledgers: Option<Orderings>,
        invariants: Vec<Finding>,
    ) -> Self {
        Self {
            holds: invariants.iter().all(|finding| finding.verdict != Verdict::Fails),
            records,
            seconds,
            partitions,
            ledgers,
            invariants,
        }
    }

    /// Whether no invariant fails. Some may not have been checked: [`Self::invariants`] says which.
    pub fn holds(&self) -> bool {
        self.holds
    }

    /// What was found about each invariant, in their order.
    pub fn invariants(&self) -> &[Finding] {
        &self.invariants
    }

    /// What was read, by partition.
    pub fn partitions(&self) -> &[PartitionSummary] {
        &self.partitions
    }

    /// What the ledgers hold; `None` without a ledger.
    pub fn ledgers(&self) -> Option<Orderings> {
        self.ledgers
    }

    /// The report for people.
    pub fn render(&self) -> String {
        let mut text = self.what_was_read();
        text.push('\n');
        text.push_str(&self.table());
        for finding in self
            .invariants
            .iter()
            .filter(|finding| finding.verdict == Verdict::Fails)
        {
            offenders(&mut text, finding);
        }
        self.remarks(&mut text);
        text.push('\n');
        text.push_str(&self.verdict());
        text
    }

    fn what_was_read(&self) -> String {
        let (orders, shipments) = self.partitions.iter().fold((0, 0), |(orders, shipments), partition| {
            (orders + partition.orders, shipments + partition.shipments)
        });
        let rate = self.records as f64 / self.seconds.max(1e-6);
        let mut text = format!(
            "Read {} records of topic order and {} of topic shipment, {} partitions, in {:.1} s ({} records/s).\n",
            thousands(orders),
            thousands(shipments),
            self.partitions.len(),
            self.seconds,
            thousands(rate as u64),
        );
        for partition in self.partitions.iter().filter(|partition| partition.order.start > 0) {
            let (number, start) = (partition.partition, partition.order.start);
            let _ = writeln!(
                text,
                "{ORDER}[{number}] begins at offset {start}: retention has removed what was before."
            );
        }
        if let Some(ledgers) = self.ledgers {
            let Orderings {
                orders,
                acknowledged,
                refused,
                unknown,
                ..
            } = ledgers;
            let [orders, acknowledged, refused, unknown] = [orders, acknowledged, refused, unknown].map(thousands);
            let _ = writeln!(
                text,
                "The ledgers have {orders} orders: {acknowledged} acknowledged, {refused} refused, {unknown} unknown."
            );
        }
        text
    }

    fn table(&self) -> String {
        let rows = self.invariants.iter().map(|finding| {
            let sign = match finding.verdict {
                Verdict::Holds => "✅",
                Verdict::Fails => "❌",
                Verdict::NotChecked => "➖",
            };
            let offences = match finding.verdict {
                Verdict::NotChecked => "not checked".to_owned(),
                _ => thousands(finding.offences),
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
        let remarks = self.invariants.iter().flat_map(|finding| {
            let remarks = finding.remarks.iter();
            remarks.map(|remark| (remark, finding.invariant.to_string()))
        });
        // What several have in common is said once.
        let mut shared: Vec<(&String, Vec<String>)> = Vec::new();
        for (remark, invariant) in remarks {
            match shared.iter_mut().find(|(known, _)| *known == remark) {
                Some((_, invariants)) => invariants.push(invariant),
                None => shared.push((remark, vec![invariant])),
            }
        }
        if !shared.is_empty() {
            text.push('\n');
        }
        for (remark, invariants) in shared {
            let _ = writeln!(text, "{}: {remark}", invariants.join(", "));
        }
    }

    /// One line.
    fn verdict(&self) -> String {
        let count = |verdict| {
            let of = self.invariants.iter().filter(move |finding| finding.verdict == verdict);
            of.map(|finding| finding.invariant.to_string()).collect::<Vec<_>>()
        };
        let (failing, not_checked) = (count(Verdict::Fails), count(Verdict::NotChecked));
        let mut text = match (failing.is_empty(), not_checked.is_empty()) {
            (true, true) => "✅ All of it is true.".to_owned(),
            (true, false) => "✅ All that was checked is true.".to_owned(),
            (false, _) => format!("❌ Not true: {}.", failing.join(", ")),
        };
        if !not_checked.is_empty() {
            let _ = write!(text, " Not checked, or not wholly: {}.", not_checked.join(", "));
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
