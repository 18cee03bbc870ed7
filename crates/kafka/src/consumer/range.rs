//! Reads a range of offsets of a partition.

use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use tokio_util::sync::CancellationToken;

use super::{ConsumeError, ConsumedRecord, Consumer, Event};

/// Interval at which a read checks its stop signal and its deadline.
const POLL: Duration = Duration::from_millis(100);
/// A read that makes no progress for this long has failed.
pub(super) const STALL_TIMEOUT: Duration = Duration::from_secs(15);

/// The progress through a range of offsets.
///
/// Only a position at the end or beyond completes it. An end-of-partition event does not: a follower, or a leader that
/// was elected just now, sends it below the end that another broker has told.
#[derive(Clone, Copy, Debug)]
pub struct RangeProgress {
    next: i64,
    end: i64,
}

impl RangeProgress {
    /// Nothing has been read yet.
    pub fn new(offsets: Range<i64>) -> Self {
        Self {
            next: offsets.start,
            end: offsets.end,
        }
    }

    /// Returns `true` once every offset of the range has been read.
    pub fn is_complete(self) -> bool {
        self.next >= self.end
    }

    /// A record was read. Returns `true` if it belongs to the range.
    pub fn on_record(&mut self, offset: i64) -> bool {
        let belongs = (self.next..self.end).contains(&offset);
        self.on_position(offset.saturating_add(1));
        belongs
    }

    /// An event of this assignment says that the offsets before `position` have been read. Only such a position passes
    /// over offsets without a record, as the ends of transactions are.
    pub fn on_position(&mut self, position: i64) {
        self.next = self.next.max(position);
    }
}

impl Consumer {
    /// Reads the records of a range of offsets, until `visit` breaks.
    ///
    /// # Errors
    /// When the read has not ended at `end_by`, or without `end_by` makes no progress for 15 s; when the process is asked to
    /// stop, a right is missing, or the position does not exist.
    pub fn read(
        &self,
        partition: i32,
        offsets: Range<i64>,
        stop: &CancellationToken,
        end_by: Option<Instant>,
        mut visit: impl FnMut(&ConsumedRecord<'_>) -> ControlFlow<()>,
    ) -> Result<(), ConsumeError> {
        let mut progress = RangeProgress::new(offsets.clone());
        if progress.is_complete() {
            return Ok(());
        }
        self.assign(partition, offsets.start)?;
        let mut interruption = String::new();
        let mut deadline = end_by.unwrap_or_else(|| Instant::now() + STALL_TIMEOUT);
        let mut is_read = false;
        while !progress.is_complete() {
            if stop.is_cancelled() {
                return Err(ConsumeError::Stopped {
                    topic: self.topic.clone(),
                });
            }
            match self.poll(POLL)? {
                // Without a deadline the clock is read only while nothing comes: a log has millions of records.
                Event::Record(record) => {
                    is_read = true;
                    if progress.on_record(record.offset()) && visit(&record).is_break() {
                        break;
                    }
                    if end_by.is_none() {
                        continue;
                    }
                }
                Event::End(_) => {
                    if let Some(position) = self.position(partition) {
                        progress.on_position(position);
                    }
                }
                Event::Interrupted(error @ ConsumeError::Forbidden(_)) => return Err(error),
                Event::Interrupted(error) => interruption = error.to_string(),
                Event::Idle => {}
            }
            if std::mem::take(&mut is_read) && end_by.is_none() {
                deadline = Instant::now() + STALL_TIMEOUT;
            }
            if !progress.is_complete() && Instant::now() >= deadline {
                return Err(ConsumeError::Stalled {
                    topic: self.topic.clone(),
                    partition,
                    reason: interruption,
                });
            }
        }
        self.consumer.unassign().map_err(self.error("leave partitions"))
    }

    /// Reads all records of a range of offsets.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_all(
        &self,
        partition: i32,
        offsets: Range<i64>,
        stop: &CancellationToken,
        mut visit: impl FnMut(&ConsumedRecord<'_>),
    ) -> Result<(), ConsumeError> {
        self.read(partition, offsets, stop, None, |record| {
            visit(record);
            ControlFlow::Continue(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_of_partition_event_below_the_end_does_not_complete_a_range() {
        let mut progress = RangeProgress::new(5..10);
        assert!(progress.on_record(5));
        // A follower that has not copied the rest yet says that the partition ends here.
        progress.on_position(6);
        assert!(!progress.is_complete());
        assert!(progress.on_record(8));
        // Offset 9 is the end of a transaction.
        progress.on_position(10);
        assert!(progress.is_complete());
    }

    #[test]
    fn a_record_beyond_the_end_completes_a_range_without_belonging_to_it() {
        let mut progress = RangeProgress::new(5..10);
        assert!(!progress.on_record(12));
        assert!(progress.is_complete());
    }

    #[test]
    fn a_record_of_an_earlier_assignment_does_not_belong_to_the_range() {
        let mut progress = RangeProgress::new(5..10);
        assert!(!progress.on_record(4));
        assert!(!progress.is_complete());
        assert!(RangeProgress::new(5..5).is_complete());
    }
}
