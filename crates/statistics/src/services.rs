//! The readiness of the other services, as of their last probes.

use std::time::Duration;

use domain::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

/// The broker among the services.
pub(crate) const KAFKA: &str = "kafka";
/// A service that was probed longer ago than this is probed again before its status is given out.
const FRESH: Duration = Duration::from_secs(3);
/// Timeout of a request for the figures that waits for such a probe.
const FRESH_TIMEOUT: Duration = Duration::from_millis(1200);

/// The readiness of the other services.
#[derive(Debug)]
pub(crate) struct Services {
    states: Mutex<Vec<State>>,
    probed: watch::Sender<()>,
}

/// One service.
#[derive(Debug)]
struct State {
    /// When it was probed last.
    probed: Option<Instant>,
    status: ServiceStatus,
}

/// One service, as `/api/statistics` shows it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ServiceStatus {
    name: String,
    /// The address that is probed.
    address: String,
    /// `None` until it was probed.
    ready: Option<bool>,
    /// When that was first found.
    since: Option<Timestamp>,
    /// Why it is not ready.
    reason: Option<String>,
}

impl Services {
    /// Services by name and address. Nothing is known of them yet.
    pub(crate) fn new(services: impl IntoIterator<Item = (String, String)>) -> Self {
        let state = |(name, address)| State {
            probed: None,
            status: ServiceStatus {
                name,
                address,
                ready: None,
                since: None,
                reason: None,
            },
        };
        Self {
            states: Mutex::new(services.into_iter().map(state).collect()),
            probed: watch::Sender::new(()),
        }
    }

    /// Records what a probe of a service has found. Returns whether that is news.
    pub(crate) fn record(&self, name: &str, found: Result<(), String>) -> bool {
        let news = {
            let mut states = self.states.lock();
            let Some(State { probed, status }) = states.iter_mut().find(|state| state.status.name == name) else {
                return false;
            };
            let (ready, reason) = (Some(found.is_ok()), found.err());
            let news = (status.ready, &status.reason) != (ready, &reason);
            if status.ready != ready {
                status.since = Some(Timestamp::now());
            }
            *probed = Some(Instant::now());
            (status.ready, status.reason) = (ready, reason);
            news
        };
        self.probed.send_replace(());
        news
    }

    /// The status of each.
    pub(crate) fn statuses(&self) -> Vec<ServiceStatus> {
        self.states.lock().iter().map(|state| state.status.clone()).collect()
    }

    /// Waits until all have been probed lately, but not for long.
    pub(crate) async fn fresh(&self) {
        let mut probed = self.probed.subscribe();
        let is_fresh = |state: &State| state.probed.is_some_and(|probed| probed.elapsed() < FRESH);
        let all = probed.wait_for(|()| self.states.lock().iter().all(is_fresh));
        // After the timeout, older statuses are shown.
        let _ = tokio::time::timeout(FRESH_TIMEOUT, all).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_state_has_its_reason_and_the_time_of_its_beginning() {
        let services = Services::new([("order-1".to_owned(), "order-1.order".to_owned())]);
        let status = || services.statuses().remove(0);
        assert_eq!((status().ready, status().since), (None, None));
        assert!(services.record("order-1", Ok(())), "it is the first probe");
        let ready = status();
        assert!(!services.record("order-1", Ok(())), "that is known");
        assert!(services.record("order-1", Err("starting".to_owned())));
        let away = status();
        assert_eq!((away.ready, away.reason.as_deref()), (Some(false), Some("starting")));
        assert!(
            services.record("order-1", Err("out of reach".to_owned())),
            "another reason"
        );
        let still_away = status();
        assert_eq!(
            (still_away.since, still_away.reason.as_deref()),
            (away.since, Some("out of reach"))
        );
        assert!(ready.since.is_some());
        assert!(!services.record("order-9", Ok(())), "it is none of them");
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_waits_for_a_probe_but_not_for_long() {
        let services = Services::new([("gateway".to_owned(), "gateway".to_owned())]);
        let begun = Instant::now();
        services.fresh().await;
        assert_eq!(begun.elapsed(), FRESH_TIMEOUT);
        services.record("gateway", Ok(()));
        let begun = Instant::now();
        services.fresh().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        tokio::time::advance(FRESH).await;
        let probe = async {
            tokio::time::sleep(FRESH_TIMEOUT / 2).await;
            services.record("gateway", Ok(()));
        };
        tokio::join!(services.fresh(), probe);
        assert_eq!(begun.elapsed(), FRESH + FRESH_TIMEOUT / 2);
    }
}
