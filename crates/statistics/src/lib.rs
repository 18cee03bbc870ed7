//! statistics: counts everything that is in the log.
//!
//! The figures and the exact offsets up to which they count are one thing, and a snapshot of it is kept in topic
//! `statistics`: a start reads only what came after. A snapshot of another log is discarded, and the log is read from its
//! start; so two of these services may run at the same time, and retention may remove what has been counted.
//!
//! `snapshots` reads the last snapshot and writes others, `start` proves what is in it, `discovery` asks which partitions
//! there are and where to begin, `counter` reads them, `progress` knows how far that is, `routes` and `metrics` show the
//! figures.

mod counter;
mod discovery;
mod figures;
mod metrics;
mod progress;
mod routes;
mod snapshots;
mod start;

use std::sync::{Arc, mpsc};

use anyhow::Context as _;
use domain::{Snapshot, Topic};
use kafka::Consumer;
use service::{Context, Tasks};
use tokio::sync::SetOnce;

use crate::counter::Counter;
use crate::discovery::{Discovery, Pending};
use crate::figures::Figures;
use crate::snapshots::Snapshots;

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
    let (figures, snapshot) = (Arc::new(Figures::default()), Arc::new(SetOnce::new()));
    let mut tasks = Tasks::new(&context.shutdown);
    let snapshots = Snapshots {
        kafka: config.kafka.clone(),
        service: context.name.clone(),
        figures: Arc::clone(&figures),
        found: Arc::clone(&snapshot),
        latch: context.readiness.latch("reading the snapshot"),
        shutdown: context.shutdown.clone(),
    };
    tasks.spawn("snapshots", snapshots.run());
    for topic in [Topic::Order, Topic::Shipment] {
        count(topic, &config.kafka, &context, &figures, &snapshot, &mut tasks)?;
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
    snapshot: &Arc<SetOnce<Snapshot>>,
    tasks: &mut Tasks,
) -> anyhow::Result<()> {
    let client_id = format!("{}-{}", context.name, topic.name());
    let (sender, news) = mpsc::channel();
    let discovery = Discovery {
        topic,
        service: context.name.clone(),
        consumer: Consumer::for_replay(kafka, &format!("{client_id}-discovery"), "statistics", topic.name())
            .context("could not make a consumer")?,
        news: sender,
        shutdown: context.shutdown.clone(),
        snapshot: Arc::clone(snapshot),
        pending: Pending::default(),
    };
    let counter = Counter {
        topic,
        service: context.name.clone(),
        consumer: Consumer::new(kafka, &client_id, "statistics", topic.name()).context("could not make a consumer")?,
        news,
        figures: Arc::clone(figures),
        latch: context.readiness.latch(&format!("reading topic {}", topic.name())),
        shutdown: context.shutdown.clone(),
        snapshot: Arc::clone(snapshot),
        partitions: Vec::new(),
        assigned: Vec::new(),
    };
    tasks.spawn_blocking(topic.name(), move || counter.run());
    tasks.spawn_blocking("discovery", move || discovery.run());
    Ok(())
}
