//! librdkafka properties as users write them.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserializer, MapAccess, Visitor};
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
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Sets a property, by its dotted name.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// A property that a user may not set, if there is one.
    pub(crate) fn not_allowed(&self) -> Option<&str> {
        let allowed =
            |name: &str| ALLOWED.contains(&name) || ALLOWED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        self.0.keys().map(String::as_str).find(|name| !allowed(name))
    }

    /// Names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// The one property that has an underscore in its name.
fn dotted(name: &str) -> String {
    if name == "log_level" {
        name.to_owned()
    } else {
        name.replace('_', ".")
    }
}

/// A value, or a table of values one level down.
enum Node {
    Value(String),
    Table(Properties),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NodeVisitor;

        impl<'de> Visitor<'de> for NodeVisitor {
            type Value = Node;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the value of a librdkafka property: text, a number, true or false")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Value(value.to_string()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node, E> {
                Ok(Node::Value(value.to_string()))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
                Ok(Node::Value(value.to_string()))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
                Ok(Node::Value(value.to_string()))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Node, E> {
                Ok(Node::Value(value.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut properties = BTreeMap::new();
                while let Some((name, node)) = map.next_entry::<String, Node>()? {
                    let name = dotted(&name);
                    match node {
                        Node::Value(value) => {
                            properties.insert(name, value);
                        }
                        Node::Table(table) => {
                            properties.extend(table.0.into_iter().map(|(end, value)| (format!("{name}.{end}"), value)));
                        }
                    }
                }
                Ok(Node::Table(Properties(properties)))
            }
        }

        deserializer.deserialize_any(NodeVisitor)
    }
}

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Node::deserialize(deserializer)? {
            Node::Table(properties) => Ok(properties),
            Node::Value(value) => Err(de::Error::invalid_type(
                de::Unexpected::Str(&value),
                &"a table of properties",
            )),
        }
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
        let json =
            r#"{"security.protocol": "SSL", "sasl": {"username": "mall"}, "ssl_ca_location": "/ca", "log_level": 7}"#;
        let properties: Properties = serde_json::from_str(json).expect("properties");
        let all: Vec<_> = properties.iter().collect();
        let expected = [
            ("log_level", "7"),
            ("sasl.username", "mall"),
            ("security.protocol", "SSL"),
            ("ssl.ca.location", "/ca"),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn values_are_not_shown() {
        let properties: Properties = serde_json::from_str(r#"{"sasl.password": "secret"}"#).expect("properties");
        assert_eq!(format!("{properties:?}"), r#"{"sasl.password"}"#);
    }
}
