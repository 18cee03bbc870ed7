//! What a ledger says of the time that it covers: acknowledgements of each region, faults, silences, recoveries.

mod reader;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use crate::ledger;

use self::reader::Reader;
use super::faults::{Fault, LAST_ANSWER, SETTLING, Touches, ordinal};

/// What happened when. All times are Unix microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline {
    /// When the first order was sent.
    pub begun: u64,
    /// When the last one was.
    pub ended: u64,
    /// What became of the orders, by partition.
    pub regions: BTreeMap<u16, Answers>,
    /// What was done.
    pub faults: Vec<Span>,
}

/// When the orders of a region were answered, in order of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    /// Those that are in the log.
    pub acknowledged: Vec<u64>,
    /// Those that are not, and those that may be.
    pub failed: Vec<u64>,
}

/// A fault, from its beginning until its cause was taken away.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    /// As in `mall drill list`.
    pub name: String,
    /// What it was done to.
    pub subjects: Vec<String>,
    /// When it began.
    pub begun: u64,
    /// When its cause was taken away.
    pub healed: Option<u64>,
}

/// A time without an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Silence {
    /// Of which region.
    pub partition: u16,
    /// Since when.
    pub since: u64,
    /// In microseconds.
    pub micros: u64,
}

impl Timeline {
    /// Reads a ledger.
    ///
    /// # Errors
    /// When it cannot be read, or holds no order.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let mut reader = Reader::default();
        ledger::read(path, |line| {
            reader.add(line);
            Ok(())
        })?;
        anyhow::ensure!(
            reader.timeline.begun > 0,
            "{} holds no order: expected the ledger of a drill or of a load",
            path.display()
        );
        Ok(reader.timeline)
    }

    /// The faults that were under way at the same time as this one, and itself.
    pub(crate) fn group(&self, index: usize) -> impl Iterator<Item = &Span> {
        let mut members = vec![index];
        let overlap =
            |a: &Span, b: &Span| a.begun <= b.healed.unwrap_or(u64::MAX) && b.begun <= a.healed.unwrap_or(u64::MAX);
        let mut next = 0;
        while let Some(&member) = members.get(next) {
            next += 1;
            for other in 0..self.faults.len() {
                if !members.contains(&other) && overlap(&self.faults[member], &self.faults[other]) {
                    members.push(other);
                }
            }
        }
        members.into_iter().map(|member| &self.faults[member])
    }

    /// When the last cause was taken away of this fault and of those that were under way with it.
    pub(crate) fn healed(&self, index: usize) -> Option<u64> {
        let ends: Option<Vec<u64>> = self.group(index).map(|span| span.healed).collect();
        ends?.into_iter().max()
    }

    /// When every region that the fault touches had its first acknowledgement after that; `None` when one has none.
    pub(crate) fn recovered(&self, index: usize) -> Option<u64> {
        let healed = self.healed(index)?;
        let span = &self.faults[index];
        let firsts = self.regions.iter().filter(|(partition, _)| span.touches(**partition));
        let firsts = firsts.map(|(_, answers)| first_after(&answers.acknowledged, healed));
        firsts
            .collect::<Option<Vec<u64>>>()
            .map(|firsts| firsts.into_iter().max().unwrap_or(healed))
    }

    /// The longest time without an acknowledgement in which no fault touched the region.
    pub(crate) fn longest_silence(&self) -> Option<Silence> {
        let longest = self.regions.iter().filter_map(|(&partition, answers)| {
            let touched: Vec<_> = self.touched(partition).collect();
            silences(answers, self.begun, self.ended)
                .filter(|(since, until)| !touched.iter().any(|(from, to)| since < to && from < until))
                .map(|(since, until)| Silence {
                    partition,
                    since,
                    micros: until - since,
                })
                .max_by_key(|silence| silence.micros)
        });
        longest.max_by_key(|silence| silence.micros)
    }

    /// How many orders were refused, or are unknown, while no fault touched their region.
    pub(crate) fn unexplained(&self) -> usize {
        let unexplained = self.regions.iter().map(|(&partition, answers)| {
            let touched: Vec<_> = self.touched(partition).collect();
            let is_explained = |at: &u64| {
                let mut touched = touched.iter();
                touched.any(|(from, to)| (*from..=to.saturating_add(LAST_ANSWER.as_micros() as u64)).contains(at))
            };
            answers.failed.iter().filter(|at| !is_explained(at)).count()
        });
        unexplained.sum()
    }

    /// The longest time without an acknowledgement that a region had while a fault was under way or was being recovered
    /// from, in microseconds.
    pub(crate) fn silence_during(&self, index: usize, partition: u16) -> Option<u64> {
        let answers = self.regions.get(&partition)?;
        let begun = self.faults[index].begun;
        let healed = self.healed(index).unwrap_or(u64::MAX);
        let during =
            silences(answers, self.begun, self.ended).filter(|(since, until)| *since < healed && begun < *until);
        during.map(|(since, until)| until - since).max()
    }

    /// When a fault touches a region: from its beginning until the region has recovered, and a little longer.
    fn touched(&self, partition: u16) -> impl Iterator<Item = (u64, u64)> {
        let answers = &self.regions[&partition].acknowledged;
        let spans = self.faults.iter().enumerate();
        spans
            .filter(move |(_, span)| span.touches(partition))
            .map(move |(index, span)| {
                let recovered = self.healed(index).and_then(|healed| first_after(answers, healed));
                let settled = recovered.map(|recovered| recovered + SETTLING.as_micros() as u64);
                (span.begun, settled.unwrap_or(u64::MAX))
            })
    }

    /// How many orders of a region were acknowledged before a time.
    pub(crate) fn acknowledged_before(&self, partition: u16, time: u64) -> u64 {
        let times = self.regions.get(&partition);
        times.map_or(0, |answers| {
            answers.acknowledged.partition_point(|at| *at < time) as u64
        })
    }
}

impl Span {
    /// Whether it may stop the acknowledgements of a region. One that is not known may.
    pub(crate) fn touches(&self, partition: u16) -> bool {
        match Fault::named(&self.name).map(Fault::touches) {
            Some(Touches::None) => false,
            Some(Touches::Own) => self.subjects.iter().any(|subject| ordinal(subject) == Some(partition)),
            Some(Touches::All) | None => true,
        }
    }
}

fn first_after(times: &[u64], after: u64) -> Option<u64> {
    times.get(times.partition_point(|time| *time <= after)).copied()
}

/// The times between acknowledgements.
fn silences(answers: &Answers, begun: u64, ended: u64) -> impl Iterator<Item = (u64, u64)> {
    let times = || answers.acknowledged.iter().copied();
    let starts = std::iter::once(begun).chain(times());
    // What was asked last may be answered after the last was sent.
    let ends = times().chain(std::iter::once(ended));
    starts.zip(ends).filter(|(start, end)| start < end)
}
