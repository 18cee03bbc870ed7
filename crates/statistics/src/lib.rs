//! statistics: counts everything that is in the log.
//!
//! There is no state but the logs: at start both topics are read from their beginning, and what is shown is always the
//! fold of the log up to the offsets that it states. `counter` reads, `routes` shows.

mod counter;
mod routes;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::Statistics;
use service::{Context, Tasks};
use tokio::sync::watch;

use crate::counter::{Counter, Log};

/// What statistics is.
#[derive(Clone, Debug)]
pub struct Config {
    /// The broker.
    pub kafka: kafka::Config,
}

/// Runs statistics until it is asked to stop.
///
/// # Errors
/// When a position in the log is lost. An outage of the broker is no error: the figures stay what they are.
pub async fn run(config: Config, context: Context) -> anyhow::Result<()> {
    let figures = Arc::new(Figures::default());
    let mut tasks = Tasks::new(&context.shutdown);
    for log in [Log::Order, Log::Shipment] {
        let latch = context
            .readiness
            .latch(&format!("reading topic {} from its beginning", log.topic()));
        let counter = Counter::new(&config.kafka, log, &context, latch, Arc::clone(&figures))?;
        tasks.spawn_blocking(log.topic(), move || counter.run());
    }
    let routes = routes::routes(figures, context.shutdown.clone());
    tasks.spawn(
        "http",
        service::http::serve(
            context,
            "statistics: counts the orders and shipments of all regions",
            routes,
        ),
    );
    tasks.join().await
}

/// The figures, shared between those who count and those who show.
#[derive(Debug, Default)]
struct Figures {
    statistics: Mutex<Statistics>,
    /// Told of each change.
    changed: watch::Sender<()>,
}

impl Figures {
    fn lock(&self) -> MutexGuard<'_, Statistics> {
        self.statistics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
