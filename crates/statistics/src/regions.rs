//! Finds the regions: asks the broker which partitions there are, and starts a [`Reader`] for each.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use domain::{Partition, Replicas, Topic};
use kafka::{ConsumeError, Consumer, Fetch, KafkaError};
use service::Latch;
use tokio::runtime::Handle;
use tokio::sync::SetOnce;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::GROUP;
use crate::figures::Figures;
use crate::region::{Reader, Source};
use crate::services::KAFKA;
use crate::viewers::Viewers;

/// Interval of the question for new partitions, which are counted within 15 s.
const INTERVAL: Duration = Duration::from_secs(10);
/// The same while there are none, or the broker does not answer.
const FIRST_INTERVAL: Duration = Duration::from_millis(500);
/// Timeout of the question.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Interval and timeout of the question while the figures have viewers: the page shows whether the broker answers.
const PROBE_INTERVAL: Duration = Duration::from_millis(900);

/// The broker waits for records this long before it answers that there are none.
const FETCH_WAIT: (&str, &str) = ("fetch.wait.max.ms", "1000");

/// Finds the regions. Blocks its thread.
pub(crate) struct Regions {
    pub(crate) kafka: kafka::Config,
    /// The name of this service in its log.
    pub(crate) service: String,
    /// Asks for the partitions of topic `order`.
    pub(crate) consumer: Consumer,
    pub(crate) figures: Arc<Figures>,
    /// Set once the figures have what the snapshot has.
    pub(crate) restored: Arc<SetOnce<()>>,
    /// Released once each region that was there at the start has caught up or shown a problem.
    pub(crate) latch: Latch,
    /// `None` if no service is probed.
    pub(crate) viewers: Option<Arc<Viewers>>,
    pub(crate) shutdown: CancellationToken,
}

impl Regions {
    /// Works until it is told to stop, then waits for the readers.
    ///
    /// # Errors
    /// When a reader has ended, or no client can be made.
    pub(crate) fn run(mut self) -> anyhow::Result<()> {
        let (mut readers, mut known) = (JoinSet::new(), 0);
        while !self.shutdown.is_cancelled() {
            let found = self.partitions();
            let interval = if found.is_ok() { INTERVAL } else { FIRST_INTERVAL };
            match found {
                Ok(partitions) => {
                    self.start(&partitions, known, &mut readers)
                        .context("could not make a consumer")?;
                    known = known.max(partitions.len());
                }
                // With regions there is something to show: the figures are good, if not of this moment.
                Err(reason) if known == 0 => self.latch.hold(&reason),
                Err(_) => {}
            }
            if self.consumer.needs_renewal() {
                self.consumer.renew().context("could not make another consumer")?;
            }
            Handle::current().block_on(self.pause(interval, &mut readers))?;
        }
        while let Some(ended) = Handle::current().block_on(readers.join_next()) {
            ended.context("a reader has failed")?;
        }
        Ok(())
    }

    /// Asks for the partitions of both topics: a region is counted as soon as it has one of the two.
    fn partitions(&self) -> Result<Vec<Partition>, String> {
        let is_viewed = self.viewers.as_ref().is_some_and(|viewers| viewers.any());
        let timeout = if is_viewed { PROBE_INTERVAL } else { TIMEOUT };
        let shipment = self.consumer.sharing_client(&self.kafka, Topic::Shipment.name());
        let (mut count, mut reasons) = (0, Vec::new());
        for consumer in [&self.consumer, &shipment] {
            let answer = consumer.leaders_within(timeout);
            let reached = answer.as_ref().map(|_| ()).map_err(|error| consumer.outage(error));
            self.figures.record_readiness(KAFKA, reached);
            match answer.as_ref().map(Vec::len) {
                Ok(0) => reasons.push(format!("topic {} does not exist: run mall topics", consumer.topic())),
                Ok(partitions) => count = count.max(partitions),
                // All missing rights are named at once.
                Err(ConsumeError::Forbidden(forbidden)) => reasons.push(forbidden.to_string()),
                Err(error) => return Err(consumer.outage(error)),
            }
        }
        if !reasons.is_empty() {
            return Err(reasons.join("; "));
        }
        let count = i64::try_from(count).map_err(|error| error.to_string())?;
        let replicas = Replicas::try_from(count).map_err(|error| error.to_string())?;
        Ok(replicas.partitions().collect())
    }

    /// Starts to count the regions after those that are known. Readiness waits for those that were there at the start.
    fn start(&self, partitions: &[Partition], known: usize, readers: &mut JoinSet<()>) -> Result<(), KafkaError> {
        self.figures.lock().grow(partitions.iter().copied());
        let latch = (known == 0).then(|| Arc::new(self.latch.clone()));
        // All that is in a partition that is added while this service runs has come in while it runs.
        let replay_until = if known == 0 { i64::MAX } else { 0 };
        let kafka = self.patient();
        for partition in partitions.iter().skip(known) {
            let client_id = format!("{}-{partition}", self.service);
            let order = Consumer::new(&kafka, &client_id, GROUP, Topic::Order.name(), Fetch::Live)?;
            let shipment = order.sharing_client(&kafka, Topic::Shipment.name());
            let reader = Reader {
                partition: *partition,
                kafka: self.kafka.clone(),
                sources: [
                    Source::new(Topic::Order, order, replay_until),
                    Source::new(Topic::Shipment, shipment, replay_until),
                ],
                service: self.service.clone(),
                figures: Arc::clone(&self.figures),
                restored: Arc::clone(&self.restored),
                latch: Cell::new(latch.clone()),
                shutdown: self.shutdown.clone(),
            };
            readers.spawn_blocking(move || reader.run());
        }
        // The last reader that gives its share back releases the latch; this one is none.
        if let Some(latch) = latch.and_then(Arc::into_inner) {
            latch.release();
        }
        Ok(())
    }

    /// The configuration of a client that waits long for records: half of what an idle one costs are its requests.
    fn patient(&self) -> kafka::Config {
        let mut kafka = self.kafka.clone();
        let (property, value) = FETCH_WAIT;
        if !kafka.properties.iter().any(|(name, _)| name == property) {
            kafka.properties.set(property, value);
        }
        kafka
    }

    /// Waits for the next question: until a stop, or while there are viewers for less long.
    async fn pause(&self, interval: Duration, readers: &mut JoinSet<()>) -> anyhow::Result<()> {
        let viewed = async {
            let Some(viewers) = &self.viewers else {
                return std::future::pending().await;
            };
            if viewers.any() {
                tokio::time::sleep(PROBE_INTERVAL).await;
            }
            viewers.wait().await;
        };
        tokio::select! {
            () = viewed => {}
            () = self.shutdown.cancelled() => {}
            () = tokio::time::sleep(interval) => {}
            // A reader ends after a stop, or by a panic.
            Some(ended) = readers.join_next() => ended.context("a reader has failed")?,
        }
        Ok(())
    }
}
