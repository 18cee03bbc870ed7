//! Creates topics, and compares existing ones with what they should be. A second run changes nothing.
//!
//! `compare` finds the differences, `admin` reads and changes the cluster.

mod admin;
mod compare;

use std::fmt;
use std::time::Duration;

use rdkafka::error::KafkaError;
use serde::{Deserialize, Serialize};

use self::admin::Admin;
pub use self::compare::{Difference, Severity};
use crate::Forbidden;

/// The properties of new topics, and the least that existing ones should have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Replicas of each partition: 1 for a single broker, 3 for production.
    pub replication_factor: u16,
    /// Replicas that must have a record before it is acknowledged.
    pub min_insync_replicas: u16,
    /// Timeout of the wait for a broker and for leaders.
    #[serde(with = "humantime_serde")]
    pub wait: Duration,
}

impl Default for Config {
    fn default() -> Self {
        // For the one broker of Compose. A cold one needs about twenty seconds.
        Self {
            replication_factor: 1,
            min_insync_replicas: 1,
            wait: Duration::from_secs(60),
        }
    }
}

/// A topic as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The name without the prefix.
    pub name: &'static str,
    /// The number of partitions.
    pub partitions: usize,
    /// The cleanup policy.
    pub cleanup: Cleanup,
}

/// The cleanup policy of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// Keeps all records until an operator sets a retention.
    Delete,
    /// Keeps the last record of each key.
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

/// The choices of the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Adds missing partitions to topics that exist.
    pub grow: bool,
    /// Goes on in spite of differences of [`Severity::Advice`].
    pub tolerate_advice: bool,
}

/// A topic after [`ensure`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The name in the cluster.
    pub topic: String,
    /// The number of partitions now.
    pub partitions: usize,
    /// The number of partitions before; `None` if the topic did not exist.
    pub before: Option<usize>,
    /// The differences that were tolerated.
    pub differences: Vec<Difference>,
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partitions, .. } = self;
        match self.before {
            None => write!(formatter, "topic {topic}: created with {partitions} partitions"),
            Some(before) if before < *partitions => {
                write!(
                    formatter,
                    "topic {topic}: grown from {before} to {partitions} partitions"
                )
            }
            Some(_) => write!(formatter, "topic {topic}: verified, {partitions} partitions"),
        }
    }
}

/// The reason why [`ensure`] ended without success.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    /// Topics are not what they should be. Nothing was changed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Differences(Vec<Difference>),
    /// A right is missing. A wait would not help.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The broker refuses the credentials, or its certificate is not trusted. A wait would not help.
    #[error("kafka at {servers} refuses the connection: {reason}: check MALL_KAFKA__PROPERTIES__…")]
    ConnectionRefused {
        /// The bootstrap servers.
        servers: String,
        /// The error of the connection.
        reason: String,
    },
    /// No broker answered in time.
    #[error("no answer from kafka at {servers} within {} s: {reason}", waited.as_secs())]
    OutOfReach {
        /// The bootstrap servers.
        servers: String,
        /// The timeout.
        waited: Duration,
        /// The last error.
        reason: String,
    },
    /// A partition has no leader in time.
    #[error("topic {topic:?}: no leader for partition {partition} within {} s: are enough brokers up?", waited.as_secs())]
    NoLeader {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The timeout.
        waited: Duration,
    },
    /// librdkafka does not accept the configuration.
    #[error("could not make a client: {0}")]
    Client(KafkaError),
    /// The broker refused an operation.
    #[error("kafka refuses {operation} on topic {topic:?}")]
    Refused {
        /// The operation, by the right that it needs.
        operation: &'static str,
        /// The topic.
        topic: String,
        /// The broker's error.
        source: KafkaError,
    },
}

/// Compares the topics that exist, then creates the missing ones, adds partitions if it may, and waits until every
/// partition has a leader.
///
/// # Errors
/// Differences, before anything is changed; a missing right or a refused connection; no broker or no leader within
/// [`Config::wait`].
pub async fn ensure(
    kafka: &crate::Config,
    config: &Config,
    topics: &[Topic],
    options: Options,
) -> Result<Vec<Report>, TopicsError> {
    let admin = Admin::connect(kafka, config)?;
    let mut reports = Vec::new();
    for topic in topics {
        reports.push(examine(&admin, kafka.name(topic.name), topic, config, options).await?);
    }
    let differences = || reports.iter().flat_map(|report| &report.differences);
    let tolerable = |difference: &Difference| options.tolerate_advice && difference.severity == Severity::Advice;
    if !differences().all(tolerable) {
        return Err(TopicsError::Differences(differences().cloned().collect()));
    }
    for (topic, report) in topics.iter().zip(&mut reports) {
        let expected = topic.partitions;
        match report.before {
            None => admin.create(&report.topic, topic).await?,
            Some(before) if before < expected => admin.grow(&report.topic, expected).await?,
            Some(_) => {}
        }
        report.partitions = report.partitions.max(expected);
    }
    for report in &reports {
        admin.wait_for_leaders(&report.topic, report.partitions).await?;
    }
    Ok(reports)
}

/// Reports a topic as it is in the cluster.
async fn examine(
    admin: &Admin<'_>,
    name: String,
    topic: &Topic,
    config: &Config,
    options: Options,
) -> Result<Report, TopicsError> {
    let Some(found) = admin.partitions(&name).await? else {
        return Ok(Report {
            topic: name,
            partitions: 0,
            before: None,
            differences: Vec::new(),
        });
    };
    let settings = admin.settings(&name).await?;
    Ok(Report {
        differences: compare::differences(&name, topic, config, options, &found, &settings),
        topic: name,
        partitions: found.len(),
        before: Some(found.len()),
    })
}
