//! Where the broker is, and every librdkafka property that the mall sets.
//!
//! The values and their reasons come from measurements with librdkafka 2.12 and Kafka 3.9. A user may add or change
//! properties (TLS, SASL, `linger.ms`…), except those that carry a guarantee.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use serde::{Deserialize, Serialize};

use crate::Properties;

/// How long a record may wait for its acknowledgement. With what comes on top (librdkafka looks at it while it
/// reconnects, at most every 500 ms) a client has its answer within 6 s.
const MESSAGE_TIMEOUT: Duration = Duration::from_millis(4500);
/// What a broker waits for the end of a transaction before it aborts it. Longer than a record may take, short enough
/// that a repository that dies for good does not hold up readers for long.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);
/// A request without an answer: bounds a half-open connection.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the broker is and how to talk to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Comma separated `host:port`.
    pub bootstrap_servers: String,
    /// Comes before the names of topics, groups and transactional ids, so that malls can share a cluster.
    pub prefix: String,
    /// Further librdkafka properties.
    pub properties: Properties,
}

impl Default for Config {
    fn default() -> Self {
        // The port that Compose publishes on the host.
        Self {
            bootstrap_servers: "localhost:9092".to_owned(),
            prefix: String::new(),
            properties: Properties::default(),
        }
    }
}

/// A property that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The property carries a guarantee.
    #[error("property {0:?} carries a guarantee of the mall and cannot be set: leave it out")]
    Reserved(String),
    /// librdkafka does not take it.
    #[error("librdkafka does not accept its properties: {0}")]
    Refused(String),
    /// There is nothing to connect to.
    #[error("expected bootstrap_servers like kafka:19092, found {0:?}")]
    BootstrapServers(String),
}

/// Whoever changes one of these changes what the mall promises.
const RESERVED: [&str; 13] = [
    "acks",
    "allow.auto.create.topics",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "isolation.level",
    "metadata.broker.list",
    "request.required.acks",
    "transactional.id",
];

