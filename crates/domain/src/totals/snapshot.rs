//! What was counted and up to where, as the value of one record: neither can be kept without the other.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::counts::RegionCounts;
use super::{Position, Statistics, Topic};
use crate::Partition;

/// The form of the value. Another one, older or newer, is not read.
const FORMAT: u64 = 2;

/// What was counted and up to where. Any snapshot of a log is right: one from further back has more to be counted after
/// it. So several processes may write them, and whichever is the last one will do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The cluster that holds the log, if it says so.
    cluster: Option<String>,
    /// By partition.
    regions: Vec<RegionCounts>,
}

/// Why a record holds no snapshot of this log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Another version of the mall wrote it.
    #[error("expected a snapshot of format {FORMAT}, found format {0}")]
    Format(u64),
    /// It is no snapshot, or one that says what cannot be.
    #[error("the snapshot is damaged: {0}")]
    Damaged(String),
    /// Its offsets are those of another log.
    #[error("expected a snapshot of cluster {expected}, found one of cluster {found}")]
    Cluster {
        /// The cluster that was asked.
        expected: String,
        /// The cluster that it was written for.
        found: String,
    },
}

/// The value of the record.
#[derive(Serialize, Deserialize)]
struct Stored<R> {
    format: u64,
    cluster: Option<String>,
    regions: R,
}

impl Snapshot {
    /// The key of its record.
    pub const KEY: &str = "snapshot";

    /// A snapshot in which nothing is counted yet.
    pub fn new(cluster: Option<String>) -> Self {
        Self {
            cluster,
            regions: Vec::new(),
        }
    }

    /// Reads the value of a record, which may be any bytes, for the log of a cluster.
    ///
    /// # Errors
    /// When it is no snapshot of that log. A topic that was recreated since is another matter: see [`LastRecord`].
    ///
    /// [`LastRecord`]: super::LastRecord
    pub fn from_record(value: &[u8], cluster: Option<&str>) -> Result<Self, SnapshotError> {
        #[derive(Deserialize)]
        struct Header {
            format: u64,
        }
        let damaged = |error: serde_json::Error| SnapshotError::Damaged(error.to_string());
        let Header { format } = serde_json::from_slice(value).map_err(damaged)?;
        if format != FORMAT {
            return Err(SnapshotError::Format(format));
        }
        let stored: Stored<Vec<RegionCounts>> = serde_json::from_slice(value).map_err(damaged)?;
        if let Some(region) = stored.regions.iter().position(|region| !region.are_possible()) {
            return Err(SnapshotError::Damaged(format!(
                "in region {region}, the figures do not fit the offsets"
            )));
        }
        match (cluster, stored.cluster) {
            (Some(expected), Some(found)) if expected != found => Err(SnapshotError::Cluster {
                expected: expected.to_owned(),
                found,
            }),
            (expected, found) => Ok(Self {
                cluster: expected.map(str::to_owned).or(found),
                regions: stored.regions,
            }),
        }
    }

    /// The value of its record.
    pub fn to_record(&self) -> Vec<u8> {
        let stored = Stored {
            format: FORMAT,
            cluster: self.cluster.clone(),
            regions: &self.regions,
        };
        serde_json::to_vec(&stored).expect("numbers and strings are JSON")
    }

    /// Takes over what was counted. Where nothing was, what was known before stays: a partition that could not be read
    /// yet must not take with it what is no longer in its log.
    pub fn update(&mut self, statistics: &Statistics) {
        for (index, region) in statistics.regions.iter().enumerate() {
            for topic in [Topic::Order, Topic::Shipment] {
                if region.counts.position(topic).last.is_some() {
                    let regions = self.regions.len().max(index + 1);
                    self.regions.resize_with(regions, RegionCounts::default);
                    self.regions[index].take(topic, &region.counts);
                }
            }
        }
    }

    /// Up to where it has counted a partition of a topic.
    pub fn position(&self, topic: Topic, partition: Partition) -> Position {
        let region = self.regions.get(partition.index());
        region.map(|region| region.position(topic)).unwrap_or_default()
    }

    pub(super) fn regions(&self) -> &[RegionCounts] {
        &self.regions
    }
}
