//! The time that a ledger covers: acknowledgements of each region, faults, silences, recoveries.

mod reader;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use crate::ledger::{self, Faults};

use self::reader::Reader;

/// The events of a ledger. All times are Unix microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline {
    /// When the first order was sent.
    pub begun: u64,
    /// When the last one was.
    pub ended: u64,
    /// The answers to orders, by partition.
    pub regions: BTreeMap<u16, Answers>,
    /// The faults.
    pub faults: Faults,
}

/// When the orders of a region were answered, in order of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    /// Those that are in the log.
    pub acknowledged: Vec<u64>,
    /// Those that are not, and those that may be.
    pub failed: Vec<u64>,
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

    /// When every region that the fault touches had its first acknowledgement after that; `None` when one has none.
    pub(crate) fn recovered(&self, index: usize) -> Option<u64> {
        let healed = self.faults.healed(index)?;
        let span = &self.faults[index];
        let firsts = self.regions.iter().filter(|(partition, _)| span.touches(**partition));
        let firsts = firsts.map(|(_, answers)| first_after(&answers.acknowledged, healed));
        firsts
            .collect::<Option<Vec<u64>>>()
            .map(|firsts| firsts.into_iter().max().unwrap_or(healed))
    }

    /// The longest time without an acknowledgement that a region had while a fault was under way or was being recovered
    /// from, in microseconds.
    pub(crate) fn silence_during(&self, index: usize, partition: u16) -> Option<u64> {
        let answers = self.regions.get(&partition)?;
        let begun = self.faults[index].begun;
        let healed = self.faults.healed(index).unwrap_or(u64::MAX);
        let during =
            silences(answers, self.begun, self.ended).filter(|(since, until)| *since < healed && begun < *until);
        during.map(|(since, until)| until - since).max()
    }

    /// Returns the number of orders of a region that were acknowledged before a time.
    pub(crate) fn acknowledged_before(&self, partition: u16, time: u64) -> u64 {
        let times = self.regions.get(&partition);
        times.map_or(0, |answers| {
            answers.acknowledged.partition_point(|at| *at < time) as u64
        })
    }
}

fn first_after(times: &[u64], after: u64) -> Option<u64> {
    times.get(times.partition_point(|time| *time <= after)).copied()
}

/// The times between acknowledgements.
fn silences(answers: &Answers, begun: u64, ended: u64) -> impl Iterator<Item = (u64, u64)> {
    let times = || answers.acknowledged.iter().copied();
    let starts = std::iter::once(begun).chain(times());
    // The last answers may come after the last order was sent.
    let ends = times().chain(std::iter::once(ended));
    starts.zip(ends).filter(|(start, end)| start < end)
}
