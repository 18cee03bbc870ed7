//! What `/metrics` shows of repository-N.

use std::sync::atomic::AtomicI64;

use domain::Outcome;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// `shipped`, `duplicate` or `rejected`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    outcome: &'static str,
}

/// What `/metrics` shows of repository-N.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    orders: Family<Label, Counter>,
    /// Records of `order` behind the position.
    pub(crate) lag: Gauge<i64, AtomicI64>,
    /// How long a transaction takes, in seconds.
    pub(crate) transaction: Histogram,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            orders: Family::default(),
            lag: Gauge::default(),
            transaction: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
        };
        registry.register(
            "repository_orders",
            "Records of topic order, by outcome",
            metrics.orders.clone(),
        );
        registry.register(
            "repository_lag_records",
            "Records of topic order without an outcome",
            metrics.lag.clone(),
        );
        registry.register(
            "repository_transaction_seconds",
            "Time of a transaction",
            metrics.transaction.clone(),
        );
        metrics
    }

    pub(crate) fn count(&self, outcome: Outcome) {
        self.orders
            .get_or_create(&Label {
                outcome: outcome.name(),
            })
            .inc();
    }
}
