//! Probes `/ready` of the other services, while somebody views the figures.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use poem::http::StatusCode;
use poem::http::uri::Authority;
use serde::Deserialize;
use service::client::{Address, Answer, Connection, NoAnswer};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::figures::Figures;
use crate::viewers::Viewers;

/// A service that says nothing for this long is away. With the pause between two probes, and that between two events, a
/// page knows within two seconds.
const PATIENCE: Duration = Duration::from_millis(700);

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
    name: String,
    address: Address,
    /// The connection that was used last, if it had an answer: a new one for each probe would cost twice as much.
    idle: Option<Connection>,
}

impl Probes {
    /// Probes until it is told to stop, and sleeps while there are no viewers.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        let mut rounds = interval(self.every);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let probe = async {
            loop {
                self.viewers.wait().await;
                rounds.tick().await;
                let round = self.services.iter_mut().map(|service| service.run(&self.figures));
                join_all(round).await;
            }
        };
        self.shutdown.run_until_cancelled(probe).await;
        Ok(())
    }
}

impl Probe {
    pub(crate) fn new(name: String, host: Authority) -> Self {
        Self {
            name,
            address: Address::new(host),
            idle: None,
        }
    }

    async fn run(&mut self, figures: &Figures) {
        let late = |_| Err(format!("no answer within {} ms", PATIENCE.as_millis()));
        let found = timeout(PATIENCE, self.ask()).await.unwrap_or_else(late);
        figures.record_readiness(&self.name, found);
    }

    /// Asks it whether it is ready.
    async fn ask(&mut self) -> Result<(), String> {
        let mut idle = self.idle.take();
        let usable = match &mut idle {
            Some(connection) => connection.is_usable().await,
            None => false,
        };
        let mut connection = match idle {
            Some(connection) if usable => connection,
            _ => self.address.connect().await.map_err(|error| format!("{error:#}"))?,
        };
        let answer = connection.send(self.address.get("/ready")).await;
        let Answer { status, body } = answer.map_err(NoAnswer::into_reason)?;
        self.idle = Some(connection);
        if status == StatusCode::OK {
            return Ok(());
        }
        Err(serde_json::from_slice(&body).map_or_else(|_| status.to_string(), |Problem { detail }| detail))
    }
}

/// What a service says that is not ready.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

#[cfg(test)]
mod tests {

    use serde_json::{Value, json};

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
                address: Address::of_hanging_resolver(host),
                idle: None,
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
