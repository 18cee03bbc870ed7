//! Who is ready and who is not, as statistics has seen it.

use std::time::Duration;

use domain::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

/// The broker among the services.
pub(crate) const KAFKA: &str = "kafka";
/// What was seen longer ago than this is looked at again before it is told.
const FRESH: Duration = Duration::from_secs(3);
/// How long a question for the figures waits for such a look.
const PATIENCE: Duration = Duration::from_millis(1200);

/// Who is ready and who is not.
#[derive(Debug)]
pub(crate) struct Services {
    states: Mutex<Vec<State>>,
    seen: watch::Sender<()>,
}

/// One service.
#[derive(Debug)]
struct State {
    seen: Option<Instant>,
    told: Told,
}

/// One service, as it is told.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Told {
    name: String,
    /// Where it is asked.
    address: String,
    /// `None` until it was looked at.
    ready: Option<bool>,
    /// When that was first seen.
    since: Option<Timestamp>,
    /// Why it is not ready.
    reason: Option<String>,
}

impl Services {
    /// Services by name and address. Nothing is known of them yet.
    pub(crate) fn new(services: impl IntoIterator<Item = (String, String)>) -> Self {
        let state = |(name, address)| State {
            seen: None,
            told: Told {
                name,
                address,
                ready: None,
                since: None,
                reason: None,
            },
        };
        Self {
            states: Mutex::new(services.into_iter().map(state).collect()),
            seen: watch::Sender::new(()),
        }
    }

    /// What a look at a service has found. Returns whether that is news.
    pub(crate) fn see(&self, name: &str, found: Result<(), String>) -> bool {
        let news = {
            let mut states = self.states.lock();
            let Some(State { seen, told }) = states.iter_mut().find(|state| state.told.name == name) else {
                return false;
            };
            let (ready, reason) = (Some(found.is_ok()), found.err());
            let news = (told.ready, &told.reason) != (ready, &reason);
            if told.ready != ready {
                told.since = Some(Timestamp::now());
            }
            *seen = Some(Instant::now());
            (told.ready, told.reason) = (ready, reason);
            news
        };
        self.seen.send_replace(());
        news
    }

    /// All of them.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.states.lock().iter().map(|state| state.told.clone()).collect()
    }

    /// Waits until all have been looked at lately, but not for long.
    pub(crate) async fn fresh(&self) {
        let mut seen = self.seen.subscribe();
        let is_fresh = |state: &State| state.seen.is_some_and(|seen| seen.elapsed() < FRESH);
        let all = seen.wait_for(|()| self.states.lock().iter().all(is_fresh));
        // What is not fresh by then is told as it is.
        let _ = tokio::time::timeout(PATIENCE, all).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_state_has_its_reason_and_the_time_of_its_beginning() {
        let services = Services::new([("order-1".to_owned(), "order-1.order".to_owned())]);
        let told = || services.told().remove(0);
        assert_eq!((told().ready, told().since), (None, None));
        assert!(services.see("order-1", Ok(())), "it is the first look");
        let ready = told();
        assert!(!services.see("order-1", Ok(())), "that is known");
        assert!(services.see("order-1", Err("starting".to_owned())));
        let away = told();
        assert_eq!((away.ready, away.reason.as_deref()), (Some(false), Some("starting")));
        assert!(
            services.see("order-1", Err("out of reach".to_owned())),
            "another reason"
        );
        let still_away = told();
        assert_eq!(
            (still_away.since, still_away.reason.as_deref()),
            (away.since, Some("out of reach"))
        );
        assert!(ready.since.is_some());
        assert!(!services.see("order-9", Ok(())), "it is none of them");
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_waits_for_a_look_but_not_for_long() {
        let services = Services::new([("gateway".to_owned(), "gateway".to_owned())]);
        let begun = Instant::now();
        services.fresh().await;
        assert_eq!(begun.elapsed(), PATIENCE);
        services.see("gateway", Ok(()));
        let begun = Instant::now();
        services.fresh().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        tokio::time::advance(FRESH).await;
        let look = async {
            tokio::time::sleep(PATIENCE / 2).await;
            services.see("gateway", Ok(()));
        };
        tokio::join!(services.fresh(), look);
        assert_eq!(begun.elapsed(), FRESH + PATIENCE / 2);
    }
}
