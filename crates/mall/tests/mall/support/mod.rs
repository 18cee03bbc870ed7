//! A stage for the tests: a broker, a mall or processes on it, a client, and a look into the log.

mod child;
mod client;
mod log;
mod stage;

use std::time::{Duration, Instant};

pub(crate) use child::{Child, free_address};
pub(crate) use client::{Client, Reply};
pub(crate) use log::{append, order_ids, read, shipments};
pub(crate) use stage::{Stage, config, partition};

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
