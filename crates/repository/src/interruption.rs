//! Why the loop of repository-N cannot simply go on, and what that means.

use kafka::{ReadError, WriteError};
use service::TemporaryFailure;

/// Why a round of work ended.
pub(crate) enum Interruption {
    /// The process is asked to stop.
    Stopped,
    /// It begins anew, with what the log says: only that tells whether the last transaction was committed.
    Again(String),
    /// It cannot go on.
    Failed(anyhow::Error),
}

impl From<ReadError> for Interruption {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Stopped { .. } => Self::Stopped,
            ReadError::PositionLost { .. } => Self::Failed(error.into()),
            ReadError::Stalled { .. } | ReadError::Kafka { .. } => Self::Again(error.to_string()),
        }
    }
}

impl From<WriteError> for Interruption {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped => Self::Stopped,
            WriteError::Fenced(_) => Self::Failed(
                TemporaryFailure(format!("{error}: is there a second repository with this ordinal?")).into(),
            ),
            WriteError::Aborted(reason) | WriteError::Unknown(reason) => Self::Again(reason),
        }
    }
}
