//! The one way to be a process.
//!
//! A service is `pub async fn run(config: Config, context: service::Context) -> anyhow::Result<()>`. It knows no
//! signals, no globals and no environment, and can run twice in one process. [`run`] is the process around it.
//!
//! - [`http`] serves routes within limits of number, size and time. A handler runs when the whole body is there, goes on
//!   when its client leaves, and every error is a [`Problem`].
//! - [`client`] tells a request that was not sent from one whose outcome is unknown.
//! - [`Readiness`] is the answer of `/ready`: the service makes all its conditions before it meets the first.
//! - [`Tasks`] owns the tasks of a service and stops all of them when one fails.
//! - [`telemetry`] writes the log, and never waits for its reader.

pub mod client;
pub mod config;
mod context;
pub mod http;
mod problem;
mod process;
mod readiness;
mod server;
mod tasks;
pub mod telemetry;
#[cfg(test)]
mod testing;

pub use context::Context;
pub use problem::Problem;
pub use process::{MIN_GRACE_PERIOD, TemporaryFailure, USAGE_ERROR, run};
pub use readiness::{Latch, Readiness};
pub use tasks::Tasks;
