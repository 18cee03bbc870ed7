//! librdkafka properties as users write them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The properties that a user may set, and the beginnings of their names: security, sockets, and how records are
/// fetched. All others carry a promise of the mall.
const ALLOWED: [&str; 31] = [
    "api.version.request",
    "api.version.request.timeout.ms",
    "broker.address.family",
    "broker.address.ttl",
    "broker.version.fallback",
    "client.dns.lookup",
    "client.rack",
    "compression.codec",
    "compression.level",
    "compression.type",
    "connections.max.idle.ms",
    "debug",
    "enable.metrics.push",
    "enable.ssl.certificate.verification",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "log_level",
    "max.partition.fetch.bytes",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "receive.message.max.bytes",
    "security.protocol",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "statistics.interval.ms",
];
/// See [`ALLOWED`].
const ALLOWED_PREFIXES: [&str; 5] = ["enable.sasl.", "https.", "reconnect.backoff.", "sasl.", "ssl."];

/// librdkafka properties that are passed through, by their dotted names: those of security, sockets, compression, and
/// of how records are fetched.
///
/// In a file they are a table, `security.protocol = "SSL"` and `"security.protocol" = "SSL"` alike; in the environment
/// an underscore stands for a dot: `MALL_KAFKA__PROPERTIES__SECURITY_PROTOCOL`. Values may be secret: they are not shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, Node>")]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Sets a property by its dotted name.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// Returns a property that a user may not set, if there is one.
    pub(crate) fn not_allowed(&self) -> Option<&str> {
        let allowed =
            |name: &str| ALLOWED.contains(&name) || ALLOWED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        self.0.keys().map(String::as_str).find(|name| !allowed(name))
    }

    /// Returns names and values, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// A value, or a table with the rest of the names.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected the value of a librdkafka property: text, a number, true or false"
)]
enum Node {
    Text(String),
    Flag(bool),
    Integer(i64),
    Number(f64),
    Table(BTreeMap<String, Self>),
}

impl From<BTreeMap<String, Node>> for Properties {
    fn from(table: BTreeMap<String, Node>) -> Self {
        let mut properties = Self::default();
        for (name, node) in table {
            // The one name with an underscore.
            let name = if name == "log_level" {
                name
            } else {
                name.replace('_', ".")
            };
            match node {
                Node::Text(value) => properties.set(&name, &value),
                Node::Flag(value) => properties.set(&name, &value.to_string()),
                Node::Integer(value) => properties.set(&name, &value.to_string()),
                Node::Number(value) => properties.set(&name, &value.to_string()),
                Node::Table(table) => {
                    let rest = Self::from(table).0.into_iter();
                    properties
                        .0
                        .extend(rest.map(|(end, value)| (format!("{name}.{end}"), value)));
                }
            }
        }
        properties
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_that_could_break_a_promise_is_not_allowed() {
        for name in [
            "acks",
            "allow.auto.create.topics",
            "batch.size",
            "delivery.report.only.error",
            "enable.idempotence",
            "group.id",
            "linger.ms",
            "message.timeout.ms",
            "metadata.broker.list",
            "partitioner",
            "transaction.timeout.ms",
        ] {
            let mut properties = Properties::default();
            properties.set("client.rack", "1");
            assert_eq!(properties.not_allowed(), None);
            properties.set(name, "1");
            assert_eq!(properties.not_allowed(), Some(name));
        }
    }

    #[test]
    fn names_may_be_dotted_nested_or_in_the_form_of_the_environment() {
        let json = r#"{
            "security.protocol": "SSL", "sasl": {"username": "mall", "kerberos": {"min_time": 1.5}},
            "ssl_ca_location": "/ca", "log_level": 7, "socket.nagle.disable": true
        }"#;
        let properties: Properties = serde_json::from_str(json).expect("properties");
        let all: Vec<_> = properties.iter().collect();
        let expected = [
            ("log_level", "7"),
            ("sasl.kerberos.min.time", "1.5"),
            ("sasl.username", "mall"),
            ("security.protocol", "SSL"),
            ("socket.nagle.disable", "true"),
            ("ssl.ca.location", "/ca"),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn rejects_a_value_that_is_no_text_number_or_flag() {
        let error = serde_json::from_str::<Properties>(r#"{"ssl": {"ca": ["/ca"]}}"#).expect_err("a list");
        assert!(
            error
                .to_string()
                .contains("expected the value of a librdkafka property"),
            "{error}"
        );
    }

    #[test]
    fn values_are_not_shown() {
        let mut properties = Properties::default();
        properties.set("sasl.password", "secret");
        assert_eq!(format!("{properties:?}"), r#"{"sasl.password"}"#);
    }
}
