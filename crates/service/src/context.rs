//! Everything that a service takes from its surroundings.

use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

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
}

impl Context {
    /// A context with nothing in it yet.
    pub fn new(name: impl Into<String>, listener: TcpListener, shutdown: CancellationToken) -> Self {
        let name = name.into();
        let mut metrics = Registry::with_prefix("mall");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        metrics.register("build", "What runs here", build);
        let about = "Lines of the log of this process that nobody read in time";
        metrics.register("log_dropped_lines", about, telemetry::dropped_lines());
        let readiness = Readiness::new(&name, shutdown.clone());
        Self {
            name,
            listener,
            shutdown,
            readiness,
            metrics,
        }
    }
}
