//! Why repository-N cannot simply go on, and what that means.

use kafka::{ConsumeError, TransactionError};
use service::TemporaryFailure;

/// Why a round of work ended.
pub(crate) enum Interruption {
    /// The process is asked to stop.
    Stopped,
    /// It begins anew, with what the log says: only that tells whether the last transaction was committed.
    Restart {
        /// Why.
        reason: String,
    },
    /// It cannot go on.
    Failed(anyhow::Error),
}

impl From<ConsumeError> for Interruption {
    fn from(error: ConsumeError) -> Self {
        match error {
            ConsumeError::Stopped { .. } => Self::Stopped,
            ConsumeError::PositionLost { .. } | ConsumeError::Damaged { .. } => Self::Failed(error.into()),
            ConsumeError::Stalled { .. }
            | ConsumeError::Kafka { .. }
            | ConsumeError::Forbidden(_)
            | ConsumeError::NotServed { .. } => Self::Restart {
                reason: error.to_string(),
            },
        }
    }
}

impl From<TransactionError> for Interruption {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Stopped => Self::Stopped,
            TransactionError::Fenced(_) => Self::Failed(
                TemporaryFailure(format!("{error}: is there a second repository with this ordinal?")).into(),
            ),
            TransactionError::Failed(reason) => Self::Restart { reason },
            TransactionError::TimedOut(_) => Self::Restart {
                reason: error.to_string(),
            },
        }
    }
}
