//! A broker and a mall on it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use domain::{Partition, Replicas};
use kafka::topics::{self, Cleanup, Options, Topic};
use mall::embedded::{Cluster, Config, Mall};
use mall::{Instance, Services};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Client, PATIENCE, eventually, read};

/// Which broker a test runs on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Broker {
    /// librdkafka's, in the process of the test.
    Mock,
    /// The one that `MALL_TEST_KAFKA` names.
    Real,
}

/// The real broker, with topics of the test's own.
pub(crate) fn real_kafka() -> kafka::Config {
    kafka_at(needed("MALL_TEST_KAFKA"))
}

/// A real broker, with topics of the test's own.
pub(crate) fn kafka_at(bootstrap_servers: String) -> kafka::Config {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let prefix = format!("test-{}-{}-", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    kafka::Config {
        bootstrap_servers,
        prefix,
        ..kafka::Config::default()
    }
}

/// What an ignored test needs from its surroundings.
pub(crate) fn needed(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("this test needs {variable}: see .ci/run for what it names"))
}

/// A mall of three regions with all defaults, on addresses of the kernel's choice.
pub(crate) fn config(kafka: kafka::Config) -> Config {
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Config {
        services: Services {
            replicas: Replicas::THREE,
            kafka,
            // The mall knows where its services are.
            orders: BTreeMap::new(),
            repositories: BTreeMap::new(),
            gateway: gateway::Settings::default(),
            repository: repository::Settings::default(),
            statistics: statistics::Settings::default(),
        },
        gateway_listen: anywhere,
        statistics_listen: anywhere,
    }
}

/// One of three partitions.
pub(crate) fn partition(number: u16) -> Partition {
    Replicas::THREE
        .parse_partition(&number.to_string())
        .expect("one of three")
}

/// A broker, a mall on it, and a client.
pub(crate) struct Stage {
    pub(crate) mall: Mall,
    pub(crate) client: Client,
    pub(crate) kafka: kafka::Config,
    /// Its fields are dropped in their order: the broker outlives its clients.
    cluster: Option<Cluster>,
}

impl Stage {
    /// A mall on one broker or the other, with all defaults.
    pub(crate) async fn open(broker: Broker) -> Self {
        match broker {
            Broker::Mock => Self::on_mock(|_| {}).await,
            Broker::Real => Self::on_real(real_kafka()).await,
        }
    }

    /// A mall on the real broker.
    pub(crate) async fn on_real(kafka: kafka::Config) -> Self {
        create_topics(&kafka, 3).await;
        Self::on(kafka, None, |_| {}).await
    }

    /// A mall on the mock, with settings of its own.
    pub(crate) async fn on_mock(adjust: impl FnOnce(&mut Services)) -> Self {
        let cluster = Cluster::start(Replicas::THREE).expect("a broker");
        Self::on(cluster.config(), Some(cluster), adjust).await
    }

    async fn on(kafka: kafka::Config, cluster: Option<Cluster>, adjust: impl FnOnce(&mut Services)) -> Self {
        let mut config = config(kafka.clone());
        adjust(&mut config.services);
        let mut mall = Mall::open(config).await.expect("a mall");
        mall.ready(PATIENCE).await.expect("ready");
        Self {
            mall,
            client: Client::new(),
            kafka,
            cluster,
        }
    }

    /// The mock broker, to break it.
    pub(crate) fn cluster(&self) -> &Cluster {
        self.cluster.as_ref().expect("a mock broker")
    }

    pub(crate) fn gateway(&self) -> SocketAddr {
        self.address(Instance::Gateway)
    }

    pub(crate) fn address(&self, instance: Instance) -> SocketAddr {
        self.mall.address(instance).expect("a running service")
    }

    pub(crate) async fn statistics(&self) -> Value {
        self.client
            .get(self.address(Instance::Statistics), "/api/statistics")
            .await
            .json()
    }

    /// Waits until statistics has counted this many orders and none of them waits.
    pub(crate) async fn settled(&self, orders: u64) -> Value {
        eventually(&format!("{orders} orders are counted and have outcomes"), async || {
            let total = self.statistics().await["total"].take();
            let outcomes = ["shipped", "duplicates"]
                .iter()
                .filter_map(|name| total[name].as_u64())
                .sum::<u64>();
            total["orders"] == orders && outcomes == orders
        })
        .await;
        self.statistics().await
    }

    /// Stops a service, starts it again, and waits until all are ready.
    pub(crate) async fn restart(&mut self, instance: Instance) {
        self.mall.stop(instance).await.expect("stopped");
        self.mall.start(instance).await.expect("started");
        self.mall.ready(PATIENCE).await.expect("ready");
    }

    /// How many records there are in topic `order`.
    pub(crate) async fn orders(&self) -> u64 {
        let mut orders = 0;
        for partition in 0..3 {
            orders += read(&self.kafka, "order", partition).await.len() as u64;
        }
        orders
    }

    /// Stops everything, within the time that a process has.
    pub(crate) async fn close(mut self) {
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        let stopped = tokio::time::timeout(Duration::from_secs(10), self.mall.run(&shutdown)).await;
        stopped.expect("stopped in time").expect("stopped without a failure");
    }
}

impl Drop for Stage {
    /// A test that has failed leaves its clients to be closed later: they would wait for a broker that is gone.
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::mem::forget(self.cluster.take());
        }
    }
}

/// Creates the topics of a mall on a real broker.
pub(crate) async fn create_topics(kafka: &kafka::Config, partitions: usize) {
    let topic = |name, partitions, cleanup| Topic {
        name,
        partitions,
        cleanup,
    };
    let topics = [
        topic("order", partitions, Cleanup::Delete),
        topic("shipment", partitions, Cleanup::Delete),
        topic("statistics", 1, Cleanup::Compact),
    ];
    topics::ensure(kafka, &topics::Config::default(), &topics, Options::default())
        .await
        .expect("topics");
}
