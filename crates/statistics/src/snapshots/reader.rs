//! Reads the last snapshot at the start.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use domain::{Snapshot, SnapshotError};
use kafka::{ConsumeError, Consumer};
use service::Latch;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::{PARTITION, TOPIC};

/// Offsets at the end of the topic that are searched for the last snapshot. It should be the very last record.
const TAIL_OFFSETS: i64 = 64;
/// Timeout of the wait for a missing topic: a broker that has just started knows none of its topics.
const MISSING_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of the wait for a topic without a leader. A cluster elects another one sooner.
const LEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Time between two attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// Reads the last snapshot. Blocks its thread.
pub(super) struct Reader {
    pub(super) service: String,
    pub(super) consumer: Consumer,
    pub(super) latch: Latch,
    pub(super) shutdown: CancellationToken,
}

/// The result of the search.
pub(super) struct Found {
    /// The last snapshot, or one in which nothing is counted.
    pub(super) snapshot: Snapshot,
    /// `true` if another snapshot may replace it; `false` if one may exist that could not be read.
    pub(super) replaceable: bool,
}

/// Why there is no snapshot yet.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error(transparent)]
    Outage(ConsumeError),
    #[error("topic {TOPIC} does not exist: run mall topics")]
    NoTopic,
    #[error("topic {TOPIC} has no leader")]
    NoLeader,
    #[error(transparent)]
    NotServed(#[from] ConsumeError),
}

impl Reader {
    /// Waits for a broker, and reads. `None` when it is told to stop before that.
    ///
    /// # Errors
    /// When no other client can be made.
    pub(super) fn read(mut self) -> anyhow::Result<Option<Found>> {
        let mut answered: Option<Instant> = None;
        while !self.shutdown.is_cancelled() {
            let error = match self.snapshot() {
                Ok(snapshot) => return Ok(Some(self.done(snapshot, true))),
                Err(error) => error,
            };
            match error {
                // An operator is waited for: what may not be read may hold more than could be counted.
                Unreadable::Outage(error) | Unreadable::NotServed(error @ ConsumeError::Forbidden(_)) => {
                    answered = None;
                    self.latch.hold(&self.consumer.outage(&error));
                    if self.consumer.needs_renewal() {
                        self.consumer.renew().context("could not make another consumer")?;
                    }
                }
                error => {
                    let missing = matches!(error, Unreadable::NoTopic);
                    let patience = if missing { MISSING_TIMEOUT } else { LEADER_TIMEOUT };
                    if answered.get_or_insert_with(Instant::now).elapsed() > patience {
                        return Ok(Some(self.without_snapshot(&error)));
                    }
                    self.latch.hold(&error.to_string());
                }
            }
            let stop = tokio::time::timeout(RETRY_INTERVAL, self.shutdown.cancelled());
            // An error means that there was no stop.
            let _ = Handle::current().block_on(stop);
        }
        Ok(None)
    }

    /// Counting does not wait any longer for a topic that is not served. If there is a snapshot in it, that may have more
    /// than this process can count: it is not replaced.
    fn without_snapshot(&self, error: &Unreadable) -> Found {
        let missing = matches!(error, Unreadable::NoTopic);
        let consequence = if missing {
            "none is kept until there is the topic"
        } else {
            "none is kept until a restart"
        };
        tracing::warn!(
            service = self.service,
            reason = %error,
            consequence,
            "the snapshot cannot be read: counting from the start of the log"
        );
        self.done(Snapshot::new(self.consumer.cluster_id()), missing)
    }

    fn done(&self, snapshot: Snapshot, replaceable: bool) -> Found {
        self.latch.release();
        Found { snapshot, replaceable }
    }

    /// The last snapshot that is valid, or an empty one.
    fn snapshot(&self) -> Result<Snapshot, Unreadable> {
        match self.consumer.leaders().map_err(Unreadable::Outage)?.first() {
            None => return Err(Unreadable::NoTopic),
            Some(None) => return Err(Unreadable::NoLeader),
            Some(Some(_)) => self.consumer.wait_for_broker()?,
        }
        let cluster = self.consumer.cluster_id();
        let bounds = self.consumer.watermarks(PARTITION)?;
        let offsets = bounds.low.max(bounds.high - TAIL_OFFSETS)..bounds.high;
        let (mut last, mut valid): (Option<Result<i64, SnapshotError>>, Option<Snapshot>) = (None, None);
        self.consumer.read_all(PARTITION, offsets, &self.shutdown, |record| {
            if record.key() != Some(Snapshot::KEY) {
                return;
            }
            let read = Snapshot::from_record(record.value(), cluster.as_deref());
            last = Some(read.as_ref().map(|_| record.offset()).map_err(Clone::clone));
            valid = read.ok().or(valid.take());
        })?;
        let service = self.service.as_str();
        match last {
            Some(Ok(offset)) => tracing::info!(service, offset, "starting from a snapshot"),
            Some(Err(reason)) if valid.is_some() => {
                tracing::warn!(service, %reason, "the snapshot is discarded: starting from the one before it");
            }
            Some(Err(reason)) => {
                tracing::warn!(service, %reason, "the snapshot is discarded: counting from the start of the log");
            }
            None => tracing::info!(service, "no snapshot yet: counting from the start of the log"),
        }
        Ok(valid.unwrap_or_else(|| Snapshot::new(cluster)))
    }
}
