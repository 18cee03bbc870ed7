//! The figures that statistics shows.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::evidence::Partition;
use crate::{ServiceUrl, http_get};

/// How long statistics may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long statistics may take to count what was in the log when the audit began.
pub(super) const COUNT_TIMEOUT: Duration = Duration::from_secs(10);
const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// The answer to `GET /api/statistics`, as far as it is compared with the log.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Figures {
    pub(super) regions: Vec<Counts>,
    pub(super) total: Counts,
    pub(super) offsets: Offsets,
    /// The offsets from which it counts: 0, unless retention had removed the start of a log.
    pub(super) begins: Option<Offsets>,
}

/// An offset for each partition.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Offsets {
    pub(super) order: Vec<i64>,
    pub(super) shipment: Vec<i64>,
}

/// The figures of one region, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Counts {
    pub(super) orders: u64,
    pub(super) money: u64,
    pub(super) shipped: u64,
    pub(super) duplicates: u64,
    pub(super) rejected: u64,
}

impl Counts {
    pub(super) fn named(self) -> [(&'static str, u64); 5] {
        [
            ("orders", self.orders),
            ("money", self.money),
            ("shipped", self.shipped),
            ("duplicates", self.duplicates),
            ("rejected", self.rejected),
        ]
    }
}

impl Figures {
    /// Asks statistics.
    ///
    /// # Errors
    /// When it does not answer in time, or with something else.
    pub(super) fn ask(url: &ServiceUrl) -> anyhow::Result<Self> {
        let path = "/api/statistics";
        let reply = http_get::get(url.authority().to_owned(), path.to_owned(), TIMEOUT)?;
        ensure!(reply.status == 200, "status {}", reply.status);
        serde_json::from_str(&reply.body).with_context(|| format!("no figures at {url}{path}"))
    }

    /// Asks again and again, until statistics has counted everything that these partitions held when the audit began, or
    /// its time is over. Returns the last answer.
    pub(super) fn follow(url: &ServiceUrl, partitions: &[Partition], stop: &CancellationToken) -> anyhow::Result<Self> {
        let deadline = Instant::now() + COUNT_TIMEOUT;
        loop {
            let figures = Self::ask(url);
            let has_all = |figures: &Self| partitions.iter().all(|partition| figures.have_reached(partition));
            if figures.as_ref().is_ok_and(has_all) || Instant::now() > deadline || stop.is_cancelled() {
                return figures;
            }
            thread::sleep(ASK_INTERVAL);
        }
    }

    /// Returns `true` if they count all that a partition held when the audit began.
    pub(super) fn have_reached(&self, partition: &Partition) -> bool {
        let index = usize::from(partition.number);
        let reached = |offsets: &[i64], end: i64| offsets.get(index).is_some_and(|offset| *offset >= end);
        reached(&self.offsets.order, partition.orders.offsets.end)
            && reached(&self.offsets.shipment, partition.shipments.offsets.end)
    }
}
