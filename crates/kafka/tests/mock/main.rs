//! The clients on librdkafka's mock broker, which can be told to answer late, with an error, or not at all.

mod consumer;
mod producer;
mod transactions;

use kafka::Config;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

/// A broker with one partition of topic `order` and one of `shipment`.
fn broker() -> (MockCluster<'static, DefaultProducerContext>, Config) {
    let broker = MockCluster::new(1).expect("a broker");
    for topic in ["order", "shipment"] {
        broker.create_topic(topic, 1, 1).expect("a topic");
    }
    let mut config = Config {
        bootstrap_servers: broker.bootstrap_servers(),
        ..Config::default()
    };
    config.properties.set("fetch.wait.max.ms", "10");
    (broker, config)
}

/// A record for partition 0.
fn record(value: &[u8]) -> kafka::Record<'_> {
    kafka::Record {
        partition: 0,
        key: Some("key"),
        value,
        timestamp: 1_790_000_000_000,
        headers: &[],
    }
}
