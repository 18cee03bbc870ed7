//! A broker that lives in this process.

use std::time::Duration;

use anyhow::Context as _;
use domain::Replicas;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

/// A pause between two calls of the mock broker. One that comes right after the answer to another is lost in its wake-up
/// pipe, and handled only when its timer of one second runs out.
const SETTLE: Duration = Duration::from_millis(5);

/// librdkafka's mock broker: real TCP on loopback, a port of the kernel's choice, nothing kept after the process ends.
///
/// It keeps 5 MiB or 100,000 batches of each partition. It accepts transactions, but neither isolates nor fences them:
/// guarantees that rest on transactions are tested on a real broker.
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
        let regions = i32::from(replicas.get());
        for (topic, partitions) in [("order", regions), ("shipment", regions), ("statistics", 1)] {
            mock.create_topic(topic, partitions, 1)
                .with_context(|| format!("could not create topic {topic}"))?;
            std::thread::sleep(SETTLE);
        }
        Ok(Self { mock })
    }

    /// The configuration of a client for it.
    pub fn config(&self) -> kafka::Config {
        let mut config = kafka::Config {
            bootstrap_servers: self.mock.bootstrap_servers(),
            ..kafka::Config::default()
        };
        // A real broker answers a fetch as soon as there is a record; this one always waits the full time, 500 ms by
        // default.
        config.properties.set("fetch.wait.max.ms", "10");
        // It answers a fetch with the records of one produce request, a real one with all that fit: read ahead.
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
