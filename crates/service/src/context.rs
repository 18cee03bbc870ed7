//! Everything that a service takes from its surroundings.

use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::http::BODY_LIMIT;
use crate::{Readiness, telemetry};

/// Everything that a service takes from its surroundings.
#[derive(Debug)]
pub struct Context {
    /// The name of this replica in logs and at the broker: `order-1`, `gateway`.
    pub name: String,
    /// Where it serves HTTP.
    pub listener: TcpListener,
    /// Cancelled when the service is asked to stop.
    pub shutdown: CancellationToken,
    /// Whether it may get traffic.
    pub readiness: Readiness,
    /// What `/metrics` shows.
    pub metrics: Registry,
    /// The largest body of a request, in bytes. A larger one is not read into memory.
    pub body_limit: usize,
}

impl Context {
    /// A context with nothing in it yet.
    pub fn new(name: impl Into<String>, listener: TcpListener, shutdown: CancellationToken) -> Self {
        let name = name.into();
        let mut metrics = Registry::with_prefix("mall");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        metrics.register("build", "The version that runs", build);
        let about = "Lines of the log of this process that nobody read in time";
        metrics.register("log_dropped_lines", about, telemetry::dropped_lines());
        let started = Gauge::<f64, AtomicU64>::default();
        // A clock before 1970 is as good as 1970: what is looked at is how often this changes.
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
