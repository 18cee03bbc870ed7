//! Reads much of a partition at once.

use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use tokio_util::sync::CancellationToken;

use super::{ConsumeError, ConsumedRecord, Consumer, Event, POLL};

/// A replay in which nothing comes for this long has failed.
pub(super) const REPLAY_PATIENCE: Duration = Duration::from_secs(15);
/// How many records are passed on together: enough that passing them on costs nothing beside them.
const CHUNK_RECORDS: usize = 256;
/// How many such chunks wait at most.
const CHUNKS: usize = 4;

impl Consumer {
    /// Reads a part of a partition. Its last offsets need not be records: transactions end in offsets of their own.
    ///
    /// Records are visited in their order, by a thread of their own: what is done with one of them takes about as long as
    /// getting it from librdkafka.
    ///
    /// # Errors
    /// When nothing comes for a while, a right is missing, the position does not exist, or `stop` is cancelled.
    pub fn replay(
        &self,
        partition: i32,
        offsets: Range<i64>,
        stop: &CancellationToken,
        mut visit: impl FnMut(&ConsumedRecord<'_>) + Send,
    ) -> Result<(), ConsumeError> {
        let (sender, chunks) = sync_channel::<Vec<ConsumedRecord<'_>>>(CHUNKS);
        std::thread::scope(|scope| {
            let visiting = scope.spawn(move || {
                for record in chunks.iter().flatten() {
                    self.unless_stopped(stop)?;
                    visit(&record);
                }
                Ok(())
            });
            self.read(partition, offsets, stop, sender)?;
            visiting.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Passes on a part of a partition in chunks. Whoever takes them ends when the sender is dropped.
    fn read<'a>(
        &'a self,
        partition: i32,
        offsets: Range<i64>,
        stop: &CancellationToken,
        chunks: SyncSender<Vec<ConsumedRecord<'a>>>,
    ) -> Result<(), ConsumeError> {
        self.assign([(partition, offsets.start)])?;
        let topic = || self.topic.clone();
        // The clock is read only while nothing comes: millions of records do.
        let (mut idle_since, mut interruption) = (None::<Instant>, String::new());
        let (mut next, mut chunk) = (offsets.start, Vec::new());
        // Where nobody takes it any more, reading ends too: what was visited decides the outcome.
        let pass_on = |chunk: &mut Vec<_>| _ = chunks.send(std::mem::take(chunk));
        // While others write there is always more, and the end of the partition may never be seen.
        while next < offsets.end {
            self.unless_stopped(stop)?;
            match self.poll(POLL)? {
                Event::Record(record) => {
                    next = record.offset() + 1;
                    chunk.push(record);
                    if chunk.len() == CHUNK_RECORDS {
                        pass_on(&mut chunk);
                    }
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
        pass_on(&mut chunk);
        self.consumer.unassign().map_err(self.error("leave partitions"))
    }

    fn unless_stopped(&self, stop: &CancellationToken) -> Result<(), ConsumeError> {
        let stopped = || ConsumeError::Stopped {
            topic: self.topic.clone(),
        };
        if stop.is_cancelled() { Err(stopped()) } else { Ok(()) }
    }
}
