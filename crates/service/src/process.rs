//! What a process does around a service: a runtime, signals, a bounded stop, an exit code.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::telemetry;

/// The exit code for a command line or configuration that cannot be used (`EX_USAGE` of sysexits).
pub const USAGE_ERROR: u8 = 64;
/// The exit code for a failure that a later start may not meet (`EX_TEMPFAIL` of sysexits).
const TEMPORARY_FAILURE: u8 = 75;
/// What is left of a task that did not stop has this long to notice.
const LAST_MOMENT: Duration = Duration::from_millis(200);

/// A failure after which the process should come back later: it exits with code 75.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TemporaryFailure(pub String);

/// Runs the body until it ends, or until SIGTERM or SIGINT and then for at most `grace_period`. A second signal ends
/// the process at once. Telemetry must be there already.
pub fn run<F>(grace_period: Duration, body: impl FnOnce(CancellationToken) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    // One thread: measured faster than two for services that share two cores, and smaller.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "could not start the runtime");
            telemetry::flush();
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(until_stopped(grace_period, body));
    runtime.shutdown_timeout(LAST_MOMENT);
    let code = report(outcome);
    telemetry::flush();
    code
}

fn report(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "failed");
            let temporary = error.chain().any(<dyn std::error::Error>::is::<TemporaryFailure>);
            if temporary {
                ExitCode::from(TEMPORARY_FAILURE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

async fn until_stopped<F>(grace_period: Duration, body: impl FnOnce(CancellationToken) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let mut terminate = signal(SignalKind::terminate()).context("could not listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("could not listen for SIGINT")?;
    let shutdown = CancellationToken::new();
    let mut body = std::pin::pin!(body(shutdown.clone()));
    let name = tokio::select! {
        outcome = &mut body => return outcome,
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(signal = name, "stopping");
    shutdown.cancel();
    tokio::select! {
        outcome = &mut body => outcome,
        () = tokio::time::sleep(grace_period) => {
            anyhow::bail!("did not stop within the grace period of {} s", grace_period.as_secs_f32())
        }
        _ = terminate.recv() => anyhow::bail!("stopped at once by a second signal"),
        _ = interrupt.recv() => anyhow::bail!("stopped at once by a second signal"),
    }
}
