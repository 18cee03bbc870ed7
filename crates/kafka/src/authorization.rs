//! Rights that a principal lacks, named as `kafka-acls` names them.

use std::fmt;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// What a right is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A topic.
    Topic(String),
    /// A consumer group.
    Group(String),
    /// The id of a transactional producer.
    TransactionalId(String),
}

/// The broker's authorizer does not allow an operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "kafka does not allow {operation} on {resource}: grant it with kafka-acls --add --allow-principal User:… \
     --operation {operation} {}", .resource.option()
)]
pub struct Forbidden {
    /// The operation, as `kafka-acls --operation` takes it.
    pub operation: &'static str,
    /// Where it is not allowed.
    pub resource: Resource,
}

impl Forbidden {
    pub(crate) fn topic(operation: &'static str, name: &str) -> Self {
        let resource = Resource::Topic(name.to_owned());
        Self { operation, resource }
    }

    pub(crate) fn group(operation: &'static str, name: &str) -> Self {
        let resource = Resource::Group(name.to_owned());
        Self { operation, resource }
    }

    pub(crate) fn transactional_id(name: &str) -> Self {
        Self {
            operation: "Write",
            resource: Resource::TransactionalId(name.to_owned()),
        }
    }
}

impl Resource {
    /// The option of `kafka-acls` that names it.
    fn option(&self) -> String {
        match self {
            Self::Topic(name) => format!("--topic {name}"),
            Self::Group(name) => format!("--group {name}"),
            Self::TransactionalId(name) => format!("--transactional-id {name}"),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(formatter, "topic {name:?}"),
            Self::Group(name) => write!(formatter, "group {name:?}"),
            Self::TransactionalId(name) => write!(formatter, "transactional id {name:?}"),
        }
    }
}

/// Whether the authorizer has refused a topic. Creating one, and the number of an idempotent producer, are refused in the
/// name of the cluster, though a right on the topic is enough for both.
pub(crate) fn refuses_topic(error: &KafkaError) -> bool {
    let code = match error {
        // The crate does not count it among its codes.
        KafkaError::AdminOp(code) => Some(*code),
        error => error.rdkafka_error_code(),
    };
    matches!(
        code,
        Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_right_is_named_as_kafka_acls_takes_it() {
        let expected = [
            (
                Forbidden::topic("Read", "order"),
                r#"Read on topic "order": grant it with kafka-acls --add --allow-principal User:… --operation Read --topic order"#,
            ),
            (
                Forbidden::group("Describe", "order"),
                r#"Describe on group "order": grant it with kafka-acls --add --allow-principal User:… --operation Describe --group order"#,
            ),
            (
                Forbidden::transactional_id("repository-1"),
                r#"Write on transactional id "repository-1": grant it with kafka-acls --add --allow-principal User:… --operation Write --transactional-id repository-1"#,
            ),
        ];
        for (forbidden, text) in expected {
            assert_eq!(forbidden.to_string(), format!("kafka does not allow {text}"));
        }
    }
}
