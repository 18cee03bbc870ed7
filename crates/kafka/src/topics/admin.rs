//! The admin client behind [`super::ensure`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::{Cleanup, Config, Growth, Topic, TopicsError};
use crate::connection::Connection;

const METADATA_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(200);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(15);

/// For each topic its partitions, and whether they have a leader.
pub(super) type Partitions = BTreeMap<String, BTreeMap<i32, bool>>;

/// Asks and tells the cluster, until the time is over.
pub(super) struct Admin<'a> {
    client: Arc<AdminClient<Connection>>,
    connection: Connection,
    deadline: Instant,
    kafka: &'a crate::Config,
    config: &'a Config,
    /// What is waited for, as was said last.
    said: Mutex<String>,
}

impl<'a> Admin<'a> {
    /// Connects in the background; the time begins to run.
    pub(super) fn connect(kafka: &'a crate::Config, config: &'a Config) -> Result<Self, TopicsError> {
        let connection = Connection::new("topics");
        let client = kafka
            .admin()
            .create_with_context(connection.clone())
            .map_err(TopicsError::Client)?;
        Ok(Self {
            client: Arc::new(client),
            connection,
            deadline: Instant::now() + config.wait,
            kafka,
            config,
            said: Mutex::default(),
        })
    }

    fn options() -> AdminOptions {
        AdminOptions::new()
            .request_timeout(Some(OPERATION_TIMEOUT))
            .operation_timeout(Some(OPERATION_TIMEOUT))
    }

    /// Asks until the cluster answers and `lacking` finds nothing, or the time is over.
    pub(super) async fn partitions(
        &self,
        lacking: impl Fn(&Partitions) -> Option<(String, i32)>,
    ) -> Result<Partitions, TopicsError> {
        loop {
            let client = Arc::clone(&self.client);
            let asked = tokio::task::spawn_blocking(move || metadata(client.inner())).await;
            let error = match asked {
                Ok(Ok(partitions)) => match lacking(&partitions) {
                    None => return Ok(partitions),
                    Some((topic, partition)) => TopicsError::NoLeader {
                        topic,
                        partition,
                        waited: self.config.wait,
                    },
                },
                Ok(Err(error)) => self.out_of_reach(error.to_string()),
                Err(panicked) => self.out_of_reach(panicked.to_string()),
            };
            if Instant::now() >= self.deadline {
                return Err(error);
            }
            self.say(&self.connection.reason(&error));
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn out_of_reach(&self, error: String) -> TopicsError {
        TopicsError::OutOfReach {
            servers: self.kafka.bootstrap_servers.clone(),
            waited: self.config.wait,
            reason: self.connection.reason(&error),
        }
    }

    pub(super) async fn create(&self, name: &str, topic: &Topic) -> Result<(), TopicsError> {
        let refused = |source| TopicsError::Refused {
            action: "create",
            topic: name.to_owned(),
            source,
        };
        let min_insync_replicas = self.config.min_insync_replicas.to_string();
        let new = NewTopic::new(
            name,
            count(topic.partitions),
            TopicReplication::Fixed(self.config.replication_factor),
        )
        .set("cleanup.policy", topic.cleanup.policy())
        .set("retention.ms", "-1")
        .set("min.insync.replicas", &min_insync_replicas);
        loop {
            match self
                .client
                .create_topics([&new], &Self::options())
                .await
                .map_err(refused)?
                .pop()
            {
                Some(Ok(_)) | None => return Ok(()),
                // Another process created it meanwhile, which is just as good; or it is still being deleted.
                Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {
                    let exists = self.partitions(|_| None).await?.contains_key(name);
                    if exists || Instant::now() >= self.deadline {
                        return Ok(());
                    }
                    self.say(&format!("topic {name} is still being deleted"));
                    tokio::time::sleep(PAUSE).await;
                }
                // Not enough brokers have come up yet for so many copies.
                Some(Err((_, RDKafkaErrorCode::InvalidReplicationFactor))) if Instant::now() < self.deadline => {
                    self.say(&format!("fewer than {} brokers are up", self.config.replication_factor));
                    tokio::time::sleep(PAUSE).await;
                }
                Some(Err((_, code))) => return Err(refused(KafkaError::AdminOp(code))),
            }
        }
    }

    /// Tells what is waited for, when it is something else than before.
    fn say(&self, reason: &str) {
        let mut said = self.said.lock();
        if *said != reason {
            reason.clone_into(&mut said);
            tracing::warn!(reason, seconds = self.config.wait.as_secs(), "waiting");
        }
    }

    pub(super) async fn verify_cleanup(&self, name: &str, expected: Cleanup) -> Result<(), TopicsError> {
        let refused = |source| TopicsError::Refused {
            action: "describe",
            topic: name.to_owned(),
            source,
        };
        let mut described = self
            .client
            .describe_configs([&ResourceSpecifier::Topic(name)], &Self::options())
            .await
            .map_err(refused)?;
        let described = match described.pop() {
            Some(Ok(described)) => described,
            Some(Err(code)) => return Err(refused(KafkaError::AdminOp(code))),
            None => return Ok(()),
        };
        match described.get("cleanup.policy").and_then(|entry| entry.value.as_deref()) {
            Some(found) if found != expected.policy() => Err(TopicsError::CleanupPolicy {
                topic: name.to_owned(),
                expected: expected.policy(),
                found: found.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    pub(super) async fn grow(
        &self,
        name: &str,
        found: usize,
        expected: usize,
        growth: Growth,
    ) -> Result<(), TopicsError> {
        let topic = name.to_owned();
        let advice = if found > expected {
            "partitions cannot be taken away: set MALL_REPLICAS to what was found, or delete the topic and its records"
        } else if growth == Growth::Refused {
            "run mall topics --grow to add the missing ones, or set MALL_REPLICAS to what was found"
        } else {
            let refused = |source| TopicsError::Refused {
                action: "grow",
                topic: name.to_owned(),
                source,
            };
            let grown = NewPartitions::new(name, expected);
            return match self
                .client
                .create_partitions([&grown], &Self::options())
                .await
                .map_err(refused)?
                .pop()
            {
                Some(Err((_, code))) => Err(refused(KafkaError::AdminOp(code))),
                Some(Ok(_)) | None => Ok(()),
            };
        };
        Err(TopicsError::Partitions {
            topic,
            expected,
            found,
            advice,
        })
    }
}

fn count(partitions: usize) -> i32 {
    i32::try_from(partitions).unwrap_or(i32::MAX)
}

fn metadata(client: &Client<Connection>) -> Result<Partitions, KafkaError> {
    // Serves the log and error events of this client: they hold the reason when there is no answer.
    let metadata = client.fetch_metadata(None, METADATA_TIMEOUT)?;
    let leaders = |topic: &rdkafka::metadata::MetadataTopic| {
        topic
            .partitions()
            .iter()
            .map(|partition| (partition.id(), partition.leader() >= 0))
            .collect()
    };
    Ok(metadata
        .topics()
        .iter()
        .map(|topic| (topic.name().to_owned(), leaders(topic)))
        .collect())
}
