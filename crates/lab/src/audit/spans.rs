//! Spans of time, in Unix microseconds: when faults touch a region, and when the load itself stood still.

use std::time::Duration;

use super::attempts::{Attempt, Ledger};
use crate::drill::faults::ordinal;
use crate::ledger::Fault;

/// A region that is not touched has an acknowledgement at least this often.
pub(super) const MAX_SILENCE: Duration = Duration::from_secs(1);
/// Orders that waited come all at once: a region counts as touched for this long after it has recovered.
const SETTLING: Duration = Duration::from_secs(3);

/// Spans that do not overlap, in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Spans(Vec<(u64, u64)>);

impl FromIterator<(u64, u64)> for Spans {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(spans: I) -> Self {
        let mut sorted: Vec<_> = spans.into_iter().collect();
        sorted.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for (from, to) in sorted {
            match merged.last_mut() {
                Some((_, end)) if from <= *end => *end = to.max(*end),
                _ => merged.push((from, to)),
            }
        }
        Self(merged)
    }
}

impl Spans {
    /// When faults touch a region: from the beginning of each until the first acknowledgement after it, and a little
    /// longer; but no longer than recovery may take.
    pub(super) fn touched(ledger: &Ledger, partition: u8, acknowledged: &[u64]) -> Self {
        let faults = ledger.faults.iter().enumerate();
        let touching = faults.filter(|(_, fault)| fault.touches(partition.into()));
        let spans = touching.map(|(index, fault)| {
            let (Some(healed), Some(latest)) = (ledger.faults.healed(index), recovered_by(ledger, index)) else {
                return (fault.begun, u64::MAX);
            };
            let first = acknowledged.get(acknowledged.partition_point(|at| *at <= healed));
            let recovered = first.map_or(latest, |first| latest.min(*first));
            (fault.begun, recovered + SETTLING.as_micros() as u64)
        });
        spans.collect()
    }

    /// When a load was not alive.
    pub(super) fn stalls(ledger: &Ledger) -> Self {
        let limit = MAX_SILENCE.as_micros() as u64;
        let pairs = ledger.beats.windows(2).filter(|pair| pair[0].run == pair[1].run);
        let stalls = pairs.filter(|pair| pair[1].at.saturating_sub(pair[0].at) > limit);
        stalls.map(|pair| (pair[0].at, pair[1].at)).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These spans and others.
    pub(super) fn and(&self, others: &Self) -> Self {
        self.0.iter().chain(&others.0).copied().collect()
    }

    /// Returns `true` if a part of this time is within a span.
    pub(super) fn overlap(&self, from: u64, to: u64) -> bool {
        let next = self.0.partition_point(|(_, end)| *end < from);
        self.0.get(next).is_some_and(|(begin, _)| *begin <= to)
    }

    /// The parts of this time that are in no span.
    pub(super) fn outside(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let mut parts = Vec::new();
        let mut next = from;
        let first = self.0.partition_point(|(_, end)| *end < from);
        for (begin, end) in self.0[first..].iter().take_while(|(begin, _)| *begin < to) {
            if *begin > next {
                parts.push((next, *begin));
            }
            next = next.max(*end);
        }
        if next < to {
            parts.push((next, to));
        }
        parts
    }
}

/// When a region is acknowledged, in the order of time.
pub(super) fn acknowledgements(ledger: &Ledger, partition: u8) -> Vec<u64> {
    let of_region = |attempt: &&Attempt| attempt.partition == partition && attempt.is_acknowledged();
    let acknowledged = ledger.attempts.iter().filter(of_region);
    let mut times: Vec<u64> = acknowledged.filter_map(Attempt::answered).collect();
    times.sort_unstable();
    times
}

/// The time by which the mall has recovered from a fault and those that were under way with it; `None` if one of them does
/// not end.
fn recovered_by(ledger: &Ledger, index: usize) -> Option<u64> {
    let healed = ledger.faults.healed(index)?;
    let back = ledger.faults.group(index).map(Fault::back).max()?;
    Some(healed + back.as_micros() as u64)
}

/// The time by which work is done that begins at `from` and takes `micros`. Faults that concern the region extend it by the
/// time that recovery from them may take; `None` if one of them does not end.
pub(super) fn deadline(ledger: &Ledger, partition: u16, from: u64, micros: u64) -> Option<u64> {
    let mut deadline = from + micros;
    for (index, fault) in ledger.faults.iter().enumerate() {
        let mut ordinals = fault.subjects.iter().filter_map(|subject| ordinal(subject));
        if fault.begun > deadline || ordinals.any(|ordinal| ordinal != partition) {
            continue;
        }
        let recovered = recovered_by(ledger, index)?;
        if recovered >= from {
            deadline = deadline.max(recovered + micros);
        }
    }
    Some(deadline)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_cut_into_what_is_outside() {
        let spans: Spans = [(10, 20), (40, 50), (15, 25)].into_iter().collect();
        assert_eq!(spans.outside(0, 60), [(0, 10), (25, 40), (50, 60)]);
        assert_eq!(spans.outside(12, 22), []);
        assert_eq!(spans.outside(26, 30), [(26, 30)]);
        assert!(spans.overlap(0, 10) && spans.overlap(24, 30) && !spans.overlap(26, 39));
    }
}