impl Config {
    /// Checks what can be checked without a broker.
    ///
    /// # Errors
    /// The first property that is reserved, unknown or impossible.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let server = |server: &str| {
            server
                .trim()
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if !self.bootstrap_servers.split(',').all(server) {
            return Err(ConfigError::BootstrapServers(self.bootstrap_servers.clone()));
        }
        if let Some((name, _)) = self.properties.iter().find(|(name, _)| RESERVED.contains(name)) {
            return Err(ConfigError::Reserved(name.to_owned()));
        }
        let refused = |error: rdkafka::error::KafkaError| ConfigError::Refused(error.to_string());
        self.producer("check", Duration::ZERO)
            .create_native_config()
            .map_err(refused)?;
        Ok(())
    }

    /// The name in the cluster of a topic, group or transactional id.
    pub fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// What all clients share. The user's properties come last and win.
    fn client(&self, client_id: &str, own: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        let request_timeout = REQUEST_TIMEOUT.as_millis().to_string();
        let shared = [
            ("bootstrap.servers", self.bootstrap_servers.as_str()),
            ("client.id", client_id),
            // A broker that is back is found within half a second; and while librdkafka sleeps in its reconnect
            // backoff it does not see message timeouts.
            ("reconnect.backoff.ms", "50"),
            ("reconnect.backoff.max.ms", "500"),
            ("retry.backoff.max.ms", "500"),
            // Always reconnect, not only on demand: after a restart of the only broker a producer without queued records
            // was seen to stay away for good, "connection already in progress" (librdkafka issue 4615 describes it).
            ("enable.sparse.connections", "false"),
            ("socket.connection.setup.timeout.ms", "2000"),
            ("socket.keepalive.enable", "true"),
            ("socket.timeout.ms", &request_timeout),
            // Requests are small and awaited: do not let the kernel hold them back.
            ("socket.nagle.disable", "true"),
            // New partitions are seen within 10 s, not 5 minutes.
            ("topic.metadata.refresh.interval.ms", "10000"),
            ("topic.metadata.propagation.max.ms", "5000"),
        ];
        for (name, value) in shared
            .into_iter()
            .chain(own.iter().copied())
            .chain(self.properties.iter())
        {
            config.set(name, value);
        }
        if config.get("debug").is_some() {
            // The crate sets its own level after this property, and would hide what was asked for.
            config.set_log_level(RDKafkaLogLevel::Debug);
        }
        config
    }

    /// An idempotent producer that gathers records for `linger` before it sends them.
    pub(crate) fn producer(&self, client_id: &str, linger: Duration) -> ClientConfig {
        let message_timeout = MESSAGE_TIMEOUT.as_millis().to_string();
        self.client(
            client_id,
            &[
                ("acks", "all"),
                ("enable.idempotence", "true"),
                ("linger.ms", &linger.as_millis().to_string()),
                ("message.timeout.ms", &message_timeout),
                ("request.timeout.ms", &REQUEST_TIMEOUT.as_millis().to_string()),
                ("retry.backoff.ms", "50"),
            ],
        )
    }

    /// A transactional producer: a newer one with the same id fences it.
    pub(crate) fn transactional_producer(&self, client_id: &str, transactional_id: &str) -> ClientConfig {
        let message_timeout = MESSAGE_TIMEOUT.as_millis().to_string();
        self.client(
            client_id,
            &[
                ("acks", "all"),
                ("enable.idempotence", "true"),
                ("transactional.id", &self.name(transactional_id)),
                ("transaction.timeout.ms", &TRANSACTION_TIMEOUT.as_millis().to_string()),
                ("message.timeout.ms", &message_timeout),
                ("request.timeout.ms", &REQUEST_TIMEOUT.as_millis().to_string()),
                ("linger.ms", "0"),
                // The broker answers CONCURRENT_TRANSACTIONS while it finishes the one before: ask again soon.
                ("retry.backoff.ms", "10"),
            ],
        )
    }

    /// A reader of partitions that are assigned to it, from positions that the program decides.
    pub(crate) fn consumer(&self, client_id: &str, group: &str) -> ClientConfig {
        self.client(
            client_id,
            &[
                ("group.id", &self.name(group)),
                ("isolation.level", "read_committed"),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("enable.partition.eof", "true"),
                ("allow.auto.create.topics", "false"),
                // A position that is gone is an error: `earliest` would repeat silently, `latest` would skip.
                ("auto.offset.reset", "error"),
                ("check.crcs", "true"),
                ("fetch.error.backoff.ms", "100"),
                // Nothing is asked for while records wait to be taken. A reader that takes what has gathered every few
                // milliseconds then asks as seldom, instead of once for each record, which costs the broker more than
                // the record. A request brings up to this many bytes: enough for full speed, and little memory.
                ("queued.min.messages", "1"),
                ("queued.max.messages.kbytes", "2048"),
                ("fetch.message.max.bytes", "524288"),
                ("fetch.queue.backoff.ms", "10"),
                // There is no session; it bounds how long closing waits for outstanding commits.
                ("session.timeout.ms", "6000"),
            ],
        )
    }

    /// A client for the admin interface.
    pub(crate) fn admin(&self) -> ClientConfig {
        self.client("topics", &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_property(name: &str, value: &str) -> Config {
        let json = serde_json::json!({ "properties": { name: value } });
        serde_json::from_value(json).expect("a configuration")
    }

    #[test]
    fn the_defaults_are_valid_and_take_further_properties() {
        assert_eq!(Config::default().validate(), Ok(()));
        assert_eq!(with_property("linger.ms", "1").validate(), Ok(()));
        assert_eq!(with_property("sasl.mechanism", "SCRAM-SHA-512").validate(), Ok(()));
    }

    #[test]
    fn a_property_that_carries_a_guarantee_cannot_be_changed() {
        let error = with_property("acks", "1").validate().expect_err("reserved");
        assert_eq!(error, ConfigError::Reserved("acks".to_owned()));
    }

    #[test]
    fn a_property_that_librdkafka_does_not_know_is_named() {
        let error = with_property("liger.ms", "1")
            .validate()
            .expect_err("unknown")
            .to_string();
        assert!(error.contains("liger.ms"), "{error}");
    }

    #[test]
    fn bootstrap_servers_need_a_host_and_a_port() {
        for servers in ["", "kafka", "kafka:", ":9092", "kafka:9092,", "kafka:99999"] {
            let config = Config {
                bootstrap_servers: servers.to_owned(),
                ..Config::default()
            };
            assert!(config.validate().is_err(), "{servers}");
        }
    }
}
