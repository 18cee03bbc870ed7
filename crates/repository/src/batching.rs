//! When a batch is complete: a pure function of what has come and when.

use std::time::{Duration, Instant};

/// Timeout of one poll while there is no record. The stop signal is read between two polls.
const POLL: Duration = Duration::from_millis(100);
/// Transactions take at most a fifth of the time: after one that took 20 ms, the next batch gathers for 100 ms. A
/// transaction costs milliseconds of processor time, here and at the broker, however few orders it holds.
const GATHER_FACTOR: u32 = 5;
/// The longest time for which a batch gathers.
const MAX_INTERVAL: Duration = Duration::from_millis(200);

/// Decides what to do next on the way to a batch.
#[derive(Debug)]
pub(crate) struct Batching {
    /// The most records in a batch.
    limit: usize,
    /// The least time between two batches that are not full.
    min_interval: Duration,
    /// A batch that is not full is complete from here on.
    ripe: Instant,
    /// The consumer had no further record at the last look.
    drained: bool,
    /// The offset of the next record.
    position: i64,
    /// The end of the log, as far as it is known: until there, more is certain to come.
    end: i64,
}

/// The next step on the way to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Ask the consumer, and wait this long for an answer.
    Poll(Duration),
    /// Do nothing for this long: each record that comes would wake a poll.
    Sleep(Duration),
    /// The batch is complete.
    Ship,
}

impl Batching {
    /// Begins at `position`; the log is known to reach to `end`.
    pub(crate) fn new(limit: usize, min_interval: Duration, position: i64, end: i64, now: Instant) -> Self {
        Self {
            limit,
            min_interval,
            ripe: now,
            drained: false,
            position,
            end,
        }
    }

    /// Returns the next step, with this many records in the batch.
    pub(crate) fn next(&mut self, gathered: usize, now: Instant) -> Next {
        if gathered == 0 {
            return Next::Poll(POLL);
        }
        if gathered >= self.limit {
            return Next::Ship;
        }
        if !self.drained {
            return Next::Poll(Duration::ZERO);
        }
        let Some(rest) = self.ripe.checked_duration_since(now).filter(|rest| !rest.is_zero()) else {
            return Next::Ship;
        };
        if self.position < self.end {
            return Next::Poll(rest);
        }
        self.drained = false;
        Next::Sleep(rest)
    }

    /// A record has come.
    pub(crate) fn record(&mut self, offset: i64) {
        self.position = offset + 1;
        self.drained = false;
    }

    /// The records from this offset on come again.
    pub(crate) fn read_again(&mut self, position: i64) {
        self.position = position;
        self.drained = false;
    }

    /// The consumer has no record at the moment.
    pub(crate) fn idle(&mut self) {
        self.drained = true;
    }

    /// Everything in the log has been read.
    pub(crate) fn end(&mut self) {
        self.drained = true;
        self.end = self.position;
    }

    /// The broker says where the log ends.
    pub(crate) fn log_end(&mut self, end: i64) {
        self.end = end;
    }

    /// A transaction took this long.
    pub(crate) fn shipped(&mut self, took: Duration, now: Instant) {
        let interval = self.min_interval.max((GATHER_FACTOR * took).min(MAX_INTERVAL));
        self.ripe = now + interval;
    }

    /// The records that are known to have no outcome.
    pub(crate) fn lag(&self) -> i64 {
        (self.end - self.position).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(20);

    fn batching(end: i64, now: Instant) -> Batching {
        Batching::new(3, INTERVAL, 0, end, now)
    }

    #[test]
    fn a_lone_order_after_a_quiet_time_is_shipped_at_once() {
        let now = Instant::now();
        let mut batching = batching(0, now);
        assert_eq!(batching.next(0, now), Next::Poll(POLL));
        batching.record(0);
        assert_eq!(batching.next(1, now), Next::Poll(Duration::ZERO));
        batching.idle();
        assert_eq!(batching.next(1, now), Next::Ship);
    }

    #[test]
    fn orders_in_a_crowd_gather_without_waking_anybody() {
        let now = Instant::now();
        let mut batching = batching(0, now);
        batching.shipped(Duration::from_millis(1), now);
        batching.record(0);
        batching.idle();
        assert_eq!(batching.next(1, now), Next::Sleep(INTERVAL));
        let ripe = now + INTERVAL;
        assert_eq!(batching.next(1, ripe), Next::Poll(Duration::ZERO));
        batching.record(1);
        batching.idle();
        assert_eq!(batching.next(2, ripe), Next::Ship);
    }

    #[test]
    fn a_backlog_is_shipped_in_full_batches_without_a_pause() {
        let now = Instant::now();
        let mut batching = batching(1000, now);
        batching.shipped(Duration::from_millis(1), now);
        for offset in 0..2 {
            batching.record(offset);
        }
        // The client's buffer is empty, but the log is not.
        batching.idle();
        assert_eq!(batching.next(2, now), Next::Poll(INTERVAL));
        batching.record(2);
        assert_eq!(batching.next(3, now), Next::Ship);
        assert_eq!(batching.lag(), 997);
    }

    #[test]
    fn the_end_of_the_log_ends_a_backlog() {
        let now = Instant::now();
        let mut batching = batching(1000, now);
        batching.shipped(Duration::from_millis(1), now);
        batching.record(0);
        batching.end();
        assert_eq!((batching.next(1, now), batching.lag()), (Next::Sleep(INTERVAL), 0));
    }

    #[test]
    fn transactions_that_take_long_are_fewer() {
        let now = Instant::now();
        let ripe_after = |took| {
            let mut batching = batching(0, now);
            batching.shipped(took, now);
            batching.record(0);
            batching.idle();
            batching.next(1, now)
        };
        assert_eq!(
            ripe_after(Duration::from_millis(20)),
            Next::Sleep(Duration::from_millis(100))
        );
        assert_eq!(ripe_after(Duration::from_secs(2)), Next::Sleep(MAX_INTERVAL));
    }
}
