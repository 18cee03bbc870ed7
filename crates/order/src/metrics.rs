//! What `/metrics` shows of order-N.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// What became of an order: `written`, `rejected` or `unknown`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// What `/metrics` shows of order-N.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) written: Counter,
    pub(crate) rejected: Counter,
    pub(crate) unknown: Counter,
    /// Orders in one batch.
    pub(crate) batch: Histogram,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let orders = Family::<Outcome, Counter>::default();
        let counter = |outcome| orders.get_or_create(&Outcome { outcome }).clone();
        let metrics = Self {
            written: counter("written"),
            rejected: counter("rejected"),
            unknown: counter("unknown"),
            batch: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
        };
        registry.register("order_orders", "Orders, by what became of them", orders);
        registry.register("order_batch_orders", "Orders in one batch", metrics.batch.clone());
        metrics
    }
}
