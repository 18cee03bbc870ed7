//! The metrics of the gateway.

use std::time::Duration;

use domain::{Partition, Replicas};
use poem::http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    /// Empty where the request did not say a partition.
    partition: Option<i32>,
    status: u16,
}

impl RequestLabels {
    fn new(partition: Option<Partition>, status: StatusCode) -> Self {
        Self {
            partition: partition.map(Partition::id),
            status: status.as_u16(),
        }
    }
}

/// The replies that alerts are about. Each is there from the start, as a counter that begins with its first increment
/// never increases for Prometheus.
const COUNTED_FROM_THE_START: [StatusCode; 3] = [
    StatusCode::OK,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::GATEWAY_TIMEOUT,
];

/// The metrics of the gateway.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    requests: Family<RequestLabels, Counter>,
    /// From the request to the reply, in seconds. By status: a refusal at once is not a fast order.
    duration: Family<[(&'static str, u16); 1], Histogram>,
    in_flight: Family<[(&'static str, i32); 1], Gauge>,
    /// Orders in one request to an order service.
    pub(crate) batch_orders: Histogram,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry, replicas: Replicas) -> Self {
        let metrics = Self {
            requests: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_25, 2.0, 16))),
            in_flight: Family::default(),
            batch_orders: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
        };
        registry.register(
            "gateway_requests",
            "Orders handed in, by status of the reply",
            metrics.requests.clone(),
        );
        registry.register_with_unit(
            "gateway_request_duration",
            "From an order's request to its reply",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        registry.register(
            "gateway_orders_in_flight",
            "Orders that have come and are not answered yet",
            metrics.in_flight.clone(),
        );
        registry.register(
            "gateway_batch_orders",
            "Orders in one request to an order service",
            metrics.batch_orders.clone(),
        );
        for partition in replicas.partitions() {
            for status in COUNTED_FROM_THE_START {
                drop(
                    metrics
                        .requests
                        .get_or_create(&RequestLabels::new(Some(partition), status)),
                );
            }
        }
        metrics
    }

    pub(crate) fn count(&self, partition: Option<Partition>, status: StatusCode, duration: Duration) {
        let labels = RequestLabels::new(partition, status);
        self.requests.get_or_create(&labels).inc();
        self.duration
            .get_or_create(&[("status", status.as_u16())])
            .observe(duration.as_secs_f64());
    }

    /// The orders in flight of a region.
    pub(crate) fn in_flight(&self, partition: Partition) -> Gauge {
        self.in_flight.get_or_create(&[("partition", partition.id())]).clone()
    }
}
