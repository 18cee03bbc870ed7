//! A stage for the tests: a broker, a mall or processes on it, a client, and a look into the log.

mod admin;
mod child;
mod client;
mod counting;
mod load;
mod log;
mod stage;
mod told;

use std::time::{Duration, Instant};

pub(crate) use admin::{commit, committed, delete_records, limit_retention, recreate};
pub(crate) use child::Child;
pub(crate) use client::{Client, Reply, read_status, send_raw};
pub(crate) use counting::{Counting, fold, order, order_value, ship, snapshots, write};
pub(crate) use load::Load;
pub(crate) use log::{
    Attempt, NewRecord, append, append_attempts, order_ids, outcomes, read, settled_shipments, shipments,
};
pub(crate) use stage::{Broker, Stage, config, create_topics, kafka_at, needed, partition, real_kafka};
pub(crate) use told::{Asked, Told, run_audit};

/// An address at which nothing listens: port 1 is reserved for a protocol that nobody uses.
pub(crate) const NOWHERE: &str = "127.0.0.1:1";
/// What any single step of a test may take at most; most take milliseconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
