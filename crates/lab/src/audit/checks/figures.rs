//! I8: the figures equal the fold of the records in exactly the offsets that they name, reach both ends within 10 s, and
//! never go down.

use super::super::evidence::{Evidence, Kind, Partition};
use super::super::finding::{Finding, Invariant, Place};
use super::super::shown::{COUNT_TIMEOUT, have_reached};
use crate::figures::{Counts, Figures};

pub(super) fn check(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Invariant::I8);
    let (Some(before), Some(after)) = (&evidence.figures.before, &evidence.figures.after) else {
        finding.not_checked(evidence.figures.missing.clone());
        return finding;
    };
    for partition in &evidence.partitions {
        check_end(partition, before, &mut finding);
        for figures in [before, after] {
            check_fold(partition, figures, &mut finding);
        }
        check_reach(partition, after, &mut finding);
        check_growth(partition.number, before, after, &mut finding);
    }
    for figures in [before, after] {
        let sum = figures.regions.iter().copied().fold(Counts::default(), add);
        compare(sum, figures.total, Place::default(), "as in the regions", &mut finding);
    }
    finding
}

/// Compares the figures of a region with its records. Figures that count more than was read are not compared: the mall
/// is at work.
fn check_fold(partition: &Partition, figures: &Figures, finding: &mut Finding) {
    let (number, index) = (partition.number, usize::from(partition.number));
    let offset = |offsets: &[i64]| offsets.get(index).copied();
    let ends = (offset(&figures.offsets.order), offset(&figures.offsets.shipment));
    let (Some(found), (Some(order_end), Some(shipment_end))) = (figures.regions.get(index), ends) else {
        return finding.not_checked(format!("statistics has no figures of partition {number}"));
    };
    let begins = figures.begins.as_ref();
    let begin = |offsets: Option<&Vec<i64>>| offsets.and_then(|offsets| offset(offsets)).unwrap_or(0);
    let order_begin = begin(begins.map(|begins| &begins.order));
    let shipment_begin = begin(begins.map(|begins| &begins.shipment));
    let (orders, shipments) = (&partition.orders, &partition.shipments);
    if order_begin < orders.offsets.start || shipment_begin < shipments.offsets.start {
        return finding.not_checked(format!(
            "partition {number}: retention has removed records that statistics counts"
        ));
    }
    if order_end > orders.offsets.end || shipment_end > shipments.offsets.end {
        return;
    }
    let mut counts = Counts::default();
    for record in (order_begin..order_end)
        .filter_map(|offset| orders.get(offset))
        .filter(|record| record.id.is_some())
    {
        counts.orders += 1;
        counts.money += u64::from(record.money);
    }
    for outcome in &shipments.outcomes {
        if (shipment_begin..shipment_end).contains(&shipments.offset(outcome)) {
            match outcome.kind {
                Kind::Shipped => counts.shipped += 1,
                Kind::Duplicate => counts.duplicates += 1,
                Kind::Rejected => counts.rejected += 1,
                Kind::Skipped | Kind::Unreadable => {}
            }
        }
    }
    finding.checked(counts.orders);
    let of = format!("as in the log before offset {order_end}");
    compare(counts, *found, Place::region(number), &of, finding);
}

/// Records that were counted before the ends of the logs were asked for are in the logs.
fn check_end(partition: &Partition, before: &Figures, finding: &mut Finding) {
    let (orders, shipments) = (&partition.orders.offsets, &partition.shipments.offsets);
    for (topic, offsets, end) in [
        ("order", &before.offsets.order, orders.end),
        ("shipment", &before.offsets.shipment, shipments.end),
    ] {
        if let Some(counted) = offsets
            .get(usize::from(partition.number))
            .filter(|counted| **counted > end)
        {
            finding.offence(Place::region(partition.number), || {
                format!(
                    "statistics has counted up to offset {counted} of topic {topic}, expected at most {end}, where the log \
                     ends: is it the statistics of this mall (--statistics URL)?"
                )
            });
        }
    }
}

fn check_reach(partition: &Partition, after: &Figures, finding: &mut Finding) {
    if !have_reached(after, partition) {
        let (order, shipment) = (partition.orders.offsets.end, partition.shipments.offsets.end);
        let seconds = COUNT_TIMEOUT.as_secs();
        finding.offence(Place::region(partition.number), || {
            format!(
                "statistics has not counted up to offset {order} of topic order and {shipment} of topic shipment within \
                 {seconds} s: is it the statistics of this mall (--statistics URL)?"
            )
        });
    }
}

fn check_growth(number: u16, before: &Figures, after: &Figures, finding: &mut Finding) {
    let index = usize::from(number);
    let (Some(before), Some(after)) = (before.regions.get(index), after.regions.get(index)) else {
        return;
    };
    for ((name, before), (_, after)) in before.named().into_iter().zip(after.named()) {
        if after < before {
            finding.offence(Place::region(number), || {
                format!("{name} went down from {before} to {after} while this was checked")
            });
        }
    }
}

fn add(sum: Counts, region: Counts) -> Counts {
    Counts {
        orders: sum.orders.saturating_add(region.orders),
        money: sum.money.saturating_add(region.money),
        shipped: sum.shipped.saturating_add(region.shipped),
        duplicates: sum.duplicates.saturating_add(region.duplicates),
        rejected: sum.rejected.saturating_add(region.rejected),
        ..sum
    }
}

fn compare(expected: Counts, found: Counts, place: Place, of: &str, finding: &mut Finding) {
    let pairs = expected.named().into_iter().zip(found.named());
    let different: Vec<String> = pairs
        .filter(|(expected, found)| expected != found)
        .map(|((name, expected), (_, found))| format!("{name} {expected}, found {found}"))
        .collect();
    if !different.is_empty() {
        finding.offence(place, || format!("expected {of}: {}", different.join("; ")));
    }
}
