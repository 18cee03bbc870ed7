//! order-N: writes partition N of topic `order`, waits for the broker, then answers.
//!
//! `routes` takes submissions over HTTP and puts them into a bounded queue. `batches` makes orders of them, each with an id
//! of its own, and answers repeated ones from the receipts in `keys`. `writer` writes, one batch at a time: orders that
//! come while a batch is under way are the next one, so that a single order waits for nothing and many share one request.
//! `recovery` reads the end of the partition at start, and `partition_watch` watches whether it can be written to.
//!
//! Behind the border of crate `kafka`: a record is acknowledged once all in-sync replicas have it, `NotWritten` is a
//! record that certainly is not in the log, and every other failure is `Unknown`.

mod batches;
mod keys;
mod metrics;
mod partition_watch;
mod recovery;
mod routes;
mod writer;

use std::time::Instant;

use anyhow::Context as _;
use domain::{Ordinal, Partition, Timestamp, Topic};
use kafka::Producer;
use service::{Context, Tasks};
use tokio::sync::mpsc;

pub use crate::batches::{Batches, Job, Outgoing, Reply};
pub use crate::keys::Keys;
pub use crate::metrics::Metrics;
use crate::partition_watch::PartitionWatch;
pub use crate::recovery::Tail;
use crate::routes::State;
use crate::writer::Writer;

/// Orders that may wait for their batch: a tenth of a second of the highest rate that was measured. More are refused with
/// 503 before anything is written; a longer queue would only make answers slower.
const QUEUE_CAPACITY: usize = 10_000;

/// The configuration of order-N.
#[derive(Clone, Debug)]
pub struct Config {
    /// The broker.
    pub kafka: kafka::Config,
    /// The number of this replica and of its partition.
    pub ordinal: Ordinal,
}

/// The present, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The time of day, which can step. Ids are made from it.
    pub wall: Timestamp,
    /// The time that only goes on. Waits and expiries are measured by it.
    pub monotonic: Instant,
}

impl Now {
    /// Reads both clocks.
    #[expect(clippy::new_without_default, reason = "each call returns another value")]
    pub fn new() -> Self {
        Self {
            wall: Timestamp::now(),
            monotonic: Instant::now(),
        }
    }
}

/// Runs order-N until it is asked to stop: then what is in flight is answered, and the producer flushed.
///
/// # Errors
/// When the configuration cannot be used. An outage of the broker is no error: the service is not ready meanwhile.
pub async fn run(config: Config, mut context: Context) -> anyhow::Result<()> {
    let metrics = Metrics::register(&mut context.metrics, Partition::from(config.ordinal));
    let partition = Partition::from(config.ordinal);
    let latch = context.readiness.latch("looking for the last order id in the log");
    let producer = Producer::new(&config.kafka, &context.name, Topic::Order.name());
    let producer = producer.context("could not make a producer")?;
    let watch = PartitionWatch {
        kafka: config.kafka,
        name: context.name.clone(),
        ordinal: config.ordinal,
        producer: producer.health(),
        latch: latch.clone(),
    };
    let (queue, jobs) = mpsc::channel(QUEUE_CAPACITY);
    let writer = Writer {
        name: context.name.clone(),
        partition,
        producer,
        jobs,
        metrics,
    };

    let mut tasks = Tasks::new(&context.shutdown);
    let shutdown = context.shutdown.clone();
    tasks.spawn("writer", async move {
        // The last id and the keys are needed before the first order. If it is stopped before that, nothing has been
        // accepted yet.
        if let Some(tail) = watch.tail(&shutdown).await {
            // The writer ends when the queue is closed: that is when the server has finished, after `shutdown`.
            tokio::join!(watch.run(shutdown), writer.run(tail));
        }
        Ok(())
    });
    let routes = routes::routes(State::new(&context.name, partition, queue, latch));
    context.body_limit = routes::BATCH_BODY_LIMIT;
    tasks.spawn(
        "http",
        service::http::serve(context, "order: writes the orders of one region to the log", routes),
    );
    tasks.join().await
}
