//! The figures of statistics, and the same counted from the log.

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use domain::Outcome;
use serde::Deserialize;

use super::findings::{Findings, Place};
use super::invariant::Invariant::I8;
use super::records::{OrderRecord, ShipmentRecord};
use crate::{ServiceUrl, http_get};

/// How long statistics may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What `GET /api/statistics` answers, as far as it is compared with the log.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Figures {
    regions: Vec<Counts>,
    total: Counts,
    offsets: Offsets,
    begins: Offsets,
}

/// An offset for each partition.
#[derive(Clone, Debug, Deserialize)]
struct Offsets {
    order: Vec<i64>,
    shipment: Vec<i64>,
}

/// The figures of one region, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
struct Counts {
    orders: u64,
    money: u64,
    shipped: u64,
    duplicates: u64,
    rejected: u64,
}

impl Counts {
    fn named(self) -> [(&'static str, u64); 5] {
        let Self {
            orders,
            money,
            shipped,
            duplicates,
            rejected,
        } = self;
        [
            ("orders", orders),
            ("money", money),
            ("shipped", shipped),
            ("duplicates", duplicates),
            ("rejected", rejected),
        ]
    }
}

impl Figures {
    /// Asks statistics.
    ///
    /// # Errors
    /// When it does not answer in time, or with something else.
    pub(super) fn ask(url: &ServiceUrl) -> anyhow::Result<Self> {
        let path = "/api/statistics";
        let reply = http_get::get(url.authority().to_owned(), path.to_owned(), TIMEOUT)?;
        ensure!(reply.status == 200, "status {}", reply.status);
        serde_json::from_str(&reply.body).with_context(|| format!("no figures at {url}{path}"))
    }

    fn region(&self, partition: u16) -> Option<(Counts, Counted)> {
        let index = usize::from(partition);
        let range = |from: &[i64], to: &[i64]| Some(*from.get(index)?..*to.get(index)?);
        let counted = Counted {
            order: range(&self.begins.order, &self.offsets.order)?,
            shipment: range(&self.begins.shipment, &self.offsets.shipment)?,
        };
        Some((*self.regions.get(index)?, counted))
    }

    /// Whether these figures, asked for later, have got to these offsets of a partition.
    pub(super) fn have_reached(&self, partition: u16, order: i64, shipment: i64) -> bool {
        let counted = self.region(partition).map(|(_, counted)| counted);
        counted.is_some_and(|counted| counted.order.end >= order && counted.shipment.end >= shipment)
    }

    /// The sums must be those of the regions, and no figure may go down.
    pub(super) fn check_totals(&self, earlier: &Self, findings: &mut Findings) {
        let mut sum = Counts::default();
        for region in &self.regions {
            sum.orders += region.orders;
            sum.money = sum.money.saturating_add(region.money);
            sum.shipped += region.shipped;
            sum.duplicates += region.duplicates;
            sum.rejected += region.rejected;
        }
        compare(sum, self.total, findings, Place::default(), "as in the regions");
        for (partition, (now, before)) in (0..).zip(self.regions.iter().zip(&earlier.regions)) {
            for ((name, now), (_, before)) in now.named().into_iter().zip(before.named()) {
                if now < before {
                    findings.offence(I8, Place::partition("order", partition), || {
                        format!("{name} went down from {before} to {now} while this was checked")
                    });
                }
            }
        }
    }
}

fn compare(expected: Counts, found: Counts, findings: &mut Findings, place: Place, of: &str) {
    let pairs = expected.named().into_iter().zip(found.named());
    let different: Vec<String> = pairs
        .filter(|(expected, found)| expected != found)
        .map(|((name, expected), (_, found))| format!("{name} {expected}, found {found}"))
        .collect();
    if !different.is_empty() {
        findings.offence(I8, place, || format!("expected {of}: {}", different.join("; ")));
    }
}

/// The part of a partition that figures stand for.
#[derive(Clone, Debug, Default)]
struct Counted {
    order: Range<i64>,
    shipment: Range<i64>,
}

/// Counts the records that the figures stand for.
#[derive(Debug, Default)]
pub(super) struct Fold {
    figures: Counts,
    counted: Counted,
    found: Counts,
    /// Whether there are figures to compare with.
    is_wanted: bool,
}

impl Fold {
    /// For the figures of a partition.
    pub(super) fn of(figures: Option<&Figures>, partition: u16, findings: &mut Findings) -> Self {
        let Some(figures) = figures else {
            return Self::default();
        };
        let Some((figures, counted)) = figures.region(partition) else {
            findings.not_checked(I8, format!("statistics has no figures of partition {partition}"));
            return Self::default();
        };
        Self {
            figures,
            counted,
            found: Counts::default(),
            is_wanted: true,
        }
    }

    pub(super) fn order(&mut self, record: &OrderRecord) {
        if let Some(order) = record.order
            && self.counted.order.contains(&record.offset)
        {
            self.found.orders += 1;
            self.found.money = self.found.money.saturating_add(u64::from(order.money));
        }
    }

    pub(super) fn shipment(&mut self, record: &ShipmentRecord) {
        if let Some(shipment) = record.shipment
            && self.counted.shipment.contains(&record.offset)
        {
            match shipment.outcome {
                Outcome::Shipped => self.found.shipped += 1,
                Outcome::Duplicate => self.found.duplicates += 1,
                Outcome::Rejected => self.found.rejected += 1,
                Outcome::Skipped => {}
            }
        }
    }

    /// Compares, when all records of the partition have been seen: those of `order` and `shipment` in these offsets.
    pub(super) fn conclude(self, partition: u16, order: Range<i64>, shipment: Range<i64>, findings: &mut Findings) {
        if !self.is_wanted {
            return;
        }
        for (topic, counted, read) in [
            ("order", &self.counted.order, order),
            ("shipment", &self.counted.shipment, shipment),
        ] {
            if counted.end > read.end {
                findings.offence(I8, Place::partition(topic, partition), || {
                    let (counted, end) = (counted.end, read.end);
                    format!(
                        "statistics has counted up to offset {counted}, expected at most {end}, where the log ends: is it \
                         the statistics of this mall (--statistics URL)?"
                    )
                });
                return;
            }
            if counted.start < read.start {
                let (begin, low) = (counted.start, read.start);
                findings.not_checked(
                    I8,
                    format!(
                        "{topic}[{partition}]: statistics counts from offset {begin}, before {low} retention has removed \
                         the records"
                    ),
                );
                return;
            }
        }
        findings.checked(I8, self.found.orders);
        let (until, place) = (self.counted.order.end, Place::partition("order", partition));
        let of = format!("as in the log before offset {until}");
        compare(self.found, self.figures, findings, place, &of);
    }
}
