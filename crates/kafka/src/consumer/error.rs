//! Why reading cannot go on.

use rdkafka::error::KafkaError;

use super::REPLAY_PATIENCE;

/// Reading cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// The position does not exist (any more). Going on elsewhere would skip or repeat records.
    #[error("topic {topic:?} no longer holds the position of its reader: it was truncated or recreated")]
    PositionLost {
        /// The topic.
        topic: String,
    },
    /// Reading back did not come to an end.
    #[error("nothing came from partition {partition} of topic {topic:?} for {} s while reading it back", REPLAY_PATIENCE.as_secs())]
    Stalled {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// The process is asked to stop.
    #[error("stopped while reading topic {topic:?} back")]
    Stopped {
        /// The topic.
        topic: String,
    },
    /// The broker's or the client's own error.
    #[error("could not {action} of topic {topic:?}: {source}")]
    Kafka {
        /// The topic.
        topic: String,
        /// What was being done.
        action: &'static str,
        /// What went wrong.
        source: KafkaError,
    },
}
