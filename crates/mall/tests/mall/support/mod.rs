//! A stage for the tests: a broker, a mall or processes on it, a client, and a look into the log.

mod child;
mod client;
mod load;
mod log;
mod stage;

use std::time::{Duration, Instant};

pub(crate) use child::{Child, free_address};
pub(crate) use client::{Client, Reply};
pub(crate) use load::{Load, Written};
pub(crate) use log::{append, order_ids, read, shipments};
pub(crate) use stage::{Stage, config, create_topics, partition, real_kafka};

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

/// Says that a test has not tested anything, because what it needs is not there.
pub(crate) fn skip(needs: &str) {
    #[allow(clippy::print_stderr, reason = "for the person who reads the test's output")]
    {
        eprintln!("skipped: {needs} is not set");
    }
}
