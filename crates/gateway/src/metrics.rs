//! What `/metrics` shows of the gateway.

use std::time::Duration;

use poem::http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    status: u16,
}

/// What `/metrics` shows of the gateway.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    requests: Family<Label, Counter>,
    /// From the request to the reply, in seconds.
    duration: Histogram,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let buckets = exponential_buckets(0.000_25, 2.0, 16);
        let metrics = Self {
            requests: Family::default(),
            duration: Histogram::new(buckets),
        };
        registry.register(
            "gateway_requests",
            "Orders handed in, by status of the reply",
            metrics.requests.clone(),
        );
        registry.register("gateway_request_seconds", "Time of a request", metrics.duration.clone());
        metrics
    }

    pub(crate) fn count(&self, status: StatusCode, duration: Duration) {
        self.requests
            .get_or_create(&Label {
                status: status.as_u16(),
            })
            .inc();
        self.duration.observe(duration.as_secs_f64());
    }
}
