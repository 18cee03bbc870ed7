//! Creates topics, and holds existing ones to what they should be. Running it again changes nothing.
//!
//! `expectations` says what differs and how it is mended, `accepted` what an operator has decided otherwise, `admin` asks
//! and tells the cluster.

mod accepted;
mod admin;
mod expectations;

use std::fmt;
use std::time::Duration;

use rdkafka::error::KafkaError;
use serde::{Deserialize, Serialize};

pub use self::accepted::{Accepted, ParseAcceptedError};
use self::admin::Admin;
pub use self::expectations::Deviation;
use self::expectations::Expectations;
use crate::Forbidden;

/// How topics are created, and what existing ones are held to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Copies of each partition, at least: 1 for a single broker, 3 for production.
    pub replication_factor: i32,
    /// Copies that must have a record before it is acknowledged, at least.
    pub min_insync_replicas: i32,
    /// How long to wait for a broker, and then for leaders.
    #[serde(with = "humantime_serde")]
    pub wait: Duration,
    /// What is good enough though it is not what is expected.
    pub accept: Accepted,
}

impl Default for Config {
    fn default() -> Self {
        // One broker, as in Compose; it has a minute, because a cold one needs about twenty seconds.
        Self {
            replication_factor: 1,
            min_insync_replicas: 1,
            wait: Duration::from_secs(60),
            accept: Accepted::default(),
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
    /// How many it should have: more are accepted.
    pub expected: usize,
    /// How many it had before: `None` when there was no such topic.
    pub before: Option<usize>,
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            topic,
            partitions,
            expected,
            before,
        } = self;
        match before {
            Some(_) if partitions > expected => {
                write!(
                    formatter,
                    "topic {topic}: {partitions} partitions, {expected} are used here"
                )
            }
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
    /// Something is different, and nobody has accepted it. Nothing was changed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Deviations(Vec<Deviation>),
    /// The authorizer does not allow it: waiting would not help.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The broker does not let this client in, or is not the one that it should be: waiting would not help.
    #[error("kafka at {servers} refuses the connection: {reason}: check MALL_KAFKA__PROPERTIES__…")]
    ConnectionRefused {
        /// Where it is.
        servers: String,
        /// Why.
        reason: String,
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

/// Verifies what exists, then creates what is missing, grows what may grow, and waits until every partition has a leader.
///
/// # Errors
/// All that is not what it should be, and then nothing was changed; a right that is missing; or no broker within
/// [`Config::wait`].
pub async fn ensure(
    kafka: &crate::Config,
    config: &Config,
    topics: &[Topic],
    growth: Growth,
) -> Result<Vec<Report>, TopicsError> {
    let admin = Admin::connect(kafka, config)?;
    let (mut existing, mut deviations) = (Vec::new(), Vec::new());
    for topic in topics {
        let name = kafka.name(topic.name);
        let found = admin.find(&name).await?;
        if let Some(found) = &found {
            let settings = admin.settings(&name).await?;
            let expectations = Expectations {
                topic,
                name: &name,
                config,
                growth,
                servers: &kafka.bootstrap_servers,
            };
            // The broker tells none of them to those who may not ask.
            let value = |setting: &str| {
                let value = settings.get(setting).cloned();
                value.ok_or_else(|| Forbidden::topic("DescribeConfigs", &name))
            };
            deviations.extend(expectations.deviations(found, value)?);
        }
        existing.push((topic, name, found.map(|found| found.partitions.len())));
    }
    if !deviations.is_empty() {
        return Err(TopicsError::Deviations(deviations));
    }
    let mut reports = Vec::new();
    for (topic, name, before) in existing {
        match before {
            None => admin.create(&name, topic).await?,
            Some(before) if before < topic.partitions => admin.grow(&name, topic.partitions).await?,
            Some(_) => {}
        }
        reports.push(Report {
            topic: name,
            partitions: before.unwrap_or_default().max(topic.partitions),
            expected: topic.partitions,
            before,
        });
    }
    for report in &reports {
        admin.wait_for_leaders(&report.topic, report.partitions).await?;
    }
    Ok(reports)
}
