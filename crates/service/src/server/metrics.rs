//! The metrics of a server.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The metrics of a server.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(super) connections: Gauge,
    pub(super) in_flight: Gauge,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let Self { connections, in_flight } = Self::default();
        let about = "Connections that are open";
        registry.register("http_connections", about, connections.clone());
        let about = "Requests whose response is not complete, open event streams among them";
        registry.register("http_requests_in_flight", about, in_flight.clone());
        Self { connections, in_flight }
    }
}

/// Counts as one in a gauge for as long as it lives.
#[derive(Debug)]
pub(super) struct Counted(Gauge);

impl Counted {
    pub(super) fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
