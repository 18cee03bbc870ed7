//! Why consuming cannot go on, and which of the client's errors say so.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::range::STALL_TIMEOUT;
use crate::Forbidden;

/// Consuming cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// The position does not exist (any more). Going on elsewhere would skip or repeat records.
    #[error("topic {topic:?} no longer holds the position of its consumer: it was truncated or recreated")]
    PositionLost {
        /// The topic.
        topic: String,
    },
    /// Records cannot be read: the client would skip them, and with them orders.
    #[error(
        "records of topic {topic:?} are damaged, or of a format that librdkafka does not know: {reason}: \
         check the broker's disk; going on would skip them"
    )]
    Damaged {
        /// The topic.
        topic: String,
        /// The reason that the client gives.
        reason: String,
    },
    /// A read made no progress for 15 s, or missed its deadline.
    #[error("partition {partition} of topic {topic:?} could not be read in time (without a deadline: {} s without progress){}{reason}",
        STALL_TIMEOUT.as_secs(), if reason.is_empty() { "" } else { ": " })]
    Stalled {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The reason of the interruption, if the client gave one.
        reason: String,
    },
    /// The authorizer does not allow it.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The partition is not served at the moment.
    #[error("kafka does not serve topic {topic:?}: {code}")]
    NotServed {
        /// The topic.
        topic: String,
        /// The reason that the client gives.
        code: RDKafkaErrorCode,
    },
    /// The process is asked to stop.
    #[error("stopped while reading topic {topic:?}")]
    Stopped {
        /// The topic.
        topic: String,
    },
    /// The broker's or the client's own error.
    #[error("could not {action} of topic {topic:?}: {source}")]
    Kafka {
        /// The topic.
        topic: String,
        /// The operation that failed.
        action: &'static str,
        /// Its error.
        source: KafkaError,
    },
}

/// The meaning of an error that librdkafka gives instead of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorClass {
    /// No broker is reached; the connection keeps account of that.
    Outage,
    /// The authorizer does not let the topic be read.
    TopicForbidden,
    /// The authorizer does not let the group be used.
    GroupForbidden,
    /// This partition is not served at the moment: the client goes on trying.
    Interruption,
    /// The position does not exist.
    PositionLost,
    /// The client skips what it cannot read.
    Damage,
}

/// Classifies an error that librdkafka gives instead of a record. Errors that are not named here are interruptions: they
/// are logged, and the service is not ready until a record comes again.
pub(super) fn classify(code: RDKafkaErrorCode) -> ErrorClass {
    match code {
        RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => ErrorClass::PositionLost,
        RDKafkaErrorCode::BadMessage
        | RDKafkaErrorCode::InvalidMessage
        | RDKafkaErrorCode::InvalidMessageSize
        | RDKafkaErrorCode::BadCompression
        | RDKafkaErrorCode::NotImplemented
        | RDKafkaErrorCode::UnsupportedForMessageFormat
        | RDKafkaErrorCode::UnsupportedCompressionType
        | RDKafkaErrorCode::InvalidRecord => ErrorClass::Damage,
        RDKafkaErrorCode::AllBrokersDown
        | RDKafkaErrorCode::BrokerTransportFailure
        | RDKafkaErrorCode::Resolve
        | RDKafkaErrorCode::OperationTimedOut
        | RDKafkaErrorCode::RequestTimedOut
        | RDKafkaErrorCode::Authentication
        | RDKafkaErrorCode::SSL => ErrorClass::Outage,
        RDKafkaErrorCode::TopicAuthorizationFailed => ErrorClass::TopicForbidden,
        RDKafkaErrorCode::GroupAuthorizationFailed => ErrorClass::GroupForbidden,
        _ => ErrorClass::Interruption,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_that_skips_records_is_taken_for_an_interruption() {
        for code in [
            RDKafkaErrorCode::BadMessage,
            RDKafkaErrorCode::InvalidMessage,
            RDKafkaErrorCode::BadCompression,
            RDKafkaErrorCode::NotImplemented,
        ] {
            assert_eq!(classify(code), ErrorClass::Damage, "{code}");
        }
        assert_eq!(classify(RDKafkaErrorCode::AutoOffsetReset), ErrorClass::PositionLost);
        assert_eq!(classify(RDKafkaErrorCode::AllBrokersDown), ErrorClass::Outage);
        for code in [
            RDKafkaErrorCode::UnknownTopicOrPartition,
            RDKafkaErrorCode::KafkaStorageError,
        ] {
            assert_eq!(classify(code), ErrorClass::Interruption, "{code}");
        }
    }
}
