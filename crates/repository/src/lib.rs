//! repository-N: ships each order of partition N exactly once, whatever dies.
//!
//! Topic `shipment` is the repository's position, its record of what it did, and its list of what it could not do, in
//! one log, written in transactions. `position` decides where to go on, `decision` what becomes of a record, `window`
//! which ids were shipped before, `batching` when a batch is complete: all pure. `recovery` reads the logs back,
//! `worker` is the loop around all. Beside that, `routes` answers where an order is: `known` are those that were shipped
//! last (`recent`, which `backfill` reads back after a start), and where the logs mislead (`late`); the others `lookup`
//! finds in the logs.

mod backfill;
mod batching;
mod decision;
mod interruption;
mod known;
mod late;
mod lookup;
mod metrics;
mod position;
mod recent;
mod recovery;
mod routes;
mod window;
mod worker;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use domain::{Ordinal, Partition};
use serde::{Deserialize, Serialize};
use service::{Context, Tasks};

use crate::backfill::Backfill;
use crate::known::KnownOrders;
use crate::metrics::Metrics;
pub use crate::position::OnLostPosition;
use crate::routes::Lookups;
use crate::worker::Worker;

/// What repository-N is.
#[derive(Clone, Debug)]
pub struct Config {
    /// The broker.
    pub kafka: kafka::Config,
    /// Its number, and that of its partition.
    pub ordinal: Ordinal,
    /// What can be set.
    pub settings: Settings,
}

/// What can be set of repository-N.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long packing takes. The orders of one batch are packed together.
    #[serde(with = "humantime_serde")]
    pub handling_time: Duration,
    /// The most orders in one transaction.
    pub batch_orders: NonZeroU32,
    /// The least time between two transactions: what arrives meanwhile is the next batch. An order that comes after a
    /// quiet time does not wait.
    #[serde(with = "humantime_serde")]
    pub batch_interval: Duration,
    /// How long shipped ids are remembered to recognise an order that comes again, by the time within the ids. Longer
    /// than a client may repeat an order. 8 bytes for each order, at most 2 million orders.
    #[serde(with = "humantime_serde")]
    pub duplicate_window: Duration,
    /// What to do when the position is lost.
    pub on_lost_position: OnLostPosition,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            handling_time: Duration::ZERO,
            // Kafka's own test of transactions has 750 records in each.
            batch_orders: const { NonZeroU32::new(1000).unwrap() },
            // A transaction costs the same for one record and for a hundred, about 4 ms of a broker's and a client's
            // time; with this an order of a hundred a second is still visible within 25 ms.
            batch_interval: Duration::from_millis(20),
            // A client may repeat an order for 10 minutes, and order-N may write it somewhat later.
            duplicate_window: Duration::from_secs(15 * 60),
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
    let (partition, known) = (Partition::from(config.ordinal), KnownOrders::default());
    let backfill = Arc::new(Backfill::new(&config.kafka, &context.name, partition, known.clone()));
    let lookups = Lookups::new(
        &config.kafka,
        &context.name,
        partition,
        known.clone(),
        Arc::clone(&backfill),
    );
    let worker = Worker::new(config, context.name.clone(), latch, shutdown.clone(), metrics, known)?;
    let mut tasks = Tasks::new(&context.shutdown);
    tasks.spawn_blocking("worker", move || worker.run());
    let routes = routes::routes(Arc::clone(&lookups));
    let until = shutdown.clone();
    tasks.spawn("lookups", async move {
        lookups.close_idle(&until).await;
        Ok(())
    });
    tasks.spawn("backfill", async move {
        backfill.run(&shutdown).await;
        Ok(())
    });
    tasks.spawn(
        "http",
        service::http::serve(context, "repository: ships the orders of one region", routes),
    );
    tasks.join().await
}
