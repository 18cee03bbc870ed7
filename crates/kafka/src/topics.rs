//! Creates topics, and holds existing ones to what they should be. Running it again changes nothing.

mod admin;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::error::KafkaError;
use serde::{Deserialize, Serialize};

use self::admin::Admin;

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
    /// librdkafka does not accept the configuration.
    #[error("could not make a client: {0}")]
    Client(KafkaError),
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
    let admin = Admin::connect(kafka, config)?;
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
