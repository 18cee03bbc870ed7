//! statistics: counts everything that is in the log.
//!
//! It keeps nothing: at start both topics are read from their beginning. The figures are shown with the exact offsets up
//! to which they count. `discovery` asks which partitions there are, `counter` reads them, `progress` knows how far that
//! is, `routes` and `metrics` show the figures.

mod counter;
mod discovery;
mod figures;
mod metrics;
mod progress;
mod routes;

use std::sync::{Arc, mpsc};

use anyhow::Context as _;
use kafka::Consumer;
use service::{Context, Tasks};

use crate::counter::{Counter, Topic};
use crate::discovery::Discovery;
use crate::figures::Figures;

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
pub async fn run(config: Config, mut context: Context) -> anyhow::Result<()> {
    let figures = Arc::new(Figures::default());
    let mut tasks = Tasks::new(&context.shutdown);
    for topic in [Topic::Order, Topic::Shipment] {
        count(topic, &config.kafka, &context, &figures, &mut tasks)?;
    }
    let (publisher, shutdown) = (Arc::clone(&figures), context.shutdown.clone());
    tasks.spawn("events", async move { publisher.publish_changes(&shutdown).await });
    let event_clients = metrics::register(&mut context.metrics, Arc::clone(&figures));
    let routes = routes::routes(figures, event_clients, context.shutdown.clone());
    let about = "statistics: counts the orders and shipments of all regions";
    tasks.spawn("http", service::http::serve(context, about, routes));
    tasks.join().await
}

/// Starts to count a topic.
fn count(
    topic: Topic,
    kafka: &kafka::Config,
    context: &Context,
    figures: &Arc<Figures>,
    tasks: &mut Tasks,
) -> anyhow::Result<()> {
    let consumer = |client_id: &str| {
        Consumer::new(kafka, client_id, "statistics", topic.name()).context("could not make a consumer")
    };
    let client_id = format!("{}-{}", context.name, topic.name());
    let (sender, news) = mpsc::channel();
    let discovery = Discovery::new(
        consumer(&format!("{client_id}-discovery"))?,
        sender,
        context.shutdown.clone(),
    );
    let reason = format!("reading topic {} from its beginning", topic.name());
    let counter = Counter {
        topic,
        service: context.name.clone(),
        consumer: consumer(&client_id)?,
        news,
        figures: Arc::clone(figures),
        latch: context.readiness.latch(&reason),
        shutdown: context.shutdown.clone(),
        partitions: Vec::new(),
    };
    tasks.spawn_blocking(topic.name(), move || counter.run());
    tasks.spawn_blocking("discovery", move || discovery.run());
    Ok(())
}
