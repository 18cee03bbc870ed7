//! statistics: counts everything that is in the log.
//!
//! The figures and the exact offsets up to which they count are one thing, and a snapshot of it is kept in topic
//! `statistics`: a start reads only what came after. A snapshot of another log is discarded, and the log is read from its
//! start; so two of these services may run at the same time, and retention may remove what has been counted.
//!
//! `snapshots` reads the last snapshot and writes others, `regions` finds out which regions there are, and `region` counts
//! one of them after `start` has proved its figures. `routes` and `metrics` show the figures. While there are `viewers`,
//! `probes` asks the other services whether they are ready, and `page` shows all of it to people.

mod figures;
mod journey;
mod metrics;
mod page;
mod probes;
mod recent;
mod region;
mod regions;
mod routes;
mod services;
mod snapshots;
mod start;
mod viewers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use domain::{Partition, Topic};
use kafka::{Consumer, Fetch};
use poem::http::uri::Authority;
use serde::{Deserialize, Serialize};
use service::client::{Address, Upstream, parse_server};
use service::{Context, Tasks};
use tokio::sync::SetOnce;

use crate::figures::Figures;
use crate::probes::{Probe, Probes};
use crate::regions::Regions;
use crate::routes::State;
use crate::services::{KAFKA, Services};
use crate::snapshots::Snapshots;
use crate::viewers::Viewers;

/// The name of this service, and the group of its consumers, which commits nothing.
const GROUP: &str = "statistics";

/// The configuration of statistics.
#[derive(Clone, Debug)]
pub struct Config {
    /// The broker.
    pub kafka: kafka::Config,
    /// The host of each order service.
    pub orders: BTreeMap<Partition, Authority>,
    /// The host of each repository.
    pub repositories: BTreeMap<Partition, Authority>,
    /// The settings.
    pub settings: Settings,
}

/// The settings of statistics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The URL of the gateway.
    pub gateway_url: String,
    /// The URL of the gateway for readers of the page, in the commands that the page shows.
    pub public_gateway_url: String,
    /// The time between two probes of `/ready` of the other services, while there are viewers; zero: no probes.
    #[serde(with = "humantime_serde")]
    pub readiness_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // The name of its Service in a cluster, and of its container in Compose.
            gateway_url: "http://gateway".to_owned(),
            public_gateway_url: "http://127.0.0.1:8080".to_owned(),
            // With it, a page shows within two seconds that a service is away.
            readiness_interval: Duration::from_secs(1),
        }
    }
}

/// The shortest time between two probes: they are not to be what keeps the others busy.
const MIN_READINESS_INTERVAL: Duration = Duration::from_millis(100);

impl Settings {
    /// The address of the gateway.
    ///
    /// # Errors
    /// When `gateway_url` is not the URL of a server.
    pub fn gateway(&self) -> Result<Authority, String> {
        let found = &self.gateway_url;
        parse_server(found, "http").ok_or_else(|| format!("expected http://HOST or http://HOST:PORT, found {found:?}"))
    }

    /// The URL of the gateway for readers of the page, without a slash at its end.
    ///
    /// # Errors
    /// When `public_gateway_url` is not the URL of a server.
    pub fn public_gateway(&self) -> Result<String, String> {
        let found = &self.public_gateway_url;
        let url = |scheme| Some(format!("{scheme}://{}", parse_server(found, scheme)?));
        url("http")
            .or_else(|| url("https"))
            .ok_or_else(|| format!("expected http://HOST, https://HOST or one of these with a port, found {found:?}"))
    }

    /// Returns each setting that cannot be used, with the reason.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let gateway = self.gateway().err().map(|error| ("statistics.gateway_url", error));
        let public = self.public_gateway().err();
        let public = public.map(|error| ("statistics.public_gateway_url", error));
        let often = !self.readiness_interval.is_zero() && self.readiness_interval < MIN_READINESS_INTERVAL;
        let often = often.then(|| {
            let found = self.readiness_interval;
            let problem = format!("expected 0s, or at least {MIN_READINESS_INTERVAL:?}, found {found:?}");
            ("statistics.readiness_interval", problem)
        });
        [gateway, public, often].into_iter().flatten().collect()
    }
}

