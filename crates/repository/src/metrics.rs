//! The metrics of repository-N.

use domain::{Outcome, Partition};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// The partition of the orders, and their outcome: `shipped`, `duplicate`, `rejected` or `skipped`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
    partition: i32,
}

/// The metrics of repository-N.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    partition: i32,
    outcomes: Family<OutcomeLabel, Counter>,
    /// Records of `order` that are known to wait behind the position.
    pub(crate) lag: Gauge,
    /// The duration of a transaction, in seconds.
    pub(crate) transaction: Histogram,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry, partition: Partition) -> Self {
        let lags = Family::<[(&str, i32); 1], Gauge>::default();
        let partition = partition.id();
        let metrics = Self {
            partition,
            outcomes: Family::default(),
            lag: lags.get_or_create(&[("partition", partition)]).clone(),
            transaction: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
        };
        registry.register(
            "repository_outcomes",
            "Records of topic order, by what became of them",
            metrics.outcomes.clone(),
        );
        registry.register(
            "repository_lag_records",
            "Records of topic order without an outcome",
            lags,
        );
        registry.register_with_unit(
            "repository_transaction_duration",
            "Time of a transaction that was committed",
            Unit::Seconds,
            metrics.transaction.clone(),
        );
        metrics
    }

    pub(crate) fn count(&self, outcome: Outcome) {
        self.outcomes
            .get_or_create(&OutcomeLabel {
                outcome: outcome.name(),
                partition: self.partition,
            })
            .inc();
    }
}
