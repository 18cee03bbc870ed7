//! Creates topics, and holds existing ones to what they should be. Running it again changes nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use serde::{Deserialize, Serialize};

use crate::connection::Connection;

const METADATA_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(200);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(15);

/// How topics are created. What exists is not held to the replication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Copies of each partition: 1 for a single broker, 3 for production.
    pub replication_factor: i32,
    /// Copies that must have a record before it is acknowledged.
    pub min_insync_replicas: i32,
    /// How long to wait for a broker, and then for leaders.
    #[serde(with = "humantime_serde")]
    pub wait: Duration,
}

impl Default for Config {
    fn default() -> Self {
        // One broker, as in Compose; it has a minute, because a cold one needs about twenty seconds.
        Self {
            replication_factor: 1,
            min_insync_replicas: 1,
            wait: Duration::from_secs(60),
        }
    }
}

/// What a topic should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name, without the prefix.
    pub name: &'static str,
    /// How many partitions it has.
    pub partitions: usize,
    /// What happens to old records.
    pub cleanup: Cleanup,
}

/// What happens to the old records of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// They stay, until an operator sets a retention.
    Delete,
    /// The last of each key stays.
    Compact,
}

impl Cleanup {
    fn policy(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Compact => "compact",
        }
    }
}

/// Whether a topic with too few partitions may get more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// It may: a region is being added.
    Allowed,
    /// It is an error.
    Refused,
}

/// What was found, and done, about a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its name in the cluster.
    pub topic: String,
    /// How many partitions it has now.
    pub partitions: usize,
    /// How many it had before: `None` when there was no such topic.
    pub before: Option<usize>,
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            topic,
            partitions,
            before,
        } = self;
        match before {
            None => write!(formatter, "topic {topic}: created with {partitions} partitions"),
            Some(before) if before == partitions => {
                write!(formatter, "topic {topic}: {partitions} partitions, as it should be")
            }
            Some(before) => write!(
                formatter,
                "topic {topic}: grown from {before} to {partitions} partitions"
            ),
        }
    }
}

/// A topic is not what it should be, or could not be made so.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    /// Growing is an operator's decision, and shrinking is impossible.
    #[error("topic {topic:?}: expected {expected} partitions, found {found}: {advice}")]
    Partitions {
        /// The topic.
        topic: String,
        /// What it should have.
        expected: usize,
        /// What it has.
        found: usize,
        /// What to do.
        advice: &'static str,
    },
    /// Records would be lost, or kept for ever.
    #[error(
        "topic {topic:?}: expected cleanup.policy={expected}, found {found}: set it with kafka-configs --alter, or delete the topic"
    )]
    CleanupPolicy {
        /// The topic.
        topic: String,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// There is no broker.
    #[error("no answer from kafka at {servers} within {} s: {reason}", waited.as_secs())]
    OutOfReach {
        /// Where it was looked for.
        servers: String,
        /// For how long.
        waited: Duration,
        /// The last reason.
        reason: String,
    },
    /// A partition cannot be written to.
    #[error("topic {topic:?}: no leader for partition {partition} within {} s: are enough brokers up?", waited.as_secs())]
    NoLeader {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// For how long.
        waited: Duration,
    },
    /// The broker refused.
    #[error("could not {action} topic {topic:?}: {source}")]
    Refused {
        /// What was to be done.
        action: &'static str,
        /// The topic.
        topic: String,
        /// The broker's word.
        source: KafkaError,
    },
}

/// Creates what is missing, grows what may grow, verifies the rest, and waits until every partition has a leader.
///
/// # Errors
/// The first topic that is not what it should be, or no broker within [`Config::wait`].
pub async fn ensure(
    kafka: &crate::Config,
    config: &Config,
    topics: &[Topic],
    growth: Growth,
) -> Result<Vec<Report>, TopicsError> {
    let connection = Connection::new("topics");
    let admin: AdminClient<Connection> = kafka
        .admin()
        .create_with_context(connection.clone())
        .map_err(|source| TopicsError::Refused {
            action: "connect for",
            topic: topics.first().map_or_else(String::new, |topic| kafka.name(topic.name)),
            source,
        })?;
    let admin = Admin {
        admin: std::sync::Arc::new(admin),
        connection,
        deadline: Instant::now() + config.wait,
        kafka,
        config,
        said: Mutex::default(),
    };
    let found = admin.partitions(|_| None).await?;
    let mut reports = Vec::new();
    for topic in topics {
        let name = kafka.name(topic.name);
        let before = found.get(&name).map(BTreeMap::len);
        match before {
            None => admin.create(&name, topic).await?,
            Some(before) => {
                admin.verify_cleanup(&name, topic.cleanup).await?;
                if before != topic.partitions {
                    admin.grow(&name, before, topic.partitions, growth).await?;
                }
            }
        }
        reports.push(Report {
            topic: name,
            partitions: topic.partitions,
            before,
        });
    }
    admin
        .partitions(|found| {
            reports.iter().find_map(|report| {
                let leaders = found.get(&report.topic);
                let led = |partition: &i32| {
                    leaders
                        .and_then(|leaders| leaders.get(partition))
                        .is_some_and(|led| *led)
                };
                let missing = (0..).take(report.partitions).find(|partition| !led(partition))?;
                Some((report.topic.clone(), missing))
            })
        })
        .await?;
    Ok(reports)
}

/// For each topic its partitions, and whether they have a leader.
type Partitions = BTreeMap<String, BTreeMap<i32, bool>>;

struct Admin<'a> {
    admin: std::sync::Arc<AdminClient<Connection>>,
    connection: Connection,
    deadline: Instant,
    kafka: &'a crate::Config,
    config: &'a Config,
    /// What is waited for, as was said last.
    said: Mutex<String>,
}

impl Admin<'_> {
    fn options() -> AdminOptions {
        AdminOptions::new()
            .request_timeout(Some(OPERATION_TIMEOUT))
            .operation_timeout(Some(OPERATION_TIMEOUT))
    }

    /// Asks until the cluster answers and `lacking` finds nothing, or the time is over.
    async fn partitions(
        &self,
        lacking: impl Fn(&Partitions) -> Option<(String, i32)>,
    ) -> Result<Partitions, TopicsError> {
        loop {
            let admin = std::sync::Arc::clone(&self.admin);
            let asked = tokio::task::spawn_blocking(move || metadata(admin.inner())).await;
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
            self.say(&self.connection.reason().unwrap_or_else(|| error.to_string()));
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn out_of_reach(&self, error: String) -> TopicsError {
        TopicsError::OutOfReach {
            servers: self.kafka.bootstrap_servers.clone(),
            waited: self.config.wait,
            reason: self.connection.reason().unwrap_or(error),
        }
    }

    async fn create(&self, name: &str, topic: &Topic) -> Result<(), TopicsError> {
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
                .admin
                .create_topics([&new], &Self::options())
                .await
                .map_err(refused)?
                .pop()
            {
                // Somebody else was faster: as good.
                Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | None => return Ok(()),
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
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != reason {
            reason.clone_into(&mut said);
            tracing::warn!(reason, seconds = self.config.wait.as_secs(), "waiting");
        }
    }

    async fn verify_cleanup(&self, name: &str, expected: Cleanup) -> Result<(), TopicsError> {
        let refused = |source| TopicsError::Refused {
            action: "describe",
            topic: name.to_owned(),
            source,
        };
        let mut described = self
            .admin
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

    async fn grow(&self, name: &str, found: usize, expected: usize, growth: Growth) -> Result<(), TopicsError> {
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
                .admin
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
