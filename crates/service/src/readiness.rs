//! The readiness of a service: it may get traffic when all its latches are released and it is not stopping.
//!
//! A service makes all its latches before it releases the first, or it would be ready in between.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio_util::sync::CancellationToken;

/// The readiness of a service. Clones share their state.
#[derive(Clone, Debug)]
pub struct Readiness {
    name: Arc<str>,
    latches: Arc<Mutex<Vec<Reason>>>,
    /// `true` once the log says that the service is ready.
    announced: Arc<AtomicBool>,
    shutdown: CancellationToken,
}

/// A condition that `/ready` waits for. Clones share their state.
#[derive(Clone, Debug)]
pub struct Latch {
    readiness: Readiness,
    reason: Reason,
}

/// The reason why a condition is not met; `None` if it is met.
type Reason = Arc<Mutex<Option<String>>>;

impl Readiness {
    pub(crate) fn new(name: &str, shutdown: CancellationToken) -> Self {
        Self {
            name: name.into(),
            latches: Arc::default(),
            announced: Arc::default(),
            shutdown,
        }
    }

    /// Adds a condition that is not met for this reason.
    pub fn latch(&self, reason: &str) -> Latch {
        let latch = Latch {
            readiness: self.clone(),
            reason: Arc::new(Mutex::new(Some(reason.to_owned()))),
        };
        self.latches.lock().push(Arc::clone(&latch.reason));
        latch
    }

    /// Returns `Ok` if the service may get traffic.
    ///
    /// # Errors
    /// The reasons why it may not.
    pub fn check(&self) -> Result<(), String> {
        if self.shutdown.is_cancelled() {
            return Err("stopping".to_owned());
        }
        let latches = self.latches.lock();
        if latches.is_empty() {
            return Err("starting".to_owned());
        }
        let mut reasons: Vec<String> = Vec::new();
        for reason in latches.iter().filter_map(|reason| reason.lock().clone()) {
            // In an outage all Kafka clients have the same reason.
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        if reasons.is_empty() {
            Ok(())
        } else {
            Err(reasons.join("; "))
        }
    }
}

/// The answer of `/ready` as a metric, computed when the metrics are read.
impl Collector for Readiness {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let about = "Whether /ready of this service answers 200: 1, or 0";
        let mut ready = encoder.encode_descriptor("ready", about, None, MetricType::Gauge)?;
        let labels = [("service", &*self.name)];
        ConstGauge::new(u32::from(self.check().is_ok())).encode(ready.encode_family(&labels)?)
    }
}

impl Latch {
    /// The condition is met. Logs "ready" when it was the last one.
    pub fn release(&self) {
        let was_held = self.reason.lock().take().is_some();
        let ready = was_held && self.readiness.check().is_ok();
        if ready && !self.readiness.announced.swap(true, Ordering::Relaxed) {
            tracing::info!(service = &*self.readiness.name, "ready");
        }
    }

    /// The condition is not met (any more). Logs the reason when it is a new one.
    pub fn hold(&self, reason: &str) {
        let mut held = self.reason.lock();
        if held.as_deref() != Some(reason) {
            *held = Some(reason.to_owned());
            drop(held);
            self.readiness.announced.store(false, Ordering::Relaxed);
            tracing::warn!(service = &*self.readiness.name, reason, "not ready");
        }
    }

    /// The reason why the condition is not met, or `None` if it is met.
    pub fn reason(&self) -> Option<String> {
        self.reason.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::testing::logged;

    #[test]
    fn is_ready_when_all_latches_are_released_and_the_service_is_not_stopping() {
        let shutdown = CancellationToken::new();
        let readiness = Readiness::new("order-1", shutdown.clone());
        assert_eq!(readiness.check(), Err("starting".to_owned()));
        let (topic, broker) = (readiness.latch("no topic"), readiness.latch("no broker"));
        assert_eq!(readiness.check(), Err("no topic; no broker".to_owned()));
        topic.release();
        broker.release();
        assert_eq!(readiness.check(), Ok(()));
        broker.hold("broker lost");
        assert_eq!(
            (readiness.check(), broker.reason()),
            (Err("broker lost".to_owned()), Some("broker lost".to_owned()))
        );
        topic.hold("broker lost");
        assert_eq!(readiness.check(), Err("broker lost".to_owned()), "said once");
        topic.release();
        broker.release();
        shutdown.cancel();
        assert_eq!(readiness.check(), Err("stopping".to_owned()));
    }

    #[test]
    fn readiness_is_a_metric() {
        let readiness = Readiness::new("order-1", CancellationToken::new());
        let mut registry = Registry::default();
        registry.register_collector(Box::new(readiness.clone()));
        let shown = || {
            let mut text = String::new();
            encode(&mut text, &registry).expect("text");
            text.lines().find(|line| line.starts_with("ready{")).map(str::to_owned)
        };
        assert_eq!(shown().as_deref(), Some("ready{service=\"order-1\"} 0"));
        readiness.latch("no broker").release();
        assert_eq!(shown().as_deref(), Some("ready{service=\"order-1\"} 1"));
    }

    #[test]
    fn logs_ready_once_until_the_service_is_not_ready() {
        let lines = logged(None, || {
            let readiness = Readiness::new("order-1", CancellationToken::new());
            let broker = readiness.latch("no broker");
            broker.release();
            readiness.latch("starting").release();
            broker.hold("broker lost");
            broker.hold("broker lost");
            broker.release();
        });
        let said: Vec<_> = lines
            .lines()
            .map(|line| line.contains(r#""message":"ready""#))
            .collect();
        assert_eq!(said, [true, false, true], "{lines}");
    }
}
