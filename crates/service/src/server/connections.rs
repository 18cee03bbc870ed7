//! The open connections of a server, and which of them makes room for a new one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::metrics::Counted;

/// A connection may be closed for a new one after being idle this long: a client at work sends its next request sooner.
pub(super) const EVICTABLE_AFTER: Duration = Duration::from_secs(1);
/// While the server is full, one connection is asked to make room in each interval.
pub(super) const EVICTION_INTERVAL: Duration = Duration::from_millis(100);

/// The open connections of a server. Each is a task.
pub(super) struct Connections {
    tasks: JoinSet<()>,
    activities: HashMap<Id, Arc<Activity>>,
    limit: usize,
    /// `true` once the log says that the server is full.
    is_reported_full: bool,
}

impl Connections {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            tasks: JoinSet::new(),
            activities: HashMap::new(),
            limit,
            is_reported_full: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    pub(super) fn spawn(&mut self, activity: Arc<Activity>, task: impl Future<Output = ()> + Send + 'static) {
        let handle = self.tasks.spawn(task);
        self.activities.insert(handle.id(), activity);
    }

    /// Waits until a connection ends. Returns `None` if none is open.
    pub(super) async fn ended(&mut self) -> Option<()> {
        // The panic hook has logged a connection that panicked.
        let ended = self.tasks.join_next_with_id().await?;
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
        self.activities.remove(&id);
        self.is_reported_full &= self.len() > self.limit / 2;
        Some(())
    }

    /// Waits until one more connection may be opened.
    pub(super) async fn make_room(&mut self) {
        while self.len() >= self.limit {
            if !std::mem::replace(&mut self.is_reported_full, true) {
                let limit = self.limit;
                tracing::warn!(
                    limit,
                    "too many connections: the one that has been idle longest is closed for a new one"
                );
            }
            if let Some(activity) = self.most_dispensable() {
                activity.close.cancel();
            }
            // An error means that none has ended in this interval: the next one is asked.
            let _ = timeout(EVICTION_INTERVAL, self.ended()).await;
        }
    }

    /// The connection that has been idle longest. Where all are at work, the one with the newest request: it is closed
    /// after its answer, and says so, so that a probe is answered by a server that is full.
    fn most_dispensable(&self) -> Option<&Activity> {
        let open = || {
            self.activities
                .values()
                .filter(|activity| !activity.close.is_cancelled())
        };
        let idle = open().filter_map(|activity| Some((activity.idle_since()?, activity)));
        let longest_idle = idle.min_by_key(|(since, _)| *since);
        if let Some((_, activity)) = longest_idle.filter(|(since, _)| since.elapsed() >= EVICTABLE_AFTER) {
            return Some(activity);
        }
        let at_work = open().filter_map(|activity| Some((activity.in_flight_since()?, activity)));
        at_work.max_by_key(|(since, _)| *since).map(|(_, activity)| &**activity)
    }

    /// Waits until all connections have ended; after `timeout` the others are cut off.
    pub(super) async fn drain(&mut self, timeout: Duration) {
        let drained = tokio::time::timeout(timeout, async { while self.ended().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!(
                connections = self.len(),
                "cut off connections that had not ended in time"
            );
            self.tasks.shutdown().await;
        }
    }
}

/// What one connection is doing.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    /// Cancelled when the connection must end after the request in flight.
    pub(super) close: CancellationToken,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// No request has come yet.
    Unused {
        since: Instant,
    },
    /// HTTP/1.1 has one request at a time.
    InFlight {
        since: Instant,
    },
    Idle {
        since: Instant,
    },
}

impl Activity {
    /// A new connection, which ends at `shutdown` at the latest.
    pub(super) fn new(shutdown: &CancellationToken) -> Self {
        Self {
            state: Mutex::new(State::Unused { since: Instant::now() }),
            close: shutdown.child_token(),
        }
    }

    pub(super) fn is_unused(&self) -> bool {
        matches!(*self.state.lock(), State::Unused { .. })
    }

    fn idle_since(&self) -> Option<Instant> {
        match *self.state.lock() {
            State::Unused { since } | State::Idle { since } => Some(since),
            State::InFlight { .. } => None,
        }
    }

    fn in_flight_since(&self) -> Option<Instant> {
        match *self.state.lock() {
            State::InFlight { since } => Some(since),
            State::Unused { .. } | State::Idle { .. } => None,
        }
    }
}

/// A request until the end of its response: counted, and its connection is at work.
#[derive(Debug)]
pub(super) struct InFlight {
    _counted: Counted,
    activity: Arc<Activity>,
}

impl InFlight {
    pub(super) fn new(gauge: &Gauge, activity: &Arc<Activity>) -> Self {
        *activity.state.lock() = State::InFlight { since: Instant::now() };
        Self {
            _counted: Counted::new(gauge),
            activity: Arc::clone(activity),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        *self.activity.state.lock() = State::Idle { since: Instant::now() };
    }
}
