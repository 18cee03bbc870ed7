//! Counts the viewers of the figures. Readiness is probed only while there are some.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// A single request keeps probing active for this long, so that a polling script counts as a viewer.
const VIEWING_TIME: Duration = Duration::from_secs(10);

/// The viewers of the figures.
#[derive(Debug)]
pub(crate) struct Viewers(watch::Sender<State>);

#[derive(Clone, Copy, Debug)]
struct State {
    /// Clients that follow the events.
    followers: usize,
    /// The end of the time in which the last single request counts as a viewer.
    until: Instant,
}

impl State {
    fn any(&self) -> bool {
        self.followers > 0 || Instant::now() < self.until
    }
}

impl Default for Viewers {
    fn default() -> Self {
        Self(watch::Sender::new(State {
            followers: 0,
            until: Instant::now(),
        }))
    }
}

impl Viewers {
    /// Records a single request for the figures.
    pub(crate) fn asked(&self) {
        self.0.send_modify(|state| state.until = Instant::now() + VIEWING_TIME);
    }

    /// A client begins to follow the events.
    pub(crate) fn connected(&self) {
        self.0.send_modify(|state| state.followers += 1);
    }

    /// A client has ceased to follow them.
    pub(crate) fn disconnected(&self) {
        self.0.send_modify(|state| state.followers -= 1);
    }

    /// Returns `true` if there is a viewer.
    pub(crate) fn any(&self) -> bool {
        self.0.borrow().any()
    }

    /// Waits until there is a viewer.
    pub(crate) async fn wait(&self) {
        // An error would mean that this is gone.
        let _ = self.0.subscribe().wait_for(State::any).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn there_is_a_viewer_while_a_client_follows_and_for_a_while_after_a_question() {
        let viewers = Viewers::default();
        let waiting = async || tokio::time::timeout(VIEWING_TIME * 2, viewers.wait()).await.is_err();
        assert!(waiting().await && !viewers.any());
        viewers.asked();
        assert!(viewers.any() && !waiting().await);
        tokio::time::advance(VIEWING_TIME).await;
        assert!(!viewers.any());
        viewers.connected();
        tokio::time::advance(VIEWING_TIME * 2).await;
        assert!(viewers.any() && !waiting().await);
        viewers.disconnected();
        assert!(!viewers.any());
    }
}
