//! repository-N: ships each order of partition N exactly once, whatever dies.
//!
//! Topic `shipment` is its position, its record of what it did, and its list of what it could not do, in one log that is
//! written in transactions. `position` decides where to go on, `decision` the outcome of a record, `window` which orders
//! were shipped before, `batching` when a batch is complete, `continuity` whether the log still is the same: all pure.
//! `recovery` folds topic `shipment` into a [`Progress`]; it reads and writes through the trait [`Logs`], which
//! `kafka_logs` implements for Kafka and the simulation in `crates/mall/tests` in memory. `worker` is the loop around all.
//! Beside that, `routes` answers where an order is, and `lookup` finds it in the logs.
//!
//! Behind the border of crate `kafka`: a transaction is visible as a whole or not at all, only the process that has opened
//! its transactional id last can commit, and a read of a range ends only when its position has reached the end.

mod batching;
mod continuity;
mod decision;
mod interruption;
mod kafka_logs;
mod lookup;
mod metrics;
mod outcome;
mod position;
mod recovery;
mod routes;
mod window;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use domain::{Ordinal, Partition};
use serde::{Deserialize, Serialize};
use service::{Context, Tasks};

pub use crate::continuity::{Continuity, Step};
pub use crate::decision::Batch;
use crate::metrics::Metrics;
pub use crate::outcome::{OrderRecord, OutcomeRecord};
pub use crate::position::{LostPosition, OnLostPosition};
pub use crate::recovery::{Logs, Progress, StartError, start};
use crate::routes::Lookups;
pub use crate::window::Window;
use crate::worker::Worker;

/// The configuration of repository-N.
#[derive(Clone, Debug)]
pub struct Config {
    /// The broker.
    pub kafka: kafka::Config,
    /// The number of this replica and of its partition.
    pub ordinal: Ordinal,
    /// The settings.
    pub settings: Settings,
}

/// The settings of repository-N.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The simulated packing time of one order. The orders of one batch are packed together.
    #[serde(with = "humantime_serde")]
    pub handling_time: Duration,
    /// The decision about a lost position.
    pub on_lost_position: OnLostPosition,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            handling_time: Duration::ZERO,
            // Any other choice can ship an order twice, or never.
            on_lost_position: OnLostPosition::Refuse,
        }
    }
}

/// Runs repository-N until it is asked to stop: a transaction that has begun is finished.
///
/// # Errors
/// When the position is lost, or another process has taken over this ordinal (then the process should come back
/// later). An outage of the broker is no error: the service is not ready meanwhile.
pub async fn run(config: Config, mut context: Context) -> anyhow::Result<()> {
    let metrics = Metrics::register(&mut context.metrics, Partition::from(config.ordinal));
    let latch = context.readiness.latch("taking over the partition");
    let shutdown = context.shutdown.clone();
    let lookups = Lookups::new(&config.kafka, &context.name, Partition::from(config.ordinal), &shutdown);
    let worker = Worker::new(config, context.name.clone(), latch, shutdown, metrics)?;
    let mut tasks = Tasks::new(&context.shutdown);
    tasks.spawn_blocking("worker", move || worker.run());
    let routes = routes::routes(Arc::clone(&lookups));
    tasks.spawn("lookups", async move {
        lookups.close_idle().await;
        Ok(())
    });
    tasks.spawn(
        "http",
        service::http::serve(context, "repository: ships the orders of one region", routes),
    );
    tasks.join().await
}
