//! The figures of statistics while a drill runs.

use std::cell::RefCell;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::sleep;

use crate::ServiceUrl;
use crate::figures::{Counts, Figures};
use crate::load::now;

use super::timeline::Timeline;

/// Interval of the questions.
const INTERVAL: Duration = Duration::from_millis(250);
/// Timeout of a question. Statistics answers from memory.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Orders that were acknowledged within this may still be on their way through the mall.
pub(crate) const ON_ITS_WAY_MICROS: u64 = 1_000_000;

/// Asks statistics again and again, and keeps what they say.
#[derive(Debug)]
pub(crate) struct Watch {
    statistics: ServiceUrl,
    samples: RefCell<Vec<Sample>>,
}

/// The figures at one time.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// When, in Unix microseconds.
    pub(crate) at: u64,
    /// By partition.
    pub(crate) regions: Vec<Counts>,
}

impl Sample {
    /// Records of `order` of a partition that have an outcome.
    pub(crate) fn handled(&self, partition: u16) -> u64 {
        self.regions
            .get(usize::from(partition))
            .map_or(0, |counts| counts.handled())
    }

    /// Records of all regions that have none.
    pub(crate) fn waiting(&self) -> u64 {
        self.regions.iter().map(|counts| counts.waiting).sum()
    }
}

impl Watch {
    pub(crate) fn new(statistics: ServiceUrl) -> Self {
        Self {
            statistics,
            samples: RefCell::default(),
        }
    }

    /// Asks without an end. Statistics may be what a drill has killed: no answer is no error.
    pub(crate) async fn follow(&self) {
        loop {
            if let Ok(sample) = self.ask().await {
                self.samples.borrow_mut().push(sample);
            }
            sleep(INTERVAL).await;
        }
    }

    /// Asks once, at most for a second.
    pub(crate) async fn ask(&self) -> anyhow::Result<Sample> {
        let asked = Figures::ask(&self.statistics, TIMEOUT).await;
        let figures = asked.with_context(|| format!("statistics do not answer at {}", self.statistics))?;
        Ok(Sample {
            at: now(),
            regions: figures.regions,
        })
    }

    /// The last figures.
    pub(crate) fn latest(&self) -> Option<Sample> {
        self.samples.borrow().last().cloned()
    }

    /// All that they said.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.samples.borrow().clone()
    }
}

/// When everything was shipped and counted that had been acknowledged a second before: the first such time after
/// `after`. `before` is what statistics said before the first order.
pub(crate) fn caught_up(timeline: &Timeline, samples: &[Sample], before: &Sample, after: u64) -> Option<u64> {
    let is_caught_up = |sample: &&Sample| {
        sample.at >= after
            && timeline.regions.keys().all(|&partition| {
                let acknowledged = timeline.acknowledged_before(partition, sample.at - ON_ITS_WAY_MICROS);
                sample.handled(partition) >= before.handled(partition) + acknowledged
            })
    };
    samples.iter().find(is_caught_up).map(|sample| sample.at)
}

/// When more was shipped of a region than at the time `after`.
pub(crate) fn ships_again(samples: &[Sample], partition: u16, after: u64) -> Option<u64> {
    let next = samples.partition_point(|sample| sample.at <= after);
    let before = samples[..next].last().map_or(0, |sample| sample.handled(partition));
    let mut later = samples[next..].iter();
    later
        .find(|sample| sample.handled(partition) > before)
        .map(|sample| sample.at)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::timeline::tests::example;
    use super::*;

    fn sample(timeline: &Timeline, seconds: f64, handled: u64) -> Sample {
        let counts = Counts {
            shipped: handled,
            ..Counts::default()
        };
        Sample {
            at: timeline.begun + (seconds * 1e6) as u64,
            regions: vec![counts; 3],
        }
    }

    #[test]
    fn lag_is_what_was_acknowledged_more_than_a_second_ago() {
        let timeline = example();
        // Four a second: 16 were acknowledged before 4 s, in each region.
        let samples = [(1.0, 110), (5.0, 115), (5.1, 117), (5.2, 120)];
        let samples = samples.map(|(at, handled)| sample(&timeline, at, handled));
        let before = sample(&timeline, 0.0, 100);
        let found = |after: f64| caught_up(&timeline, &samples, &before, timeline.begun + (after * 1e6) as u64);
        assert_eq!(found(2.0), Some(samples[2].at));
        assert_eq!(found(0.0), Some(samples[0].at));
        assert_eq!(found(6.0), None);
    }

    #[test]
    fn a_repository_is_back_when_it_ships() {
        let timeline = example();
        let samples = [(1.0, 110), (2.0, 110), (3.0, 110), (4.0, 111)];
        let samples = samples.map(|(at, handled)| sample(&timeline, at, handled));
        assert_eq!(ships_again(&samples, 0, samples[1].at), Some(samples[3].at));
        assert_eq!(ships_again(&samples, 0, samples[3].at), None);
    }
}
