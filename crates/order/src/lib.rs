//! order-N: writes partition N of topic `order`, waits for the broker, then answers.
//!
//! `routes` takes submissions over HTTP and puts them into a bounded queue. `batches` gives them their ids, and answers
//! what came before with the same key, which `keys` remembers. `writer` writes, one batch at a time: what arrives while
//! a batch is on its way is the next one, so that a lone order waits for nothing and many share one request. `broker`
//! watches whether the partition can be written to at all.

mod batches;
mod broker;
mod keys;
mod metrics;
mod routes;
mod writer;

use std::num::NonZeroU32;

use anyhow::Context as _;
use domain::{Ordinal, Partition};
use kafka::Producer;
use serde::{Deserialize, Serialize};
use service::{Context, Tasks};
use tokio::sync::mpsc;

use crate::broker::Broker;
use crate::metrics::Metrics;
use crate::routes::State;
use crate::writer::Writer;

/// What order-N is.
#[derive(Clone, Debug)]
pub struct Config {
    /// The broker.
    pub kafka: kafka::Config,
    /// Its number, and that of its partition.
    pub ordinal: Ordinal,
    /// What can be set.
    pub settings: Settings,
}

/// What can be set of order-N.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Orders that may wait for their batch. More are refused with 503 before anything is written.
    pub queue_capacity: NonZeroU32,
    /// The most idempotency keys that are remembered for their ten minutes, of at most 164 bytes each. An order with
    /// another key is refused with 503 before anything is written.
    pub idempotency_keys: NonZeroU32,
}

impl Default for Settings {
    fn default() -> Self {
        // A tenth of a second of the fastest that was measured: a longer queue only makes answers late.
        Self {
            queue_capacity: const { NonZeroU32::new(10_000).unwrap() },
            // Ten minutes at 1,000 orders a second with a key, for one region: 60 to 100 MB.
            idempotency_keys: const { NonZeroU32::new(600_000).unwrap() },
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
    let producer = Producer::new(&config.kafka, &context.name, "order").context("could not make a producer")?;
    let broker = Broker::new(&config, &context.name, producer.health(), latch.clone());
    let (queue, jobs) = mpsc::channel(config.settings.queue_capacity.get() as usize);
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
        if let Some(tail) = broker.tail(&shutdown).await {
            // The writer ends when the queue is closed: that is when the server has finished, after `shutdown`.
            tokio::join!(broker.watch(shutdown), writer.run(tail));
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
