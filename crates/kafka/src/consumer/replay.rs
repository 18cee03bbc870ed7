//! Reads much of a partition at once.

use std::ops::Range;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use tokio_util::sync::CancellationToken;

use super::{ConsumeError, ConsumedRecord, Consumer, Event, POLL};

/// A replay in which nothing comes for this long has failed.
pub(super) const REPLAY_PATIENCE: Duration = Duration::from_secs(15);

/// A part of a partition that is being read, record by record. A consumer reads one at a time.
pub struct Replay<'a> {
    consumer: &'a Consumer,
    partition: i32,
    /// The offset after the last record.
    next: i64,
    end: i64,
    stop: &'a CancellationToken,
}

impl Consumer {
    /// Begins to read a part of a partition. Its last offsets need not be records: transactions end in offsets of their
    /// own.
    ///
    /// # Errors
    /// When the client refuses.
    pub fn records<'a>(
        &'a self,
        partition: i32,
        offsets: Range<i64>,
        stop: &'a CancellationToken,
    ) -> Result<Replay<'a>, ConsumeError> {
        self.assign([(partition, offsets.start)])?;
        Ok(Replay {
            consumer: self,
            partition,
            next: offsets.start,
            end: offsets.end,
            stop,
        })
    }

    /// Reads a part of a partition.
    ///
    /// # Errors
    /// As [`Replay::next`].
    pub fn replay(
        &self,
        partition: i32,
        offsets: Range<i64>,
        stop: &CancellationToken,
        mut visit: impl FnMut(&ConsumedRecord<'_>),
    ) -> Result<(), ConsumeError> {
        let mut records = self.records(partition, offsets, stop)?;
        while let Some(record) = records.next()? {
            visit(&record);
        }
        self.consumer.unassign().map_err(self.error("leave partitions"))
    }
}

impl<'a> Replay<'a> {
    /// Waits for the next record; `None` after the last one.
    ///
    /// # Errors
    /// When nothing comes for a while, a right is missing, the position does not exist, or `stop` is cancelled.
    #[expect(clippy::should_implement_trait, reason = "an iterator would go on after an error")]
    pub fn next(&mut self) -> Result<Option<ConsumedRecord<'a>>, ConsumeError> {
        let topic = || self.consumer.topic.clone();
        // The clock is read only while nothing comes: millions of records do.
        let (mut idle_since, mut interruption) = (None::<Instant>, String::new());
        // While others write there is always more, and the end of the partition may never be seen.
        while self.next < self.end {
            if self.stop.is_cancelled() {
                return Err(ConsumeError::Stopped { topic: topic() });
            }
            match self.consumer.poll(POLL)? {
                Event::Record(record) => {
                    self.next = record.offset() + 1;
                    return Ok(Some(record));
                }
                Event::End(_) => self.next = self.end,
                Event::Interrupted(error @ ConsumeError::Forbidden(_)) => return Err(error),
                Event::Interrupted(error) => interruption = error.to_string(),
                Event::Idle if idle_since.get_or_insert_with(Instant::now).elapsed() > REPLAY_PATIENCE => {
                    return Err(ConsumeError::Stalled {
                        topic: topic(),
                        partition: self.partition,
                        reason: interruption,
                    });
                }
                Event::Idle => {}
            }
        }
        Ok(None)
    }
}

impl std::fmt::Debug for Replay<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Replay")
            .field("partition", &self.partition)
            .field("offsets", &(self.next..self.end))
            .finish_non_exhaustive()
    }
}
