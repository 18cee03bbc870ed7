//! Why a record was not acknowledged.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::authorization::refuses_topic;

/// A record was not acknowledged.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SendError {
    /// It is not in the log and will not be.
    #[error("could not write the record: {0}")]
    NotWritten(KafkaError),
    /// It may or may not be in the log.
    #[error("it is unknown whether the record was written: {0}")]
    Unknown(KafkaError),
}

impl SendError {
    /// There was no report before the batch was given up.
    pub(super) fn timed_out() -> Self {
        Self::Unknown(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut))
    }

    /// Returns `true` if the authorizer was the reason.
    pub(super) fn is_refused(&self) -> bool {
        let (Self::NotWritten(error) | Self::Unknown(error)) = self;
        refuses_topic(error)
    }

    /// Sorts the error of a delivery report. Only these two are certain: the broker has looked at the record and refused
    /// it. Any other error, that of a missing topic too, can come after an earlier attempt that was appended and whose
    /// acknowledgement was lost.
    pub(super) fn from_report(error: KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidRecord) => Self::NotWritten(error),
            _ => Self::Unknown(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_record_that_the_broker_refused_is_certainly_not_written() {
        let sort = |code| SendError::from_report(KafkaError::MessageProduction(code));
        for code in [RDKafkaErrorCode::MessageSizeTooLarge, RDKafkaErrorCode::InvalidRecord] {
            assert!(matches!(sort(code), SendError::NotWritten(_)), "{code}");
        }
        for code in [
            RDKafkaErrorCode::UnknownTopic,
            RDKafkaErrorCode::UnknownPartition,
            RDKafkaErrorCode::UnknownTopicOrPartition,
            RDKafkaErrorCode::TopicAuthorizationFailed,
            RDKafkaErrorCode::MessageTimedOut,
            RDKafkaErrorCode::PurgeInflight,
            RDKafkaErrorCode::PurgeQueue,
            RDKafkaErrorCode::NotEnoughReplicasAfterAppend,
            RDKafkaErrorCode::Fatal,
        ] {
            assert!(matches!(sort(code), SendError::Unknown(_)), "{code}");
        }
    }
}
