//! Reads much of a partition at once.

use std::ops::Range;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use tokio_util::sync::CancellationToken;

use super::{ConsumeError, ConsumedRecord, Consumer, Event, POLL};

/// A replay in which nothing comes for this long has failed.
pub(super) const REPLAY_PATIENCE: Duration = Duration::from_secs(15);

impl Consumer {
    /// Reads a part of a partition. Its last offsets need not be records: transactions end in offsets of their own.
    ///
    /// # Errors
    /// When nothing comes for a while, a right is missing, the position does not exist, or `stop` is cancelled.
    pub fn replay(
        &self,
        partition: i32,
        offsets: Range<i64>,
        stop: &CancellationToken,
        mut visit: impl FnMut(&ConsumedRecord<'_>),
    ) -> Result<(), ConsumeError> {
        self.assign([(partition, offsets.start)])?;
        let topic = || self.topic.clone();
        // The clock is read only while nothing comes: millions of records do.
        let (mut idle_since, mut interruption) = (None::<Instant>, String::new());
        let mut next = offsets.start;
        // While others write there is always more, and the end of the partition may never be seen.
        while next < offsets.end {
            if stop.is_cancelled() {
                return Err(ConsumeError::Stopped { topic: topic() });
            }
            match self.poll(POLL)? {
                Event::Record(record) => {
                    visit(&record);
                    next = record.offset() + 1;
                    idle_since = None;
                }
                Event::End(_) => break,
                Event::Interrupted(error @ ConsumeError::Forbidden(_)) => return Err(error),
                Event::Interrupted(error) => interruption = error.to_string(),
                Event::Idle if idle_since.get_or_insert_with(Instant::now).elapsed() > REPLAY_PATIENCE => {
                    return Err(ConsumeError::Stalled {
                        topic: topic(),
                        partition,
                        reason: interruption,
                    });
                }
                Event::Idle => {}
            }
        }
        self.consumer.unassign().map_err(self.error("leave partitions"))
    }
}
