//! What a topic is held to, and how what differs is mended. Pure.

use std::collections::BTreeMap;
use std::fmt;

use super::accepted::{
    Accepted, MIN_INSYNC_REPLICAS, REPLICATION_FACTOR, RETENTION_BYTES, RETENTION_MS, UNCLEAN_LEADER_ELECTION,
};
use super::{Cleanup, Config, Growth, Topic};

/// A topic as it is in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) partitions: BTreeMap<i32, Partition>,
    /// The brokers of the cluster.
    pub(super) brokers: Vec<i32>,
}

/// One of its partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) has_leader: bool,
    /// The brokers that have a copy of it.
    pub(super) replicas: Vec<i32>,
}

/// Something about a topic is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deviation {
    /// The topic's name in the cluster.
    pub topic: String,
    /// What it should be.
    pub expected: String,
    /// What it is.
    pub found: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Deviation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            topic,
            expected,
            found,
            remedy,
        } = self;
        write!(
            formatter,
            "topic {topic:?}: expected {expected}, found {found}: {remedy}"
        )
    }
}

/// A topic is held to this.
pub(super) struct Expectations<'a> {
    pub(super) topic: &'a Topic,
    /// Its name in the cluster.
    pub(super) name: &'a str,
    pub(super) config: &'a Config,
    pub(super) growth: Growth,
    /// Where the tools of Kafka find the cluster.
    pub(super) servers: &'a str,
}

/// Which values of a setting are good.
enum Good<'a> {
    /// This one.
    Only(&'a str),
    /// This number and larger ones.
    AtLeast(i32),
}

impl Good<'_> {
    fn includes(&self, found: &str) -> bool {
        match self {
            Self::Only(value) => *value == found,
            Self::AtLeast(least) => found.parse::<i32>().is_ok_and(|found| found >= *least),
        }
    }

    fn value(&self) -> String {
        match self {
            Self::Only(value) => (*value).to_owned(),
            Self::AtLeast(least) => least.to_string(),
        }
    }
}

impl Expectations<'_> {
    /// The settings that are asked for.
    fn settings(&self) -> Vec<(&'static str, Good<'static>)> {
        let mut settings = vec![
            ("cleanup.policy", Good::Only(self.topic.cleanup.policy())),
            (MIN_INSYNC_REPLICAS, Good::AtLeast(self.config.min_insync_replicas)),
            (UNCLEAN_LEADER_ELECTION, Good::Only("false")),
        ];
        if self.topic.cleanup == Cleanup::Delete {
            settings.push((RETENTION_MS, Good::Only("-1")));
            settings.push((RETENTION_BYTES, Good::Only("-1")));
        }
        settings
    }

    /// What differs, as far as nobody has accepted it. `value` tells the value of a setting; `None` where the broker did
    /// not tell.
    ///
    /// # Errors
    /// When the broker did not tell a setting.
    pub(super) fn deviations<E>(
        &self,
        found: &Found,
        value: impl Fn(&str) -> Result<String, E>,
    ) -> Result<Vec<Deviation>, E> {
        let accepted = &self.config.accept;
        let mut deviations = Vec::new();
        deviations.extend(self.partitions(found.partitions.len(), accepted));
        deviations.extend(self.replication(found, accepted));
        for (setting, good) in self.settings() {
            let found = value(setting)?;
            if good.includes(&found) || accepted.value(setting, &found) {
                continue;
            }
            let remedy = format!(
                "set it: kafka-configs --bootstrap-server {} --alter --entity-type topics --entity-name {} --add-config \
                 {setting}={}{}",
                self.servers,
                self.name,
                good.value(),
                accepting(setting, &found)
            );
            deviations.push(self.deviation(self.wanted(setting, &good), found, remedy));
        }
        Ok(deviations)
    }

    fn deviation(&self, expected: String, found: String, remedy: String) -> Deviation {
        let topic = self.name.to_owned();
        Deviation {
            topic,
            expected,
            found,
            remedy,
        }
    }

    fn wanted(&self, setting: &str, good: &Good<'_>) -> String {
        match good {
            Good::Only(value) => format!("{setting}={value}"),
            Good::AtLeast(least) => format!("{setting}={least} or more"),
        }
    }

    fn partitions(&self, found: usize, accepted: &Accepted) -> Option<Deviation> {
        let expected = self.topic.partitions;
        let remedy = if found > expected && !accepted.more_partitions() {
            "partitions cannot be taken away: set MALL_REPLICAS to what was found, or delete the topic and its records, \
             or accept it: --accept more-partitions"
        } else if found < expected && self.growth == Growth::Refused {
            "run mall topics --grow to add the missing ones, or set MALL_REPLICAS to what was found"
        } else {
            return None;
        };
        Some(self.deviation(format!("{expected} partitions"), found.to_string(), remedy.to_owned()))
    }

    fn replication(&self, found: &Found, accepted: &Accepted) -> Option<Deviation> {
        let good = Good::AtLeast(self.config.replication_factor);
        let copies = |partition: &Partition| partition.replicas.len();
        let fewest = found.partitions.values().map(copies).min()?.to_string();
        if good.includes(&fewest) || accepted.value(REPLICATION_FACTOR, &fewest) {
            return None;
        }
        let factor = usize::try_from(self.config.replication_factor).unwrap_or_default();
        let command = if found.brokers.len() < factor {
            format!("start more brokers, there are {}", found.brokers.len())
        } else {
            format!(
                "make the missing copies: kafka-reassign-partitions --bootstrap-server {} --execute \
                 --reassignment-json-file <(echo '{}')",
                self.servers,
                self.reassignment(found, factor)
            )
        };
        let remedy = format!("{command}{}", accepting(REPLICATION_FACTOR, &fewest));
        Some(self.deviation(self.wanted(REPLICATION_FACTOR, &good), fewest, remedy))
    }

    /// The copies that there should be, in the form that `kafka-reassign-partitions` takes: those that there are, and
    /// others on the brokers that follow the first of them, so that each broker gets its part.
    fn reassignment(&self, found: &Found, factor: usize) -> String {
        let few = |(_, partition): &(&i32, &Partition)| partition.replicas.len() < factor;
        let lines: Vec<String> = found
            .partitions
            .iter()
            .filter(few)
            .map(|(number, partition)| {
                let first = partition.replicas.first();
                let after = found
                    .brokers
                    .iter()
                    .position(|broker| Some(broker) == first)
                    .unwrap_or_default();
                let others = found.brokers.iter().cycle().skip(after + 1).take(found.brokers.len());
                let mut replicas = partition.replicas.clone();
                for broker in others {
                    if replicas.len() < factor && !replicas.contains(broker) {
                        replicas.push(*broker);
                    }
                }
                let replicas: Vec<String> = replicas.iter().map(ToString::to_string).collect();
                let (topic, replicas) = (self.name, replicas.join(","));
                format!(r#"{{"topic":"{topic}","partition":{number},"replicas":[{replicas}]}}"#)
            })
            .collect();
        format!(r#"{{"version":1,"partitions":[{}]}}"#, lines.join(","))
    }
}

/// How a value is accepted as it is; a policy that loses records is not.
fn accepting(setting: &str, found: &str) -> String {
    match format!("{setting}={found}").parse::<Accepted>() {
        Ok(_) => format!("; or accept it: mall topics --accept {setting}={found} (MALL_TOPICS__ACCEPT)"),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests;
