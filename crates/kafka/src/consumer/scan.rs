//! Reads a few records of a partition.

use std::ops::ControlFlow;
use std::time::Instant;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;

use super::{ConsumeError, ConsumedRecord, Consumer, Event, POLL};
use crate::Config;

impl Consumer {
    /// A consumer for [`Self::scan`]: it asks for little at a time.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn for_scan(config: &Config, client_id: &str, group: &str, topic: &str) -> Result<Self, KafkaError> {
        Self::create(
            config,
            config.scanning_consumer(client_id, group),
            client_id,
            group,
            topic,
        )
    }

    /// Reads a partition from an offset on, until `visit` breaks or everything has been read.
    ///
    /// # Errors
    /// When that is not done at `deadline`, or the position does not exist.
    pub fn scan(
        &self,
        partition: i32,
        from: i64,
        deadline: Instant,
        mut visit: impl FnMut(&ConsumedRecord<'_>) -> ControlFlow<()>,
    ) -> Result<(), ConsumeError> {
        self.assign([(partition, from)])?;
        let mut interruption = String::new();
        loop {
            let rest = deadline.saturating_duration_since(Instant::now());
            match self.poll(rest.min(POLL))? {
                Event::Record(record) => {
                    if visit(&record).is_break() {
                        break;
                    }
                }
                Event::End(_) => break,
                Event::Interrupted(error @ ConsumeError::Forbidden(_)) => return Err(error),
                Event::Interrupted(error) => interruption = error.to_string(),
                Event::Idle => {}
            }
            if rest.is_zero() {
                return Err(ConsumeError::Stalled {
                    topic: self.topic.clone(),
                    partition,
                    reason: interruption,
                });
            }
        }
        self.consumer.unassign().map_err(self.error("leave partitions"))
    }
}
