//! The process around a service: a runtime, signals, a bounded stop, an exit code.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::server::DRAIN_TIMEOUT;
use crate::telemetry;

/// The exit code for a command line or configuration that cannot be used (`EX_USAGE` of sysexits).
pub const USAGE_ERROR: u8 = 64;
/// The exit code for a failure that a later start may not meet (`EX_TEMPFAIL` of sysexits).
const TEMPORARY_FAILURE: u8 = 75;
/// The shortest grace period: requests in flight have 7 s, and closing Kafka clients has one more.
pub const MIN_GRACE_PERIOD: Duration = DRAIN_TIMEOUT.saturating_add(Duration::from_secs(1));
/// Blocking tasks that did not stop have this long to notice that the process ends.
const BLOCKING_TASKS_TIMEOUT: Duration = Duration::from_millis(200);

/// A signal within this time after the first is the same one: Docker Compose passes one Ctrl-C on twice, 30 ms apart.
const SAME_SIGNAL_INTERVAL: Duration = Duration::from_millis(500);

/// A failure after which the process should come back later: it exits with code 75.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TemporaryFailure(pub String);

/// Runs the body until it ends. After SIGTERM or SIGINT, or when the body itself cancels the token because a part of
/// it has failed, it has `grace_period` to end; a second signal ends the process at once.
///
/// Call [`telemetry::init`] before.
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
    runtime.shutdown_timeout(BLOCKING_TASKS_TIMEOUT);
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
            let text = format!("{error:#}");
            tracing::error!(error = text, "failed");
            telemetry::print_fatal(&text);
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
    let mut signalled = async || {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    };
    let shutdown = CancellationToken::new();
    let mut body = std::pin::pin!(body(shutdown.clone()));
    let signal = tokio::select! {
        outcome = &mut body => return outcome,
        signal = signalled() => Some(signal),
        // A part of the body has failed and stops the others.
        () = shutdown.cancelled() => None,
    };
    tracing::info!(signal, "stopping");
    shutdown.cancel();
    tokio::select! {
        outcome = &mut body => outcome,
        () = tokio::time::sleep(grace_period) => {
            anyhow::bail!("did not stop within the grace period of {} s", grace_period.as_secs_f32())
        }
        () = second_signal(&mut signalled) => anyhow::bail!("stopped at once by a second signal"),
    }
}

/// Waits for a second signal: the first, which has just come, may come twice.
async fn second_signal(signalled: &mut impl AsyncFnMut() -> &'static str) {
    let first = Instant::now();
    loop {
        signalled().await;
        if first.elapsed() >= SAME_SIGNAL_INTERVAL {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{sleep, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_signal_that_comes_twice_is_one_and_a_later_one_is_the_second() {
        let begun = Instant::now();
        let mut pauses = [30, 2000].map(Duration::from_millis).into_iter();
        let mut signalled = async || {
            sleep(pauses.next().expect("two signals")).await;
            "SIGINT"
        };
        second_signal(&mut signalled).await;
        assert_eq!(begun.elapsed(), Duration::from_millis(2030));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_inside_is_bounded_by_the_grace_period_like_a_signal() {
        let begun = Instant::now();
        let body = |shutdown: CancellationToken| async move {
            shutdown.cancel();
            std::future::pending().await
        };
        let outcome = timeout(Duration::from_secs(3600), until_stopped(MIN_GRACE_PERIOD, body)).await;
        let error = outcome.expect("an end").expect_err("a failure");
        assert_eq!(error.to_string(), "did not stop within the grace period of 8 s");
        assert_eq!(begun.elapsed().as_secs(), MIN_GRACE_PERIOD.as_secs());
    }
}
