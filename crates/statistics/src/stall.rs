//! Notices a client that no longer reads although there are records: a pure machine that is told what happens.

use std::time::{Duration, Instant};

/// A client from which nothing comes for this long, while there are records and a broker answers, has given up: see
/// [`kafka::RENEWAL`]. Longer than a client that is well needs after an outage, which is a second and a half.
const PATIENCE: Duration = Duration::from_secs(4);

/// Notices a client that no longer reads although there are records.
#[derive(Debug, Default)]
pub(crate) struct StallDetector {
    /// Since when records have been waited for.
    waiting: Option<Instant>,
}

impl StallDetector {
    /// A record came, or the end of a partition; or no broker answers, and it is not the client's fault that none comes.
    pub(crate) fn reset(&mut self) {
        self.waiting = None;
    }

    /// A broker has said where partitions end, and so whether there are records that have not come. Returns whether the
    /// client is to be replaced; the next one has as much time.
    pub(crate) fn is_stalled(&mut self, is_behind: bool, now: Instant) -> bool {
        self.waiting = is_behind.then(|| self.waiting.unwrap_or(now));
        let stalled = self.waiting.is_some_and(|since| now - since >= PATIENCE);
        if stalled {
            self.waiting = None;
        }
        stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found when it is asked every second, with something between the questions.
    fn asked(seconds: u32, mut between: impl FnMut(&mut StallDetector, u32)) -> Vec<u32> {
        let (begin, mut detector) = (Instant::now(), StallDetector::default());
        let mut stalled = Vec::new();
        for second in 0..seconds {
            if detector.is_stalled(true, begin + Duration::from_secs(u64::from(second))) {
                stalled.push(second);
            }
            between(&mut detector, second);
        }
        stalled
    }

    #[test]
    fn a_client_from_which_nothing_comes_is_stalled_and_the_next_one_has_as_much_time() {
        assert_eq!(asked(10, |_, _| {}), [4, 9]);
    }

    #[test]
    fn what_comes_now_and_then_is_no_stall_nor_is_an_outage() {
        let came = |detector: &mut StallDetector, second: u32| {
            if second.is_multiple_of(3) {
                detector.reset();
            }
        };
        assert!(asked(10, came).is_empty());
        let outage = |detector: &mut StallDetector, second: u32| {
            if second == 3 {
                detector.reset();
            }
        };
        assert_eq!(asked(9, outage), [8]);
    }

    #[test]
    fn without_records_nothing_is_waited_for() {
        let (begin, mut detector) = (Instant::now(), StallDetector::default());
        assert!(!detector.is_stalled(true, begin));
        assert!(!detector.is_stalled(false, begin + PATIENCE));
        assert!(!detector.is_stalled(true, begin + PATIENCE));
    }
}
