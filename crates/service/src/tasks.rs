//! The tasks of a service, with an owner.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::server::DRAIN_TIMEOUT;

/// When a task has failed, the others have this long to end: as long as requests in flight, and a moment to close Kafka
/// clients.
const STOP_TIMEOUT: Duration = DRAIN_TIMEOUT.saturating_add(Duration::from_millis(500));

type Ended = Result<(Id, anyhow::Result<()>), JoinError>;

/// The tasks of a service. The first one to end ends the others: a service does not go on with a part missing.
#[derive(Debug)]
pub struct Tasks {
    running: JoinSet<anyhow::Result<()>>,
    /// The names of the running tasks.
    names: HashMap<Id, &'static str>,
    shutdown: CancellationToken,
}

impl Tasks {
    /// No tasks yet. `shutdown` tells them to stop.
    pub fn new(shutdown: &CancellationToken) -> Self {
        Self {
            running: JoinSet::new(),
            names: HashMap::new(),
            shutdown: shutdown.clone(),
        }
    }

    /// Starts a task.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        let handle = self.running.spawn(task);
        self.names.insert(handle.id(), name);
    }

    /// Starts a task that blocks, on a thread of its own.
    pub fn spawn_blocking(&mut self, name: &'static str, task: impl FnOnce() -> anyhow::Result<()> + Send + 'static) {
        let handle = self.running.spawn_blocking(task);
        self.names.insert(handle.id(), name);
    }

    /// Waits until all have ended; after a failure, for at most 7.5 s.
    ///
    /// # Errors
    /// The first failure; a task that ends without having been asked to stop has failed.
    pub async fn join(mut self) -> anyhow::Result<()> {
        while let Some(ended) = self.running.join_next_with_id().await {
            let outcome = self.outcome(ended);
            self.shutdown.cancel();
            if let Err(error) = &outcome {
                // Logged now: the process may be ended before the others stop.
                tracing::error!(
                    error = format!("{error:#}"),
                    "failed: stopping all tasks of the service"
                );
                self.stop_others().await;
                return outcome;
            }
        }
        Ok(())
    }

    /// Waits for the others after a failure, and logs theirs: the first failure is the one that is returned.
    async fn stop_others(&mut self) {
        let others = async {
            while let Some(ended) = self.running.join_next_with_id().await {
                if let Err(error) = self.outcome(ended) {
                    tracing::error!(error = format!("{error:#}"), "failed while stopping");
                }
            }
        };
        if timeout(STOP_TIMEOUT, others).await.is_err() {
            let tasks: Vec<_> = self.names.values().collect();
            tracing::error!(?tasks, "did not stop in time after a failure");
        }
    }

    /// The outcome of a task that has ended, with its name.
    fn outcome(&mut self, ended: Ended) -> anyhow::Result<()> {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let name = self.names.remove(&id).unwrap_or_default();
        match ended {
            Ok((_, Err(error))) => Err(error.context(format!("task {name:?} failed"))),
            Ok((_, Ok(()))) if !self.shutdown.is_cancelled() => anyhow::bail!("task {name:?} ended by itself"),
            Ok((_, Ok(()))) => Ok(()),
            Err(panicked) => Err(panicked).with_context(|| format!("task {name:?} panicked")),
        }
    }
}

impl Drop for Tasks {
    /// A blocking task cannot be aborted: the token tells it to stop.
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_failure_stops_the_others_and_is_returned() {
        let shutdown = CancellationToken::new();
        let mut tasks = Tasks::new(&shutdown);
        let stopped = shutdown.clone();
        tasks.spawn("patient", async move {
            stopped.cancelled().await;
            Ok(())
        });
        tasks.spawn_blocking("broken", || anyhow::bail!("no luck"));
        let error = tasks.join().await.expect_err("a failure");
        assert_eq!(format!("{error:#}"), "task \"broken\" failed: no luck");
    }

    #[tokio::test]
    async fn a_task_that_ends_by_itself_or_panics_is_a_failure_with_its_name() {
        let mut tasks = Tasks::new(&CancellationToken::new());
        tasks.spawn("short", async { Ok(()) });
        let error = tasks.join().await.expect_err("a failure");
        assert_eq!(error.to_string(), "task \"short\" ended by itself");
        let shutdown = CancellationToken::new();
        let mut tasks = Tasks::new(&shutdown);
        let stopped = shutdown.clone();
        tasks.spawn("patient", async move {
            stopped.cancelled().await;
            Ok(())
        });
        tasks.spawn("panicking", async { panic!("on purpose") });
        let error = format!("{:#}", tasks.join().await.expect_err("a failure"));
        assert!(
            error.starts_with("task \"panicking\" panicked: ") && error.contains("on purpose"),
            "{error}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_stop_holds_up_a_failure_for_a_bounded_time() {
        let mut tasks = Tasks::new(&CancellationToken::new());
        tasks.spawn("deaf", std::future::pending());
        tasks.spawn("broken", async { anyhow::bail!("no luck") });
        let begun = tokio::time::Instant::now();
        let outcome = timeout(Duration::from_secs(3600), tasks.join()).await;
        let error = outcome.expect("an end").expect_err("a failure");
        assert_eq!(format!("{error:#}"), "task \"broken\" failed: no luck");
        assert_eq!(begun.elapsed().as_millis(), STOP_TIMEOUT.as_millis());
    }
}
