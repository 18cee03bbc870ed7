//! What `/metrics` shows of order-N.

use domain::Partition;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// What became of an order, `written`, `not_written` or `unknown`, and the partition that it was for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    outcome: &'static str,
    partition: i32,
}

/// What `/metrics` shows of order-N.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) written: Counter,
    pub(crate) not_written: Counter,
    pub(crate) unknown: Counter,
    /// Records in one batch.
    pub(crate) batch: Histogram,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry, partition: Partition) -> Self {
        let submissions = Family::<Label, Counter>::default();
        let partition = partition.id();
        let counter = |outcome| submissions.get_or_create(&Label { outcome, partition }).clone();
        let metrics = Self {
            written: counter("written"),
            not_written: counter("not_written"),
            unknown: counter("unknown"),
            batch: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
        };
        registry.register("order_submissions", "Orders, by what became of them", submissions);
        registry.register("order_batch_records", "Records in one batch", metrics.batch.clone());
        metrics
    }
}
