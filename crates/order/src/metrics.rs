//! The metrics of order-N.

use domain::Partition;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// The outcome of a submission, `written`, `not_written`, `unknown` or `replayed`, and its partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    outcome: &'static str,
    partition: i32,
}

/// The metrics of order-N.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(crate) written: Counter,
    pub(crate) not_written: Counter,
    pub(crate) unknown: Counter,
    /// Answered with an order that an earlier submission with the same key has made.
    pub(crate) replayed: Counter,
    pub(crate) idempotency_keys: Gauge,
    /// Records in one batch.
    pub(crate) batch: Histogram,
}

impl Metrics {
    /// Adds them to a registry.
    pub fn register(registry: &mut Registry, partition: Partition) -> Self {
        let submissions = Family::<Label, Counter>::default();
        let partition = partition.id();
        let counter = |outcome| submissions.get_or_create(&Label { outcome, partition }).clone();
        let metrics = Self {
            written: counter("written"),
            not_written: counter("not_written"),
            unknown: counter("unknown"),
            replayed: counter("replayed"),
            idempotency_keys: Gauge::default(),
            batch: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
        };
        registry.register("order_submissions", "Orders, by what became of them", submissions);
        registry.register(
            "order_idempotency_keys",
            "Idempotency keys that are remembered",
            metrics.idempotency_keys.clone(),
        );
        registry.register("order_batch_records", "Records in one batch", metrics.batch.clone());
        metrics
    }
}
