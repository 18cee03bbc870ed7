//! Compares a topic with what it should be. Pure.

use std::collections::BTreeMap;
use std::fmt;

use self::Severity::{Advice, Error};
use self::Values::{AtLeast, AtMost, Only};
use super::{Cleanup, Config, Options, Topic};

/// The partitions of a topic, by number.
pub(super) type Partitions = BTreeMap<i32, Partition>;

/// A partition in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) has_leader: bool,
    pub(super) replicas: usize,
}

/// A property of a topic that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The topic's name in the cluster.
    pub topic: String,
    /// The property and its expected value: `retention.ms = -1`.
    pub expected: String,
    /// Its value in the cluster.
    pub found: String,
    /// What follows from it, or what to do.
    pub meaning: &'static str,
    /// Decides whether the mall can run.
    pub severity: Severity,
}

/// The effect of a difference on the mall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The mall runs, with a weaker promise: an operator may have decided so.
    Advice,
    /// The mall cannot run.
    Error,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            topic,
            expected,
            found,
            meaning,
            ..
        } = self;
        write!(
            formatter,
            "topic {topic:?}: expected {expected}, found {found}: {meaning}"
        )
    }
}

enum Values {
    Only(&'static str),
    AtLeast(usize),
    AtMost(usize),
}

impl Values {
    fn include(&self, found: &str) -> bool {
        match self {
            Self::Only(value) => *value == found,
            Self::AtLeast(least) => found.parse::<usize>().is_ok_and(|found| found >= *least),
            Self::AtMost(most) => found.parse::<usize>().is_ok_and(|found| found <= *most),
        }
    }
}

impl fmt::Display for Values {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only(value) => write!(formatter, "= {value}"),
            Self::AtLeast(least) => write!(formatter, ">= {least}"),
            Self::AtMost(most) => write!(formatter, "<= {most}"),
        }
    }
}

/// Returns the differences between a topic in the cluster and what it should be.
pub(super) fn differences(
    name: &str,
    topic: &Topic,
    config: &Config,
    options: Options,
    partitions: &Partitions,
    settings: &BTreeMap<String, String>,
) -> Vec<Difference> {
    let fewest_replicas = partitions.values().map(|partition| partition.replicas).min();
    let found = |property: &str| match property {
        "partitions" => partitions.len().to_string(),
        "replication.factor" => fewest_replicas.unwrap_or_default().to_string(),
        setting => settings.get(setting).map_or("nothing", String::as_str).to_owned(),
    };
    let mut differences = Vec::new();
    let mut expect = |property, values: Values, severity, meaning| {
        let found = found(property);
        if !values.include(&found) {
            differences.push(Difference {
                topic: name.to_owned(),
                expected: format!("{property} {values}"),
                found,
                meaning,
                severity,
            });
        }
    };
    if !options.grow {
        let meaning = "run mall topics --grow to add the missing ones, or correct MALL_REPLICAS";
        expect("partitions", AtLeast(topic.partitions), Error, meaning);
    }
    let meaning = "the mall does not use the others, and Kafka cannot remove them";
    expect("partitions", AtMost(topic.partitions), Advice, meaning);
    let meaning = "Kafka would delete records that the mall needs: change the setting";
    expect("cleanup.policy", Only(topic.cleanup.policy()), Error, meaning);
    if topic.cleanup == Cleanup::Delete {
        let meaning = "Kafka deletes the oldest records, whether they are shipped and counted or not";
        expect("retention.ms", Only("-1"), Advice, meaning);
        expect("retention.bytes", Only("-1"), Advice, meaning);
    }
    let (replicas, in_sync) = (config.replication_factor.into(), config.min_insync_replicas.into());
    let meaning = "a broker that is lost can take acknowledged records with it";
    expect("replication.factor", AtLeast(replicas), Advice, meaning);
    let meaning = "fewer brokers have a record when it is acknowledged";
    expect("min.insync.replicas", AtLeast(in_sync), Advice, meaning);
    let meaning = "a replica that lacks acknowledged records can become the leader";
    expect("unclean.leader.election.enable", Only("false"), Advice, meaning);
    differences
}

#[cfg(test)]
mod tests;
