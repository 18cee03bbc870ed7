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

use anyhow::Context as _;
use domain::{Partition, Replicas};
use poem::http::Uri;
use poem::http::uri::Authority;
use serde::{Deserialize, Serialize};
use service::client::{Address, Upstream};
use service::{Context, Tasks};

use crate::courier::Courier;
use crate::inbox::Inbox;
use crate::metrics::Metrics;
use crate::routes::State;
use crate::tracking::Repository;

/// The configuration of the gateway.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address of each order service.
    pub orders: BTreeMap<Partition, Uri>,
    /// The address of each repository.
    pub repositories: BTreeMap<Partition, Uri>,
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

impl Settings {
    /// The address of each order service.
    ///
    /// # Errors
    /// When `order_url` cannot be used, with the reason.
    pub fn orders(&self, replicas: Replicas) -> Result<BTreeMap<Partition, Uri>, String> {
        addresses(&self.order_url, replicas)
    }

    /// The address of each repository.
    ///
    /// # Errors
    /// When `repository_url` cannot be used, with the reason.
    pub fn repositories(&self, replicas: Replicas) -> Result<BTreeMap<Partition, Uri>, String> {
        addresses(&self.repository_url, replicas)
    }
}

/// The address of each replica, from a URL with `{ordinal}` for its number.
fn addresses(pattern: &str, replicas: Replicas) -> Result<BTreeMap<Partition, Uri>, String> {
    let url = |partition: Partition| {
        let url = pattern.replace("{ordinal}", &partition.to_string());
        let uri = url.parse::<Uri>().ok().filter(|uri| {
            uri.scheme_str() == Some("http") && uri.host().is_some_and(|host| !host.is_empty()) && uri.path() == "/"
        });
        uri.map(|uri| (partition, uri))
            .ok_or_else(|| format!("expected http://HOST or http://HOST:PORT, with {{ordinal}} for N, found {url:?}"))
    };
    if replicas.get() > 1 && !pattern.contains("{ordinal}") {
        return Err(format!("expected {{ordinal}} in it, found {pattern:?}"));
    }
    replicas.partitions().map(url).collect()
}

/// The host of a replica.
fn host(addresses: &BTreeMap<Partition, Uri>, partition: Partition, service: &str) -> anyhow::Result<Authority> {
    let host = addresses.get(&partition).and_then(Uri::authority);
    host.cloned()
        .with_context(|| format!("expected an address of {service}-{partition}, found none"))
}

/// Runs the gateway until it is asked to stop: then what is in flight is answered.
///
/// # Errors
/// When an order service has no address, or the server breaks.
pub async fn run(config: Config, mut context: Context) -> anyhow::Result<()> {
    let metrics = Metrics::register(&mut context.metrics, config.replicas);
    let mut tasks = Tasks::new(&context.shutdown);
    let (mut senders, mut repositories) = (BTreeMap::new(), BTreeMap::new());
    for partition in config.replicas.partitions() {
        let host = self::host(&config.orders, partition, "order")?;
        let (in_flight, max_in_flight) = (metrics.in_flight(partition), config.settings.max_in_flight.get());
        let (sender, inbox) = Inbox::new(&context.name, partition, in_flight, max_in_flight);
        senders.insert(partition, sender);
        let courier = Courier::new(inbox, Address::new(host), metrics.batch_orders.clone());
        // A courier ends once no order can be handed in any more: after `shutdown`, when the server has finished.
        tasks.spawn("courier", async {
            courier.run().await;
            Ok(())
        });
        let host = self::host(&config.repositories, partition, "repository")?;
        let upstream = Upstream::new(&format!("repository-{partition}"), host);
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
    fn every_order_service_has_an_address_of_its_own() {
        let found = Settings::default().orders(Replicas::THREE).expect("addresses");
        assert_eq!(
            found.values().map(Uri::to_string).collect::<Vec<_>>(),
            [
                "http://order-0.order/",
                "http://order-1.order/",
                "http://order-2.order/"
            ]
        );
        let local = Settings {
            order_url: "http://127.0.0.1:810{ordinal}".to_owned(),
            ..Settings::default()
        };
        let found = local.orders(Replicas::THREE).expect("addresses");
        assert_eq!(found.values().last().and_then(Uri::port_u16), Some(8102));
    }

    #[test]
    fn an_address_that_cannot_be_used_is_named() {
        for order_url in [
            "order-{ordinal}",
            "https://order-{ordinal}",
            "http://order",
            "http://order-{ordinal}/x",
            "",
        ] {
            let settings = Settings {
                order_url: order_url.to_owned(),
                ..Settings::default()
            };
            let error = settings.orders(Replicas::THREE).expect_err(order_url);
            assert!(error.contains("found"), "{error}");
        }
    }
}