impl Config {
    /// The services that are probed, in the order of an order's way.
    fn probed(&self, gateway: &Authority) -> Vec<(String, Authority)> {
        let replicas = |name: &'static str, hosts: &BTreeMap<Partition, Authority>| -> Vec<_> {
            let replica = |(partition, host): (&Partition, &Authority)| (format!("{name}-{partition}"), host.clone());
            hosts.iter().map(replica).collect()
        };
        let mut all = vec![("gateway".to_owned(), gateway.clone())];
        all.extend(replicas("order", &self.orders));
        all.extend(replicas("repository", &self.repositories));
        all
    }
}

/// Runs statistics until it is asked to stop.
///
/// # Errors
/// When a client cannot be made. Neither an outage of the broker nor a lost position is an error: the figures stay what
/// they are, or are counted anew.
pub async fn run(config: Config, mut context: Context) -> anyhow::Result<()> {
    let gateway = config.settings.gateway().map_err(anyhow::Error::msg)?;
    let public_gateway_url = config.settings.public_gateway().map_err(anyhow::Error::msg)?;
    let every = Some(config.settings.readiness_interval).filter(|interval| !interval.is_zero());
    let probed = every.map_or_else(Vec::new, |_| config.probed(&gateway));
    let addresses = probed.iter().map(|(name, host)| (name.clone(), host.to_string()));
    let broker = every.map(|_| (KAFKA.to_owned(), config.kafka.bootstrap_servers.clone()));
    let figures = Arc::new(Figures::new(Services::new(addresses.chain(broker))));
    let (viewers, restored) = (Arc::new(Viewers::default()), Arc::new(SetOnce::new()));
    let snapshots = Snapshots {
        kafka: config.kafka.clone(),
        service: context.name.clone(),
        figures: Arc::clone(&figures),
        restored: Arc::clone(&restored),
        latch: context.readiness.latch("reading the snapshot"),
        shutdown: context.shutdown.clone(),
    };
    let client_id = format!("{}-partitions", context.name);
    let order = Topic::Order.name();
    let regions = Regions {
        consumer: Consumer::new(&config.kafka, &client_id, GROUP, order, Fetch::Sparse)
            .context("could not make a consumer")?,
        kafka: config.kafka,
        service: context.name.clone(),
        figures: Arc::clone(&figures),
        restored,
        latch: context.readiness.latch("reading the log"),
        viewers: every.map(|_| Arc::clone(&viewers)),
        shutdown: context.shutdown.clone(),
    };
    let mut tasks = Tasks::new(&context.shutdown);
    tasks.spawn("snapshots", snapshots.run());
    tasks.spawn_blocking("regions", move || regions.run());
    if let Some(every) = every {
        let services = probed.into_iter().map(|(name, host)| Probe {
            upstream: Upstream::new(&name, Address::new(host)),
            name,
        });
        let probes = Probes {
            services: services.collect(),
            every,
            figures: Arc::clone(&figures),
            viewers: Arc::clone(&viewers),
            shutdown: context.shutdown.clone(),
        };
        tasks.spawn("probes", probes.run());
    }
    let (publisher, shutdown) = (Arc::clone(&figures), context.shutdown.clone());
    tasks.spawn("events", async move { publisher.publish_changes(&shutdown).await });
    let event_clients = metrics::register(&mut context.metrics, Arc::clone(&figures));
    let state = State::new(
        figures,
        viewers,
        public_gateway_url,
        event_clients,
        context.shutdown.clone(),
    );
    let routes = page::add_to(journey::add_to(routes::routes(state), gateway));
    let home = page::home("statistics: counts the orders and shipments of all regions\n");
    tasks.spawn("http", service::http::serve_with_home(context, home, routes));
    tasks.join().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_url_of_the_gateway_is_a_server_and_nothing_else() {
        let public = |url: &str| {
            let public_gateway_url = url.to_owned();
            let settings = Settings {
                public_gateway_url,
                ..Settings::default()
            };
            settings.public_gateway().ok()
        };
        assert_eq!(
            public("http://127.0.0.1:8080"),
            Some("http://127.0.0.1:8080".to_owned())
        );
        assert_eq!(
            public("https://mall.example.com/"),
            Some("https://mall.example.com".to_owned())
        );
        for url in [
            "",
            "mall.example.com",
            "ftp://mall",
            "http://",
            "http://mall/orders",
            "http://mall?a=b",
            "javascript:alert(1)",
        ] {
            assert_eq!(public(url), None, "{url}");
        }
    }
}
