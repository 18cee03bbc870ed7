//! I12: in time that no fault touched, a region with orders under way is acknowledged at least every second, refuses at
//! most 2 orders for each fault and none without one, and leaves none unknown. A load that stands still or offers less
//! than 90 % of its rate voids the proof.

use super::super::attempts::{Answered, Attempt, Ledger};
use super::super::evidence::Evidence;
use super::super::finding::{Finding, Invariant, Place, needs_ledger};
use super::super::spans::{MAX_SILENCE, Spans, acknowledgements};

const REFUSALS_FOR_EACH_FAULT: usize = 2;
/// Of a hundred orders that were due, so many have to be offered.
const OFFERED_PERCENT: u64 = 90;

pub(super) fn check(evidence: &Evidence) -> Finding {
    let mut finding = Finding::new(Invariant::I12);
    let Some(ledger) = &evidence.ledger else {
        needs_ledger(&mut finding);
        return finding;
    };
    let stalls = Spans::stalls(ledger);
    let mut touched = Spans::default();
    for partition in 0..evidence.partitions.len() as u8 {
        let acknowledged = acknowledgements(ledger, partition);
        let own = Spans::touched(ledger, partition, &acknowledged);
        check_silence(ledger, partition, &acknowledged, &own.and(&stalls), &mut finding);
        check_answers(ledger, partition, &own, &mut finding);
        touched = touched.and(&own);
    }
    check_load(ledger, &touched, &stalls, &mut finding);
    if finding.checked == 0 {
        finding.not_checked("faults touched all of the time");
    }
    finding
}

/// A time between two acknowledgements, and since when an order was under way in it.
struct Gap {
    from: u64,
    to: u64,
    since: Option<u64>,
}

fn check_silence(ledger: &Ledger, partition: u8, acknowledged: &[u64], excluded: &Spans, finding: &mut Finding) {
    let limit = MAX_SILENCE.as_micros() as u64;
    let mut gaps = Vec::new();
    let mut from = ledger.begun;
    for to in acknowledged.iter().copied().chain([ledger.ended]) {
        if to > from + limit {
            gaps.push(Gap { from, to, since: None });
        }
        from = to;
    }
    let of_region = ledger.attempts.iter().filter(|attempt| attempt.partition == partition);
    // A refusal at once leaves nothing under way, and is counted below.
    for attempt in of_region.filter(|attempt| attempt.answer != Answered::Refused) {
        let end = attempt.answered().unwrap_or(u64::MAX);
        let first = gaps.partition_point(|gap| gap.to <= attempt.at);
        for gap in gaps[first..].iter_mut().take_while(|gap| gap.from < end) {
            let since = attempt.at.max(gap.from);
            gap.since = Some(gap.since.map_or(since, |earliest| earliest.min(since)));
        }
    }
    for gap in &gaps {
        let silent = gap.since.map_or_else(Vec::new, |since| excluded.outside(since, gap.to));
        if let Some((from, to)) = silent.into_iter().find(|(from, to)| to - from > limit) {
            let (seconds, at) = ((to - from) as f64 / 1e6, (from - ledger.begun) as f64 / 1e6);
            finding.offence(Place::region(partition.into()), || {
                format!("no acknowledgement for {seconds:.2} s, at {at:.1} s: expected one every second")
            });
        }
    }
}

fn check_answers(ledger: &Ledger, partition: u8, touched: &Spans, finding: &mut Finding) {
    let mut refused = Vec::new();
    for attempt in ledger.attempts.iter().filter(|attempt| attempt.partition == partition) {
        let Some(answered) = attempt.answered() else { continue };
        if touched.overlap(attempt.at, answered) {
            continue;
        }
        finding.checked(1);
        match attempt.answer {
            Answered::Refused => refused.push(attempt),
            Answered::Unknown => finding.offence(place(attempt), || {
                let at = (attempt.at - ledger.begun) as f64 / 1e6;
                format!("unknown at {at:.1} s, where no fault touched the region")
            }),
            _ => {}
        }
    }
    let (found, allowed) = (refused.len(), REFUSALS_FOR_EACH_FAULT * ledger.faults.len());
    if let Some(first) = refused.first().filter(|_| found > allowed) {
        let at = (first.at - ledger.begun) as f64 / 1e6;
        finding.offence(place(first), || {
            format!("{found} orders were refused where no fault touched the region, the first at {at:.1} s: expected at most {allowed}")
        });
    }
}

fn place(attempt: &Attempt) -> Place {
    Place {
        order_id: attempt.order_id,
        ..Place::region(attempt.partition.into())
    }
}

/// Returns `true` if the load ran all the time.
fn check_load(ledger: &Ledger, touched: &Spans, stalls: &Spans, finding: &mut Finding) {
    if ledger.beats.is_empty() {
        return finding.not_checked("the ledger does not say whether the load was alive");
    }
    if !stalls.is_empty() {
        finding.not_checked("the load stood still for a while");
    }
    let (mut due, mut sent) = (0, 0);
    for pair in ledger.beats.windows(2) {
        if pair[0].run == pair[1].run && !touched.overlap(pair[0].at, pair[1].at) {
            due += pair[1].due.saturating_sub(pair[0].due);
            sent += pair[1].sent.saturating_sub(pair[0].sent);
        }
    }
    if sent * 100 < due * OFFERED_PERCENT {
        finding.not_checked(format!(
            "the load offered {sent} of {due} orders: expected at least {OFFERED_PERCENT} %"
        ));
    }
}
