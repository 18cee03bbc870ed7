//! The surroundings of a service.

use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::http::BODY_LIMIT;
use crate::{Readiness, telemetry};

/// The surroundings of a service: its name, its socket, and what the process shares with it.
#[derive(Debug)]
pub struct Context {
    /// The name of this replica in logs and at the broker: `order-1`, `gateway`.
    pub name: String,
    /// The socket on which the service serves HTTP.
    pub listener: TcpListener,
    /// Cancelled when the service is asked to stop.
    pub shutdown: CancellationToken,
    /// Decides the answer of `/ready`.
    pub readiness: Readiness,
    /// The metrics that `/metrics` shows.
    pub metrics: Registry,
    /// The largest body of a request, in bytes. A larger one is not read into memory.
    pub body_limit: usize,
}

impl Context {
    /// A context with no conditions for `/ready`, and the metrics of every service.
    pub fn new(name: impl Into<String>, listener: TcpListener, shutdown: CancellationToken) -> Self {
        let name = name.into();
        let mut metrics = Registry::with_prefix("mall");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        metrics.register("build", "The version that runs", build);
        let about = "Lines of the log of this process that nobody read in time";
        metrics.register("log_dropped_lines", about, telemetry::dropped_lines());
        let started = Gauge::<f64, AtomicU64>::default();
        // A clock before 1970 counts as 1970: dashboards show how often this value changes.
        started.set(SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs_f64());
        let about = "When this service was started, as Unix time";
        metrics.register_with_unit("start_time", about, Unit::Seconds, started);
        let readiness = Readiness::new(&name, shutdown.clone());
        metrics.register_collector(Box::new(readiness.clone()));
        Self {
            name,
            listener,
            shutdown,
            readiness,
            metrics,
            body_limit: BODY_LIMIT,
        }
    }
}
