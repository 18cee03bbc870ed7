//! Probes `/ready` of the other services while the figures have viewers.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use poem::http::StatusCode;
use serde::Deserialize;
use service::client::Upstream;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::figures::Figures;
use crate::viewers::Viewers;

/// A service that says nothing for this long is away. With the pause between two probes, and that between two events, a
/// page knows within two seconds.
const PROBE_TIMEOUT: Duration = Duration::from_millis(700);

/// Probes the services, one round after another.
#[derive(Debug)]
pub(crate) struct Probes {
    pub(crate) services: Vec<Probe>,
    /// The time between two rounds.
    pub(crate) every: Duration,
    pub(crate) figures: Arc<Figures>,
    pub(crate) viewers: Arc<Viewers>,
    pub(crate) shutdown: CancellationToken,
}

/// Asks one service whether it is ready.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) name: String,
    pub(crate) upstream: Upstream,
}

impl Probes {
    /// Probes until it is told to stop, and sleeps while there are no viewers.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut rounds = interval(self.every);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let probe = async {
            loop {
                self.viewers.wait().await;
                rounds.tick().await;
                let round = self.services.iter().map(|service| service.run(&self.figures));
                join_all(round).await;
            }
        };
        self.shutdown.run_until_cancelled(probe).await;
        Ok(())
    }
}

impl Probe {
    async fn run(&self, figures: &Figures) {
        let late = |_| Err(format!("no answer within {} ms", PROBE_TIMEOUT.as_millis()));
        let found = timeout(PROBE_TIMEOUT, self.ask()).await.unwrap_or_else(late);
        figures.record_readiness(&self.name, found);
    }

    /// Asks it whether it is ready.
    async fn ask(&self) -> Result<(), String> {
        let answer = self.upstream.get("/ready").await?;
        let status = answer.status();
        if status == StatusCode::OK {
            return Ok(());
        }
        Err(serde_json::from_slice(answer.body()).map_or_else(|_| status.to_string(), |Problem { detail }| detail))
    }
}

/// The answer of a service that is not ready.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

#[cfg(test)]
mod tests {
    use poem::http::uri::Authority;
    use serde_json::{Value, json};
    use service::client::Address;

    use super::*;
    use crate::services::Services;

    #[tokio::test(start_paused = true)]
    async fn a_service_is_probed_only_while_there_are_viewers() {
        let host = Authority::from_static("order-1.order");
        let figures = Arc::new(Figures::new(Services::new([("order-1".to_owned(), host.to_string())])));
        let viewers = Arc::new(Viewers::default());
        let probes = Probes {
            services: vec![Probe {
                name: "order-1".to_owned(),
                upstream: Upstream::new("order-1", Address::of_hanging_resolver(host)),
            }],
            every: Duration::from_secs(1),
            figures: Arc::clone(&figures),
            viewers: Arc::clone(&viewers),
            shutdown: CancellationToken::new(),
        };
        tokio::spawn(probes.run());
        let status = || serde_json::to_value(figures.services.statuses()).expect("JSON")[0].take();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(status()["ready"], Value::Null);
        viewers.asked();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(status()["ready"], json!(false));
        assert_eq!(status()["reason"], "no connection within 500ms");
    }
}
