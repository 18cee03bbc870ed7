//! What an operator has decided otherwise.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Settings whose value an operator may accept, as they are found.
pub(super) const RETENTION_MS: &str = "retention.ms";
pub(super) const RETENTION_BYTES: &str = "retention.bytes";
pub(super) const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";
pub(super) const REPLICATION_FACTOR: &str = "replication.factor";
pub(super) const UNCLEAN_LEADER_ELECTION: &str = "unclean.leader.election.enable";
const SETTINGS: [&str; 5] = [
    RETENTION_MS,
    RETENTION_BYTES,
    MIN_INSYNC_REPLICAS,
    REPLICATION_FACTOR,
    UNCLEAN_LEADER_ELECTION,
];
/// Topics may have more partitions than are expected.
const MORE_PARTITIONS: &str = "more-partitions";

/// What is accepted although it is not what is expected: `retention.ms=604800000`, `more-partitions`, comma separated.
/// A value is accepted as it is named, and no other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Accepted(BTreeSet<String>);

/// What cannot be accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {MORE_PARTITIONS}, or the value of a setting such as {RETENTION_MS}=604800000 ({settings}), found {0:?}", settings = SETTINGS.join(", "))]
pub struct ParseAcceptedError(String);

impl Accepted {
    /// Accepts this too.
    pub fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    pub(super) fn more_partitions(&self) -> bool {
        self.0.contains(MORE_PARTITIONS)
    }

    pub(super) fn value(&self, setting: &str, found: &str) -> bool {
        self.0.contains(&format!("{setting}={found}"))
    }
}

impl FromStr for Accepted {
    type Err = ParseAcceptedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = |item: &str| {
            let setting = item.split_once('=').filter(|(_, value)| !value.is_empty());
            item == MORE_PARTITIONS || setting.is_some_and(|(setting, _)| SETTINGS.contains(&setting))
        };
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items
            .map(|item| {
                let item = item.to_owned();
                if known(&item) {
                    Ok(item)
                } else {
                    Err(ParseAcceptedError(item))
                }
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl TryFrom<String> for Accepted {
    type Error = ParseAcceptedError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Accepted> for String {
    fn from(accepted: Accepted) -> Self {
        accepted.0.into_iter().collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_accepted_as_it_is_named_and_no_other() {
        let accepted: Accepted = "retention.ms=604800000, more-partitions".parse().expect("known");
        assert!(accepted.more_partitions());
        assert!(accepted.value("retention.ms", "604800000"));
        assert!(!accepted.value("retention.ms", "86400000"));
        assert!(!accepted.value("retention.bytes", "604800000"));
        assert_eq!(String::from(accepted), "more-partitions,retention.ms=604800000");
    }

    #[test]
    fn what_cannot_be_accepted_is_named() {
        for item in [
            "retention",
            "retention.ms=",
            "cleanup.policy=compact",
            "fewer-partitions",
        ] {
            let error = format!("more-partitions,{item}").parse::<Accepted>().expect_err(item);
            assert_eq!(error, ParseAcceptedError(item.to_owned()));
        }
    }
}
