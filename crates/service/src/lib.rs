//! The one way to be a process.
//!
//! A service is `pub async fn run(config: Config, context: service::Context) -> anyhow::Result<()>`. It knows no
//! signals, no globals and no environment, and can run twice in one process. [`run`] is what a process does around it.

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
