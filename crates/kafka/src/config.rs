//! The address of the broker, and every librdkafka property that the mall sets.
//!
//! The values and their reasons come from measurements with librdkafka 2.12 and Kafka 3.9. A user may set the properties
//! that break no promise, see [`Properties`].

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use rdkafka::producer::BaseProducer;
use serde::{Deserialize, Serialize};

use crate::flushing::LINGER;
use crate::{Fetch, Properties};

/// When librdkafka times out a record. Later than the [`Producer`](crate::Producer) gives up a batch and its clients: when
/// librdkafka times out a record itself, it may write others twice.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);
/// The same in a transaction, which then fails as a whole. librdkafka looks at it up to 500 ms late while it reconnects.
pub(crate) const TRANSACTIONAL_MESSAGE_TIMEOUT: Duration = Duration::from_millis(4500);
/// The broker aborts a transaction that is open for longer. Longer than a record may take, short enough
/// that a repository that dies for good does not hold up readers for long.
pub(crate) const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);
/// A request without an answer: bounds a half-open connection.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The address of the broker, and the properties of its clients.
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

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The property is not one of those that a user may set.
    #[error(
        "property {0:?} cannot be set: expected one about security, sockets, compression or fetching, such as \
         security.protocol, sasl.username, ssl.ca.location or compression.type"
    )]
    NotAllowed(String),
    /// librdkafka does not take it.
    #[error("librdkafka does not accept its properties: {0}")]
    Refused(String),
    /// A bootstrap server is not `host:port`.
    #[error("expected bootstrap_servers like kafka:19092, found {0:?}")]
    BootstrapServers(String),
}

impl Config {
    /// Checks what can be checked without a broker. If there are properties of the user's, creates and drops one client of
    /// each kind (0.1 s): librdkafka refuses some values only then, such as a missing file of certificates or two
    /// properties that exclude each other.
    ///
    /// # Errors
    /// The first property that is not allowed, unknown or impossible.
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
        if let Some(name) = self.properties.not_allowed() {
            return Err(ConfigError::NotAllowed(name.to_owned()));
        }
        if self.properties.iter().next().is_none() {
            return Ok(());
        }
        self.create_each_kind()
            .map_err(|error| ConfigError::Refused(error.to_string()))
    }

    /// Creates a client of each kind, without an address to connect to.
    fn create_each_kind(&self) -> Result<(), KafkaError> {
        let offline = |mut config: ClientConfig| {
            config.remove("bootstrap.servers");
            config
        };
        offline(self.producer("check")).create::<BaseProducer>()?;
        offline(self.transactional_producer("check", "check")).create::<BaseProducer>()?;
        offline(self.consumer("check", "check", Fetch::Live)).create::<BaseConsumer>()?;
        offline(self.admin()).create::<AdminClient<DefaultClientContext>>()?;
        Ok(())
    }

    /// The name in the cluster of a topic, group or transactional id.
    pub fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The properties that all clients share. The user's properties come last and win.
    fn client(&self, client_id: &str, own: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        let request_timeout = REQUEST_TIMEOUT.as_millis().to_string();
        let shared = [
            ("bootstrap.servers", self.bootstrap_servers.as_str()),
            ("client.id", client_id),
            // Asking for a topic by its name must not create it with the broker's defaults.
            ("allow.auto.create.topics", "false"),
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

    /// An idempotent producer.
    pub(crate) fn producer(&self, client_id: &str) -> ClientConfig {
        let message_timeout = MESSAGE_TIMEOUT.as_millis().to_string();
        self.client(
            client_id,
            &[
                ("acks", "all"),
                ("enable.idempotence", "true"),
                ("linger.ms", &LINGER.as_millis().to_string()),
                ("message.timeout.ms", &message_timeout),
                ("request.timeout.ms", &REQUEST_TIMEOUT.as_millis().to_string()),
                ("retry.backoff.ms", "50"),
            ],
        )
    }

    /// A transactional producer: a newer one with the same id fences it.
    pub(crate) fn transactional_producer(&self, client_id: &str, transactional_id: &str) -> ClientConfig {
        let message_timeout = TRANSACTIONAL_MESSAGE_TIMEOUT.as_millis().to_string();
        self.client(
            client_id,
            &[
                ("acks", "all"),
                ("enable.idempotence", "true"),
                ("transactional.id", &self.name(transactional_id)),
                ("transaction.timeout.ms", &TRANSACTION_TIMEOUT.as_millis().to_string()),
                ("message.timeout.ms", &message_timeout),
                ("request.timeout.ms", &REQUEST_TIMEOUT.as_millis().to_string()),
                ("linger.ms", &LINGER.as_millis().to_string()),
                // The broker answers CONCURRENT_TRANSACTIONS while it finishes the one before: ask again soon.
                ("retry.backoff.ms", "10"),
            ],
        )
    }

    /// A consumer of partitions that are assigned to it, from positions that the program decides.
    pub(crate) fn consumer(&self, client_id: &str, group: &str, fetch: Fetch) -> ClientConfig {
        let group = self.name(group);
        let common = [
            ("group.id", group.as_str()),
            ("isolation.level", "read_committed"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
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
        ];
        let of_kind: &[(&str, &str)] = match fetch {
            Fetch::Live => &[],
            // Asks before what it has is taken, and for more: 5 million records in 4 s, in some 10 MiB.
            Fetch::Bulk => &[
                ("queued.min.messages", "100000"),
                ("queued.max.messages.kbytes", "8192"),
                ("fetch.message.max.bytes", "2097152"),
                // The end of the log shows when a request has waited for more in vain.
                ("fetch.wait.max.ms", "10"),
            ],
            Fetch::Sparse => &[
                // Some twenty records, or one batch if that is larger: most of what is read is thrown away.
                ("fetch.message.max.bytes", "8192"),
                ("fetch.wait.max.ms", "10"),
            ],
        };
        self.client(client_id, &[&common[..], of_kind].concat())
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
        assert!(Config::default().create_each_kind().is_ok());
        for (name, value) in [
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("ssl.endpoint.identification.algorithm", "none"),
            ("compression.type", "lz4"),
            ("fetch.wait.max.ms", "10"),
        ] {
            assert_eq!(with_property(name, value).validate(), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_property_that_is_not_allowed_is_named() {
        let error = with_property("acks", "1").validate().expect_err("not allowed");
        assert_eq!(error, ConfigError::NotAllowed("acks".to_owned()));
    }

    #[test]
    fn what_only_a_client_refuses_is_found_without_a_broker() {
        for (name, value) in [
            ("security.protocol", "SLS"),
            ("ssl.crl.location", "/missing.pem"),
            ("fetch.max.bytes", "1"),
            ("statistics.interval.ms", "-1"),
        ] {
            let mut config = with_property("security.protocol", "SSL");
            config.properties.set(name, value);
            let error = config.validate().expect_err(name);
            assert!(matches!(error, ConfigError::Refused(_)), "{name}: {error}");
        }
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
