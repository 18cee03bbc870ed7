//! Whether, and with which producer, partition N can be written to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use domain::{OrderId, Ordinal, Partition};
use kafka::{Consumer, Producer, RENEWAL};
use service::Latch;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::Config;

/// How often the state of the client is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How often the cluster is asked while all is well: finds a topic that was deleted.
const PROBE: Duration = Duration::from_secs(10);
/// How far the log is read back for the last order id: further than records that are no orders are likely to reach.
const TAIL: i64 = 1000;

/// Keeps a producer that works, and the latch that says whether it does.
pub(crate) struct Broker {
    kafka: kafka::Config,
    name: String,
    ordinal: Ordinal,
    producer: watch::Sender<Arc<Producer>>,
    latch: Latch,
}

impl Broker {
    pub(crate) fn new(config: &Config, name: &str, latch: Latch) -> anyhow::Result<Self> {
        let producer = Producer::new(&config.kafka, name, "order").context("could not make a producer")?;
        Ok(Self {
            kafka: config.kafka.clone(),
            name: name.to_owned(),
            ordinal: config.ordinal,
            producer: watch::Sender::new(Arc::new(producer)),
            latch,
        })
    }

    /// The producer to use now.
    pub(crate) fn producer(&self) -> watch::Receiver<Arc<Producer>> {
        self.producer.subscribe()
    }

    /// Looks for the largest id of this ordinal at the end of the partition, as often as it takes; `None` when it is
    /// asked to stop meanwhile.
    pub(crate) async fn last_order_id(&self, shutdown: &CancellationToken) -> Option<Option<OrderId>> {
        let mut renewed = Instant::now();
        while !shutdown.is_cancelled() {
            if renewed.elapsed() > RENEWAL {
                self.renew().await;
                renewed = Instant::now();
            }
            let (kafka, name, ordinal) = (self.kafka.clone(), self.name.clone(), self.ordinal);
            let (producer, stop) = (Arc::clone(&self.producer.borrow()), shutdown.clone());
            let asked = spawn_blocking(move || {
                producer
                    .probe(Partition::from(ordinal).id())
                    .map_err(anyhow::Error::msg)?;
                read_last_order_id(&kafka, &name, ordinal, &stop)
            });
            match asked.await {
                Ok(Ok(last)) => {
                    self.latch.release();
                    return Some(last);
                }
                Ok(Err(error)) => self.latch.hold(&format!("{error:#}")),
                Err(panicked) => self.latch.hold(&panicked.to_string()),
            }
            let _ = tokio::time::timeout(LOOK, shutdown.cancelled()).await;
        }
        None
    }

    /// From now on there is another producer.
    async fn renew(&self) {
        let renewed = self.producer.borrow().renewed();
        match renewed {
            Ok(fresh) => {
                let old = self.producer.send_replace(Arc::new(fresh));
                // Taking a client down blocks. A panic in it is logged, and changes nothing here.
                let _ = spawn_blocking(move || drop(old)).await;
            }
            Err(error) => tracing::error!(service = self.name, %error, "could not make another producer"),
        }
    }

    /// Holds the latch while the partition cannot be written to, and replaces a producer that is broken for good.
    pub(crate) async fn watch(self, shutdown: CancellationToken) {
        let mut probed = Instant::now();
        let mut reached = Instant::now();
        while tokio::time::timeout(LOOK, shutdown.cancelled()).await.is_err() {
            let producer = Arc::clone(&self.producer.borrow());
            let broken = producer
                .fatal_error()
                .map(|error| format!("the producer is broken: {error}"));
            if broken.is_some() || reached.elapsed() > RENEWAL {
                if let Some(reason) = broken {
                    self.latch.hold(&reason);
                }
                drop(producer);
                self.renew().await;
                reached = Instant::now();
                continue;
            }
            let doubtful = producer.is_disconnected() || self.latch.reason().is_some();
            if !doubtful {
                reached = Instant::now();
            }
            if doubtful || probed.elapsed() > PROBE {
                let partition = Partition::from(self.ordinal).id();
                match spawn_blocking(move || producer.probe(partition)).await {
                    Ok(Ok(())) => self.latch.release(),
                    Ok(Err(reason)) => self.latch.hold(&reason),
                    Err(panicked) => self.latch.hold(&panicked.to_string()),
                }
                probed = Instant::now();
            }
        }
    }
}

/// Blocks.
fn read_last_order_id(
    kafka: &kafka::Config,
    name: &str,
    ordinal: Ordinal,
    stop: &CancellationToken,
) -> anyhow::Result<Option<OrderId>> {
    let partition = Partition::from(ordinal).id();
    let reader = Consumer::new(kafka, &format!("{name}-tail"), "order", "order").context("could not make a reader")?;
    reader.wait_for_broker()?;
    let found = reader.watermarks(partition)?;
    let mut last = None;
    reader.replay(
        partition,
        found.low.max(found.high - TAIL)..found.high,
        stop,
        |record| {
            let id = record.key().and_then(|key| key.parse::<OrderId>().ok());
            // Others may have put records there by hand; ids of other replicas say nothing about this one's.
            last = last.max(id.filter(|id| id.ordinal() == ordinal));
        },
    )?;
    tracing::debug!(service = name, ?last, high = found.high, "the end of the log is read");
    Ok(last)
}
