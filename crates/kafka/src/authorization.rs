//! Missing rights, named as `kafka-acls` names them.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// The broker's authorizer does not allow an operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "kafka does not allow {operation} on {} {name:?}: grant it with kafka-acls --add --allow-principal User:… \
     --operation {operation} --{resource} {name}", resource.replace('-', " ")
)]
pub struct Forbidden {
    /// The operation, as `kafka-acls --operation` takes it.
    pub operation: &'static str,
    /// The kind of resource, as an option of `kafka-acls`: `topic`.
    pub resource: &'static str,
    /// The name of the resource.
    pub name: String,
}

impl Forbidden {
    pub(crate) fn topic(operation: &'static str, name: &str) -> Self {
        Self::new(operation, "topic", name)
    }

    pub(crate) fn group(operation: &'static str, name: &str) -> Self {
        Self::new(operation, "group", name)
    }

    pub(crate) fn transactional_id(name: &str) -> Self {
        Self::new("Write", "transactional-id", name)
    }

    fn new(operation: &'static str, resource: &'static str, name: &str) -> Self {
        let name = name.to_owned();
        Self {
            operation,
            resource,
            name,
        }
    }
}

/// Returns `true` if the authorizer has refused a topic. It refuses the creation of one, and the id of an idempotent
/// producer, in the name of the cluster, though a right on the topic is enough for both.
pub(crate) fn refuses_topic(error: &KafkaError) -> bool {
    let code = match error {
        // `rdkafka_error_code` leaves it out.
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
    fn names_a_missing_right_as_kafka_acls_takes_it() {
        let topic = r#"kafka does not allow Read on topic "order": grant it with kafka-acls --add --allow-principal User:… --operation Read --topic order"#;
        assert_eq!(Forbidden::topic("Read", "order").to_string(), topic);
        let id = r#"kafka does not allow Write on transactional id "repository-1": grant it with kafka-acls --add --allow-principal User:… --operation Write --transactional-id repository-1"#;
        assert_eq!(Forbidden::transactional_id("repository-1").to_string(), id);
    }
}
