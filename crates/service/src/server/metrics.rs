//! What `/metrics` shows of a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What `/metrics` shows of a server.
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

/// A request until the end of its response: counted, and its connection is busy. HTTP/1.1 has one at a time.
#[derive(Debug)]
pub(super) struct InFlight {
    _counted: Counted,
    busy: Arc<AtomicBool>,
}

impl InFlight {
    pub(super) fn new(gauge: &Gauge, busy: &Arc<AtomicBool>) -> Self {
        busy.store(true, Ordering::Relaxed);
        Self {
            _counted: Counted::new(gauge),
            busy: Arc::clone(busy),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.busy.store(false, Ordering::Relaxed);
    }
}
