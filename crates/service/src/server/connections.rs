//! The open connections of a server, and which of them makes room for a new one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// A connection may be closed for a new one after being idle this long: a client at work sends its next request sooner.
pub(super) const EVICTABLE_AFTER: Duration = Duration::from_secs(1);
/// While the server is full, one connection is asked to make room in each interval.
const EVICTION_INTERVAL: Duration = Duration::from_millis(100);

/// The open connections of a server. Each is a task.
pub(super) struct Connections {
    tasks: JoinSet<()>,
    activities: HashMap<Id, Arc<Activity>>,
    limit: usize,
    gauge: Gauge,
    /// `true` once the log says that the server is full.
    is_reported_full: bool,
}

impl Connections {
    pub(super) fn new(limit: usize, gauge: Gauge) -> Self {
        Self {
            tasks: JoinSet::new(),
            activities: HashMap::new(),
            limit,
            gauge,
            is_reported_full: false,
        }
    }

    pub(super) fn spawn(&mut self, activity: Arc<Activity>, task: impl Future<Output = ()> + Send + 'static) {
        let handle = self.tasks.spawn(task);
        self.activities.insert(handle.id(), activity);
        self.gauge.inc();
    }

    /// Waits until a connection ends. Returns `None` if none is open.
    pub(super) async fn ended(&mut self) -> Option<()> {
        // The panic hook has logged a connection that panicked.
        let ended = self.tasks.join_next_with_id().await?;
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
        self.activities.remove(&id);
        self.gauge.dec();
        self.is_reported_full &= self.tasks.len() > self.limit / 2;
        Some(())
    }

    /// Waits until one more connection may be opened.
    pub(super) async fn make_room(&mut self) {
        while self.tasks.len() >= self.limit {
            if !std::mem::replace(&mut self.is_reported_full, true) {
                let limit = self.limit;
                tracing::warn!(
                    limit,
                    "too many connections: those that have been idle longest are closed for new ones"
                );
            }
            if let Some(activity) = self.most_dispensable() {
                activity.close.cancel();
            }
            // An error means that no connection has ended in this interval: the next one is asked.
            let _ = timeout(EVICTION_INTERVAL, self.ended()).await;
        }
    }

    /// The connection that has been idle longest. Where all are at work, the one with the newest request: it is closed
    /// after its answer, and says so. Without that, a server full of clients at work would not answer a probe.
    fn most_dispensable(&self) -> Option<&Activity> {
        let open = || {
            self.activities
                .values()
                .filter(|activity| !activity.close.is_cancelled())
        };
        let idle = open().filter(|activity| activity.state().is_idle_for(EVICTABLE_AFTER));
        let at_work = open().filter(|activity| activity.state().phase == Phase::InFlight);
        let longest_idle = idle.min_by_key(|activity| activity.state().since);
        let activity = longest_idle.or_else(|| at_work.max_by_key(|activity| activity.state().since));
        activity.map(|activity| &**activity)
    }

    /// Waits until all connections have ended, and cuts off the others after `timeout`.
    pub(super) async fn drain(&mut self, timeout: Duration) {
        let drained = tokio::time::timeout(timeout, async { while self.ended().await.is_some() {} }).await;
        if drained.is_err() {
            let connections = self.tasks.len();
            tracing::warn!(connections, "cut off connections that had not ended in time");
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
struct State {
    phase: Phase,
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No request has come yet.
    Unused,
    /// HTTP/1.1 has one request at a time.
    InFlight,
    Idle,
}

impl State {
    fn is_idle_for(&self, time: Duration) -> bool {
        self.phase != Phase::InFlight && self.since.elapsed() >= time
    }
}

impl Activity {
    /// A new connection, which ends at `shutdown` at the latest.
    pub(super) fn new(shutdown: &CancellationToken) -> Self {
        let (phase, since) = (Phase::Unused, Instant::now());
        Self {
            state: Mutex::new(State { phase, since }),
            close: shutdown.child_token(),
        }
    }

    pub(super) fn is_unused(&self) -> bool {
        self.state().phase == Phase::Unused
    }

    fn state(&self) -> State {
        *self.state.lock()
    }

    fn enter(&self, phase: Phase) {
        let since = Instant::now();
        *self.state.lock() = State { phase, since };
    }
}

/// A request until the end of its response: counted, and its connection is at work.
#[derive(Debug)]
pub(super) struct InFlight {
    gauge: Gauge,
    activity: Arc<Activity>,
}

impl InFlight {
    pub(super) fn new(gauge: &Gauge, activity: &Arc<Activity>) -> Self {
        gauge.inc();
        activity.enter(Phase::InFlight);
        let (gauge, activity) = (gauge.clone(), Arc::clone(activity));
        Self { gauge, activity }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.gauge.dec();
        self.activity.enter(Phase::Idle);
    }
}
