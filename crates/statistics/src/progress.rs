//! How far the counting of a topic is: a pure machine that is told what happens.

use std::ops::Range;

/// How far the counting of a topic is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    partitions: Vec<Partition>,
    /// Whether the broker has said which partitions there are.
    started: bool,
    caught_up: bool,
    replayed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Partition {
    /// The offset after the last record that was read.
    next: i64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It was there at the start; where it ended is not known yet.
    EndUnknown,
    /// The same, but it has no leader that answers: being caught up does not wait for it.
    OutOfReach,
    /// It was there at the start, and what is before this offset too.
    Behind(i64),
    /// What is read from now on has just come in.
    Live,
}

impl Progress {
    /// The topic has this many partitions. Returns those that are new.
    pub(crate) fn found(&mut self, count: usize) -> Range<usize> {
        let known = self.partitions.len();
        // All of what is in a partition that is added while this service runs has come in while it runs.
        let state = if self.started { State::Live } else { State::EndUnknown };
        self.started = true;
        self.partitions.resize(known.max(count), Partition { next: 0, state });
        known..self.partitions.len()
    }

    /// A partition is read from this offset on: what is before it has been counted, or is gone.
    pub(crate) fn starts_at(&mut self, index: usize, next: i64) {
        self.update(index, |partition| partition.next = next);
    }

    /// A partition ends at this offset.
    pub(crate) fn ends_at(&mut self, index: usize, end: i64) {
        self.update(index, |partition| {
            if matches!(partition.state, State::EndUnknown | State::OutOfReach) {
                partition.state = if partition.next >= end {
                    State::Live
                } else {
                    State::Behind(end)
                };
            }
        });
    }

    /// Nobody says where a partition ends.
    pub(crate) fn out_of_reach(&mut self, index: usize) {
        self.update(index, |partition| {
            if partition.state == State::EndUnknown {
                partition.state = State::OutOfReach;
            }
        });
    }

    /// A record was read. Returns whether it was there at the start.
    pub(crate) fn read(&mut self, index: usize, offset: i64) -> bool {
        let mut replay = false;
        self.update(index, |partition| {
            partition.next = offset + 1;
            replay = match partition.state {
                State::EndUnknown | State::OutOfReach => true,
                State::Behind(end) => offset < end,
                State::Live => false,
            };
            // While others write there is always more: the end of the partition may never be seen.
            if matches!(partition.state, State::Behind(end) if partition.next >= end) {
                partition.state = State::Live;
            }
        });
        self.replayed += u64::from(replay);
        replay
    }

    /// All of a partition has been read.
    pub(crate) fn at_end(&mut self, index: usize) {
        self.update(index, |partition| partition.state = State::Live);
    }

    /// Whether everything that was there at the start has been read, but for what is out of reach. Stays so.
    pub(crate) fn is_caught_up(&mut self) -> bool {
        let waits = |partition: &Partition| matches!(partition.state, State::EndUnknown | State::Behind(_));
        self.caught_up = self.caught_up || (!self.partitions.is_empty() && !self.partitions.iter().any(waits));
        self.caught_up
    }

    /// Records that were there at the start.
    pub(crate) fn replayed(&self) -> u64 {
        self.replayed
    }

    fn update(&mut self, index: usize, change: impl FnOnce(&mut Partition)) {
        if let Some(partition) = self.partitions.get_mut(index) {
            change(partition);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three_partitions() -> Progress {
        let mut progress = Progress::default();
        assert_eq!(progress.found(3), 0..3);
        progress
    }

    #[test]
    fn it_is_caught_up_when_all_that_was_there_has_been_read() {
        let mut progress = three_partitions();
        progress.ends_at(0, 2);
        progress.ends_at(1, 0);
        progress.ends_at(2, 1);
        assert!(progress.read(0, 0) && progress.read(2, 0));
        assert!(!progress.is_caught_up());
        assert!(progress.read(0, 1));
        assert!(progress.is_caught_up());
        assert!(!progress.read(0, 2), "this record is new");
        assert_eq!(progress.replayed(), 3);
    }

    #[test]
    fn what_was_counted_before_the_start_is_not_waited_for() {
        let mut progress = three_partitions();
        progress.ends_at(0, 0);
        progress.starts_at(1, 5);
        progress.ends_at(1, 5);
        progress.starts_at(2, 5);
        progress.ends_at(2, 6);
        assert!(!progress.is_caught_up());
        assert!(progress.read(2, 5));
        assert!(progress.is_caught_up());
        assert_eq!(progress.replayed(), 1);
    }

    #[test]
    fn a_partition_that_ends_in_the_offset_of_a_transaction_is_read_when_the_broker_says_so() {
        let mut progress = Progress::default();
        progress.found(1);
        progress.ends_at(0, 2);
        progress.read(0, 0);
        assert!(!progress.is_caught_up());
        progress.at_end(0);
        assert!(progress.is_caught_up());
    }

    #[test]
    fn a_record_beyond_the_end_is_new_even_when_the_end_was_never_seen() {
        let mut progress = Progress::default();
        progress.found(1);
        progress.ends_at(0, 2);
        progress.read(0, 0);
        assert!(!progress.read(0, 2));
        assert!(progress.is_caught_up());
    }

    #[test]
    fn records_may_be_read_before_it_is_known_where_their_partition_ends() {
        let mut progress = Progress::default();
        progress.found(1);
        assert!(progress.read(0, 0) && progress.read(0, 1));
        assert!(!progress.is_caught_up());
        progress.ends_at(0, 2);
        assert!(progress.is_caught_up());
    }

    #[test]
    fn nothing_waits_for_a_partition_without_a_leader_and_its_old_records_are_no_news_later() {
        let mut progress = three_partitions();
        progress.ends_at(0, 0);
        progress.out_of_reach(1);
        assert!(!progress.is_caught_up());
        progress.ends_at(2, 0);
        assert!(progress.is_caught_up());
        assert!(progress.read(1, 0));
        progress.ends_at(1, 2);
        assert!(progress.read(1, 1));
        assert!(!progress.read(1, 2));
        assert!(progress.is_caught_up());
    }

    #[test]
    fn a_partition_that_is_added_later_is_new_from_its_first_record() {
        let mut progress = three_partitions();
        assert_eq!(progress.found(5), 3..5);
        assert!(!progress.read(4, 0));
        assert_eq!(progress.found(3), 5..5, "partitions do not go away");
    }

    #[test]
    fn a_topic_that_is_created_later_is_new_as_a_whole() {
        let mut progress = Progress::default();
        assert_eq!(progress.found(0), 0..0);
        assert!(!progress.is_caught_up());
        progress.found(1);
        assert!(progress.is_caught_up());
        assert!(!progress.read(0, 0));
    }
}
