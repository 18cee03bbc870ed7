//! Why repository-N cannot simply go on, and what follows from it.

use kafka::{ConsumeError, TransactionError};
use service::TemporaryFailure;

use crate::recovery::StartError;

/// Why a round of work ended.
#[derive(Debug)]
pub(crate) enum Interruption {
    /// The process is asked to stop.
    Stopped,
    /// The next round reads back from the logs: only they tell whether the last transaction was committed.
    Restart {
        /// Why.
        reason: String,
    },
    /// The broker has aborted the transaction: the process stood still for longer than a transaction may take. Another
    /// process can have taken over meanwhile.
    TimedOut {
        /// The broker's reason.
        reason: String,
    },
    /// It cannot go on.
    Failed(anyhow::Error),
}

impl From<ConsumeError> for Interruption {
    fn from(error: ConsumeError) -> Self {
        match error {
            ConsumeError::Stopped { .. } => Self::Stopped,
            ConsumeError::Damaged { .. } => Self::Failed(error.into()),
            // The next round finds out what is there instead, and refuses to go on if the position is lost.
            ConsumeError::PositionLost { .. }
            | ConsumeError::Stalled { .. }
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
            TransactionError::Fenced(_) => Self::replaced(&error.to_string()),
            TransactionError::Failed(reason) => Self::Restart { reason },
            TransactionError::TimedOut(_) => Self::TimedOut {
                reason: error.to_string(),
            },
        }
    }
}

impl From<StartError<Self>> for Interruption {
    fn from(error: StartError<Self>) -> Self {
        match error {
            StartError::Lost(lost) => Self::Failed(lost.into()),
            StartError::Decided(lost) => Self::Restart {
                reason: format!("an operator has decided where to go on: {lost}"),
            },
            StartError::Log(interruption) => interruption,
        }
    }
}

impl Interruption {
    /// Another process ships this partition. The exit code says that it is worth coming back later.
    pub(crate) fn replaced(reason: &str) -> Self {
        Self::Failed(TemporaryFailure(format!("{reason}: is there a second repository with this ordinal?")).into())
    }
}
