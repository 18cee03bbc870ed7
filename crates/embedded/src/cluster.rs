//! A broker that lives in this process.

use std::time::Duration;

use anyhow::Context as _;
use domain::Replicas;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

/// librdkafka's mock broker empties its wake-up pipe after it has answered: it misses a request that comes in between,
/// until it looks by itself a second later.
const SETTLE: Duration = Duration::from_millis(5);

/// librdkafka's mock broker: real TCP on loopback, a port of the kernel's choice, nothing kept after the process ends.
///
/// It keeps 5 MiB or 100,000 batches of each partition. Transactions are accepted but neither isolated nor fenced: what
/// holds here holds by the records alone, and what rests on transactions is tested on a real broker.
pub struct Cluster {
    mock: MockCluster<'static, DefaultProducerContext>,
}

impl Cluster {
    /// Starts one broker with the topics of the mall.
    ///
    /// # Errors
    /// When librdkafka cannot listen on loopback.
    pub fn start(replicas: Replicas) -> anyhow::Result<Self> {
        let mock = MockCluster::new(1).context("could not start the broker")?;
        for topic in ["order", "shipment"] {
            mock.create_topic(topic, i32::from(replicas.get()), 1)
                .with_context(|| format!("could not create topic {topic}"))?;
            std::thread::sleep(SETTLE);
        }
        Ok(Self { mock })
    }

    /// How to talk to it.
    pub fn config(&self) -> kafka::Config {
        let mut config = kafka::Config {
            bootstrap_servers: self.mock.bootstrap_servers(),
            ..kafka::Config::default()
        };
        // A real broker answers a fetch when there is a record; this one always waits the full time, 500 ms by default.
        config.properties.set("fetch.wait.max.ms", "10");
        // It answers with one request's records at a time, a real one with all that fit: read ahead.
        config.properties.set("queued.min.messages", "1000");
        config
    }

    /// The broker itself, to break it on purpose.
    pub fn mock(&self) -> &MockCluster<'static, DefaultProducerContext> {
        &self.mock
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Cluster")
            .field("bootstrap_servers", &self.mock.bootstrap_servers())
            .finish()
    }
}
