//! Whether somebody looks: what costs something is done only then.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Who asked for the figures looks at them for this long: as long as a script waits between two questions.
const ATTENTION: Duration = Duration::from_secs(10);

/// Those who look at the figures.
#[derive(Debug)]
pub(crate) struct Audience(watch::Sender<Looking>);

#[derive(Clone, Copy, Debug)]
struct Looking {
    /// Clients that follow the events.
    followers: usize,
    /// Until when somebody looks who asked once.
    until: Instant,
}

impl Looking {
    fn is_so(&self) -> bool {
        self.followers > 0 || Instant::now() < self.until
    }
}

impl Default for Audience {
    fn default() -> Self {
        Self(watch::Sender::new(Looking {
            followers: 0,
            until: Instant::now(),
        }))
    }
}

impl Audience {
    /// Somebody has asked for the figures.
    pub(crate) fn asked(&self) {
        self.0.send_modify(|looking| looking.until = Instant::now() + ATTENTION);
    }

    /// Somebody follows the events.
    pub(crate) fn came(&self) {
        self.0.send_modify(|looking| looking.followers += 1);
    }

    /// Somebody does so no more.
    pub(crate) fn went(&self) {
        self.0.send_modify(|looking| looking.followers -= 1);
    }

    /// Whether somebody looks.
    pub(crate) fn is_there(&self) -> bool {
        self.0.borrow().is_so()
    }

    /// Waits until somebody looks.
    pub(crate) async fn wait(&self) {
        // An error would mean that this is gone.
        let _ = self.0.subscribe().wait_for(Looking::is_so).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn somebody_looks_while_he_follows_and_for_a_while_after_he_has_asked() {
        let audience = Audience::default();
        let waiting = async || tokio::time::timeout(ATTENTION * 2, audience.wait()).await.is_err();
        assert!(waiting().await && !audience.is_there());
        audience.asked();
        assert!(audience.is_there() && !waiting().await);
        tokio::time::advance(ATTENTION).await;
        assert!(!audience.is_there());
        audience.came();
        tokio::time::advance(ATTENTION * 2).await;
        assert!(audience.is_there() && !waiting().await);
        audience.went();
        assert!(!audience.is_there());
    }
}
