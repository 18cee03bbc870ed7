//! What a ledger says of the time that it covers: acknowledgements of each region, faults, silences, recoveries.

mod reader;

use std::collections::BTreeMap;
use std::path::Path;

use crate::ledger;

use self::reader::Reader;
use super::faults::{Fault, SETTLING, Touches, ordinal};

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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::ledger::{Answer, Line, Phase};

    const SECOND: u64 = 1_000_000;
    const BEGIN: u64 = 1_790_000_000 * SECOND;

    /// 30 s of three regions, each with four orders a second. Region 1 is refused from 5 s to 10 s, because of a fault
    /// that is over after 9 s; region 2 is silent from 20 s to 22 s, without a fault.
    pub(crate) fn example() -> Timeline {
        let mut reader = Reader::default();
        let fault = |reader: &mut Reader, second, phase| {
            reader.add(Line::Fault {
                at: BEGIN + second * SECOND,
                name: "kill-order".to_owned(),
                subjects: vec!["order-1".to_owned()],
                phase,
            });
        };
        for tick in 0..120 {
            let at = BEGIN + tick * SECOND / 4;
            match tick {
                20 => fault(&mut reader, 5, Phase::Begun),
                36 => fault(&mut reader, 9, Phase::Healed),
                _ => {}
            }
            for partition in 0..3 {
                let order = tick * 3 + u64::from(partition);
                let money = "5".parse().expect("money");
                reader.add(Line::Attempt {
                    at,
                    order,
                    partition,
                    money,
                });
                let is_refused = partition == 1 && (20..40).contains(&tick);
                let answer = if is_refused {
                    Answer::Refused { status: Some(503) }
                } else {
                    Answer::Acknowledged {
                        order_id: "1468136426238382080".parse().expect("an id"),
                        partition,
                        offset: 1,
                        replayed: false,
                    }
                };
                if partition != 2 || !(80..88).contains(&tick) {
                    let at = at + 1000;
                    reader.add(Line::Answer { at, order, answer });
                }
            }
        }
        reader.timeline
    }

    #[test]
    fn recovery_is_the_first_acknowledgement_after_the_cause_is_gone() {
        let timeline = example();
        assert_eq!(timeline.faults.len(), 1);
        assert_eq!(timeline.healed(0), Some(BEGIN + 9 * SECOND));
        assert_eq!(timeline.recovered(0), Some(BEGIN + 10 * SECOND + 1000));
    }

    #[test]
    fn a_silence_counts_where_no_fault_touches() {
        let mut timeline = example();
        let silence = |partition, second, micros| {
            Some(Silence {
                partition,
                since: BEGIN + second * SECOND - SECOND / 4 + 1000,
                micros,
            })
        };
        assert_eq!(timeline.longest_silence(), silence(2, 20, 2 * SECOND + SECOND / 4));
        // If it was done to another, region 1 should not have noticed.
        timeline.faults[0].subjects = vec!["order-0".to_owned()];
        assert_eq!(timeline.longest_silence(), silence(1, 5, 5 * SECOND + SECOND / 4));
    }

    #[test]
    fn a_fault_has_its_silence_in_each_region() {
        let timeline = example();
        let silences = [0, 1, 2, 3].map(|partition| timeline.silence_during(0, partition));
        let quarter = SECOND / 4;
        assert_eq!(
            silences,
            [Some(quarter), Some(5 * SECOND + quarter), Some(quarter), None]
        );
    }

    #[test]
    fn a_silence_just_after_a_recovery_is_the_fault_s() {
        let mut timeline = example();
        timeline.faults[0].name = "stop-kafka".to_owned();
        timeline.faults[0].healed = Some(BEGIN + 19 * SECOND);
        let longest = timeline.longest_silence().expect("a silence");
        assert_eq!(longest.micros, SECOND / 4);
        timeline.faults[0].healed = Some(BEGIN + 12 * SECOND);
        let longest = timeline.longest_silence().expect("a silence");
        assert_eq!((longest.partition, longest.micros), (2, 2 * SECOND + SECOND / 4));
    }

    #[test]
    fn faults_at_the_same_time_are_over_together() {
        let mut timeline = example();
        let mut other = timeline.faults[0].clone();
        other.begun += 2 * SECOND;
        other.healed = Some(BEGIN + 12 * SECOND);
        timeline.faults.push(other);
        assert_eq!(timeline.healed(0), Some(BEGIN + 12 * SECOND));
        timeline.faults[1].healed = None;
        assert_eq!((timeline.healed(0), timeline.recovered(0)), (None, None));
        timeline.faults[1].begun = BEGIN + 20 * SECOND;
        assert_eq!(timeline.healed(0), Some(BEGIN + 9 * SECOND));
    }
}
