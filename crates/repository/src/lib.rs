//! repository-N: ships each order of partition N exactly once, whatever dies.
//!
//! Topic `shipment` is the repository's position, its record of what it did, and its list of what it could not do, in
//! one log, written in transactions. `position` decides where to go on, `packing` what becomes of a record, `window`
//! which ids were shipped before: all pure. `recovery` reads the log back, `warehouse` is the loop around all.

mod interruption;
mod metrics;
mod packing;
mod position;
mod recovery;
mod warehouse;
mod window;

use std::num::NonZeroU32;
use std::time::Duration;

use domain::Ordinal;
use poem::Route;
use serde::{Deserialize, Serialize};
use service::{Context, Tasks};

use crate::metrics::Metrics;
pub use crate::position::OnLostPosition;
use crate::warehouse::Warehouse;

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
    /// How many shipped ids are remembered to recognise an order that comes again. 8 bytes each.
    pub duplicate_window: NonZeroU32,
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
            // Ten minutes at the highest rate that was measured: as long as a client may repeat an order.
            duplicate_window: const { NonZeroU32::new(2_000_000).unwrap() },
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
    let metrics = Metrics::register(&mut context.metrics);
    let latch = context.readiness.latch("taking over the partition");
    let shutdown = context.shutdown.clone();
    let warehouse = Warehouse::new(config, context.name.clone(), latch, shutdown, metrics)?;
    let mut tasks = Tasks::new(&context.shutdown);
    tasks.spawn_blocking("warehouse", move || warehouse.run());
    tasks.spawn(
        "http",
        service::http::serve(context, "repository: ships the orders of one region", Route::new()),
    );
    tasks.join().await
}
