//! The tasks of a service, with an owner.

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The tasks of a service. The first one to end ends the others: nothing lives on half dead.
#[derive(Debug)]
pub struct Tasks {
    running: JoinSet<(&'static str, anyhow::Result<()>)>,
    shutdown: CancellationToken,
}

impl Tasks {
    /// No tasks yet. They are told to stop through `shutdown`.
    pub fn new(shutdown: &CancellationToken) -> Self {
        Self {
            running: JoinSet::new(),
            shutdown: shutdown.clone(),
        }
    }

    /// Starts a task.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.running.spawn(async move { (name, task.await) });
    }

    /// Starts a task that blocks, on a thread of its own.
    pub fn spawn_blocking(&mut self, name: &'static str, task: impl FnOnce() -> anyhow::Result<()> + Send + 'static) {
        self.running.spawn_blocking(move || (name, task()));
    }

    /// Waits until all have ended.
    ///
    /// # Errors
    /// The first failure; a task that ends without having been asked to stop has failed.
    pub async fn join(mut self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        while let Some(ended) = self.running.join_next().await {
            let failure = match ended {
                Ok((name, Err(error))) => Err(error.context(format!("task {name:?} failed"))),
                Ok((name, Ok(()))) if !self.shutdown.is_cancelled() => {
                    Err(anyhow::anyhow!("task {name:?} ended by itself"))
                }
                Ok((_, Ok(()))) => Ok(()),
                Err(panicked) => Err(panicked).context("a task panicked"),
            };
            self.shutdown.cancel();
            outcome = outcome.and(failure);
        }
        outcome
    }
}

impl Drop for Tasks {
    /// A blocking task cannot be aborted, only told.
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_failure_stops_the_others_and_is_the_one_that_is_told() {
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
    async fn a_task_that_ends_by_itself_is_a_failure_and_a_panic_is_too() {
        let mut tasks = Tasks::new(&CancellationToken::new());
        tasks.spawn("short", async { Ok(()) });
        assert!(
            tasks
                .join()
                .await
                .expect_err("a failure")
                .to_string()
                .contains("ended by itself")
        );
        let mut tasks = Tasks::new(&CancellationToken::new());
        tasks.spawn("panicking", async { panic!("on purpose") });
        assert!(tasks.join().await.is_err());
    }
}
