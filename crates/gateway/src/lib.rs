//! Takes orders over HTTP, checks them, and passes each to the order service of its region.
//!
//! `order_request` reads what a client sent into types that cannot be wrong. One `courier` for each region takes the
//! orders that are `waiting` in its `inbox` over a connection to order-N; `answer` says what an answer means for
//! each of them. `tracking` asks repository-N where an order is. No host name is ever built from text that a client sent.
//!
//! Behind the border of `service::client`: `NoAnswer::NotSent` is a request of which not a byte has left this process, and
//! every other failure is `NoAnswer::Lost`.

mod answer;
mod courier;
mod inbox;
mod metrics;
mod order_request;
mod routes;
mod tracking;
mod waiting;

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use domain::{Partition, Replicas};
use poem::http::uri::Authority;
use serde::{Deserialize, Serialize};
use service::client::{Address, Upstream, parse_server};
use service::{Context, Tasks};

use crate::courier::Courier;
use crate::inbox::Inbox;
use crate::metrics::Metrics;
use crate::routes::State;
use crate::tracking::Repository;

/// The configuration of the gateway.
#[derive(Clone, Debug)]
pub struct Config {
    /// The host of each order service.
    pub orders: BTreeMap<Partition, Authority>,
    /// The host of each repository.
    pub repositories: BTreeMap<Partition, Authority>,
    /// The number of regions.
    pub replicas: Replicas,
    /// The settings.
    pub settings: Settings,
}

/// The settings of the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The URL of order-N: `{ordinal}` stands for N.
    pub order_url: String,
    /// The URL of repository-N: `{ordinal}` stands for N.
    pub repository_url: String,
    /// Orders of one region that may be in flight. More are refused with 503.
    pub max_in_flight: NonZeroU32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // The name of a StatefulSet's pod within its namespace, and its alias in Compose.
            order_url: "http://order-{ordinal}.order".to_owned(),
            repository_url: "http://repository-{ordinal}.repository".to_owned(),
            // Four full batches. Each order takes about 20 KiB with its connection.
            max_in_flight: const { NonZeroU32::new(1024).unwrap() },
        }
    }
}

/// The host of each replica, from a URL with `{ordinal}` for its number.
///
/// # Errors
/// When it is not such a URL.
pub fn hosts(pattern: &str, replicas: Replicas) -> Result<BTreeMap<Partition, Authority>, String> {
    if replicas.get() > 1 && !pattern.contains("{ordinal}") {
        return Err(format!("expected {{ordinal}} in it, found {pattern:?}"));
    }
    let host = |partition: Partition| {
        let url = pattern.replace("{ordinal}", &partition.to_string());
        parse_server(&url, "http")
            .map(|host| (partition, host))
            .ok_or_else(|| format!("expected http://HOST or http://HOST:PORT, with {{ordinal}} for N, found {url:?}"))
    };
    replicas.partitions().map(host).collect()
}

/// Runs the gateway until it is asked to stop: then what is in flight is answered.
///
/// # Errors
/// When a replica has no host, or the server breaks.
pub async fn run(config: Config, mut context: Context) -> anyhow::Result<()> {
    let metrics = Metrics::register(&mut context.metrics, config.replicas);
    let mut tasks = Tasks::new(&context.shutdown);
    for (service, hosts) in [("order", &config.orders), ("repository", &config.repositories)] {
        anyhow::ensure!(
            hosts.keys().copied().eq(config.replicas.partitions()),
            "expected a host of each {service}-N, found {hosts:?}"
        );
    }
    let (mut senders, mut repositories) = (BTreeMap::new(), BTreeMap::new());
    for ((partition, order), repository) in config.orders.into_iter().zip(config.repositories.into_values()) {
        let (in_flight, max_in_flight) = (metrics.in_flight(partition), config.settings.max_in_flight.get());
        let (sender, inbox) = Inbox::new(&context.name, partition, in_flight, max_in_flight);
        senders.insert(partition, sender);
        let courier = Courier::new(inbox, Address::new(order), metrics.batch_orders.clone());
        // A courier ends once no order can be handed in any more: after `shutdown`, when the server has finished.
        tasks.spawn("courier", async {
            courier.run().await;
            Ok(())
        });
        let upstream = Upstream::new(&format!("repository-{partition}"), Address::new(repository));
        repositories.insert(partition, Repository::new(upstream));
    }
    let state = State {
        name: context.name.clone(),
        replicas: config.replicas,
        senders,
        metrics,
    };
    tasks.spawn(
        "http",
        service::http::serve(
            context,
            "gateway: takes orders at POST /submit-order",
            tracking::add_to(routes::routes(state), repositories),
        ),
    );
    tasks.join().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_service_has_a_host_of_its_own() {
        let hosts = |url: &str| {
            let found = hosts(url, Replicas::THREE).expect("hosts");
            found.values().map(Authority::to_string).collect::<Vec<_>>()
        };
        let expected = ["order-0.order", "order-1.order", "order-2.order"];
        assert_eq!(hosts(&Settings::default().order_url), expected);
        assert_eq!(hosts("http://127.0.0.1:810{ordinal}")[2], "127.0.0.1:8102");
    }

    #[test]
    fn a_url_that_cannot_be_used_is_named() {
        for url in [
            "order-{ordinal}",
            "https://order-{ordinal}",
            "http://order",
            "http://order-{ordinal}/x",
            "",
        ] {
            let error = hosts(url, Replicas::THREE).expect_err(url);
            assert!(error.contains("found"), "{error}");
        }
    }
}
