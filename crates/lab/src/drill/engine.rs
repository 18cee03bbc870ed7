//! The container engine, spoken to by its API: the containers of one Compose project, and what can be done to them.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use anyhow::Context as _;
use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum, EndpointSettings, HealthStatusEnum};
use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};
use tokio::time::{Instant, sleep};

const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";
const ONE_OFF: &str = "com.docker.compose.oneoff";
/// The label with the project of a container or volume that a drill has made.
const MADE_FOR: &str = "mall.drill.project";
/// A call of the engine takes at most so many seconds: stopping Kafka may take 60.
const CALL_SECONDS: u64 = 90;
/// Timeout and interval of the attempts to freeze a container.
const FREEZE_PATIENCE: Duration = Duration::from_secs(5);
const FREEZE_INTERVAL: Duration = Duration::from_millis(100);

/// The containers of a Compose project.
#[derive(Debug)]
pub(crate) struct Engine {
    docker: Docker,
    project: String,
}

/// The state of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It runs and is healthy, or has no health check.
    Well,
    /// It runs; its health check says otherwise, or nothing yet.
    Running(String),
    /// It has ended, and the engine is about to start it again.
    Restarting,
    /// It is frozen.
    Paused,
    /// It runs no longer, or not yet.
    Down(String),
}

/// A container of the project.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) service: String,
    pub(crate) state: State,
    /// `true` if it has a network.
    pub(crate) is_connected: bool,
}

impl Engine {
    /// Connects to the engine of this machine: the socket that `DOCKER_HOST` names, or the usual one.
    ///
    /// # Errors
    /// When there is none, or it does not answer.
    pub(crate) async fn connect(project: &str) -> anyhow::Result<Self> {
        let next = "is Docker running, and may you talk to it? (`docker version`)";
        let docker = Docker::connect_with_unix_defaults()
            .map_err(|error| anyhow::anyhow!("expected the socket of a container engine: {error}; {next}"))?
            .with_timeout(std::time::Duration::from_secs(CALL_SECONDS));
        let negotiated = docker.negotiate_version().await;
        let docker = negotiated.with_context(|| format!("the container engine does not answer; {next}"))?;
        Ok(Self {
            docker,
            project: project.to_owned(),
        })
    }

    /// The client of the engine's API.
    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// The project that it is about.
    pub(crate) fn project(&self) -> &str {
        &self.project
    }

    /// The containers that Compose has made, without those of `docker compose run`.
    pub(crate) async fn containers(&self) -> anyhow::Result<Vec<Container>> {
        self.composed(&[]).await
    }

    /// The container of a service.
    pub(crate) async fn container(&self, service: &str) -> anyhow::Result<Container> {
        let found = self.composed(&[format!("{SERVICE}={service}")]).await?;
        let missing = || {
            format!(
                "project {} has no container of {service}; `just up` makes it",
                self.project
            )
        };
        found.into_iter().next().with_context(missing)
    }

    async fn composed(&self, labels: &[String]) -> anyhow::Result<Vec<Container>> {
        let own = [format!("{PROJECT}={}", self.project), format!("{ONE_OFF}=False")];
        let mut containers = Vec::new();
        for id in self.find([&own, labels].concat()).await? {
            // One that has gone meanwhile is no longer there.
            let Some(found) = unless_gone(self.docker.inspect_container(&id, None).await)? else {
                continue;
            };
            let label = |name| labels_of(&found).and_then(|labels| labels.get(name)).cloned();
            if let (Some(service), None) = (label(SERVICE), label(MADE_FOR)) {
                containers.push(Container {
                    state: state(&found),
                    is_connected: networks(&found).is_some_and(|networks| !networks.is_empty()),
                    id,
                    service,
                });
            }
        }
        Ok(containers)
    }

    async fn find(&self, labels: Vec<String>) -> anyhow::Result<Vec<String>> {
        let filters = HashMap::from([("label", labels)]);
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        let found = self.docker.list_containers(Some(options)).await;
        let found = found.context("the containers could not be listed")?;
        Ok(found.into_iter().filter_map(|container| container.id).collect())
    }

    /// Kills it, as a crash would. The engine does not start it again, because it takes the kill for a wish of the user.
    pub(crate) async fn kill(&self, id: &str) -> anyhow::Result<()> {
        called("kill", id, self.docker.kill_container(id, None)).await
    }

    /// Asks it to stop, and kills it after its own grace period.
    pub(crate) async fn stop(&self, id: &str) -> anyhow::Result<()> {
        called("stop", id, self.docker.stop_container(id, None)).await
    }

    pub(crate) async fn start(&self, id: &str) -> anyhow::Result<()> {
        called("start", id, self.docker.start_container(id, None)).await
    }

    /// Freezes it: its connections stay open, and nothing answers. With cgroups v1 a busy machine may refuse: runc looks
    /// a thousand times, which are some milliseconds, whether all processes are frozen ("unable to freeze").
    pub(crate) async fn pause(&self, id: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + FREEZE_PATIENCE;
        let freeze = async {
            loop {
                match self.docker.pause_container(id).await {
                    Err(Error::DockerResponseServerError { status_code: 500, .. }) if Instant::now() < deadline => {
                        sleep(FREEZE_INTERVAL).await;
                    }
                    outcome => return outcome,
                }
            }
        };
        called("pause", id, freeze).await
    }

    pub(crate) async fn unpause(&self, id: &str) -> anyhow::Result<()> {
        called("unpause", id, self.docker.unpause_container(id)).await
    }

    /// The labels of what a drill makes. `docker compose down --remove-orphans` takes a container with them for one of
    /// its project whose service has gone.
    pub(crate) fn labels(&self, further: &[(&str, &str)]) -> HashMap<String, String> {
        let own = [
            (PROJECT, self.project.as_str()),
            (SERVICE, "drill"),
            (ONE_OFF, "False"),
            (MADE_FOR, self.project.as_str()),
        ];
        let labels = own.iter().chain(further);
        labels
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    /// The filter that finds them.
    pub(crate) fn made_label(&self) -> String {
        format!("{MADE_FOR}={}", self.project)
    }

    pub(crate) async fn remove(&self, id: &str) -> anyhow::Result<()> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        unless_gone(self.docker.remove_container(id, Some(options)).await).map(drop)
    }

    /// Returns `true` if something exists that a drill has made.
    pub(crate) async fn has_made(&self) -> anyhow::Result<bool> {
        Ok(!self.made().await?.is_empty() || !self.made_volumes().await?.is_empty())
    }

    async fn made(&self) -> anyhow::Result<Vec<String>> {
        self.find(vec![self.made_label()]).await
    }

    /// Removes the containers that a drill has made. Returns how many there were.
    pub(crate) async fn remove_made(&self) -> anyhow::Result<usize> {
        let made = self.made().await?;
        for id in &made {
            self.remove(id).await?;
        }
        Ok(made.len())
    }
}

/// Calls the engine; an error says what was called, and of which container.
pub(super) async fn called<T>(
    verb: &str,
    of: &str,
    call: impl Future<Output = Result<T, Error>>,
) -> anyhow::Result<()> {
    let short = if of.len() == 64 { &of[..12] } else { of };
    let called = call
        .await
        .with_context(|| format!("the engine could not {verb} {short}"));
    called.map(drop)
}

/// Nothing, where the engine says that there is none.
pub(super) fn unless_gone<T>(found: Result<T, Error>) -> anyhow::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(error) => Err(error).context("the engine answers with an error"),
    }
}

fn labels_of(container: &ContainerInspectResponse) -> Option<&HashMap<String, String>> {
    container.config.as_ref()?.labels.as_ref()
}

pub(super) fn networks(container: &ContainerInspectResponse) -> Option<&HashMap<String, EndpointSettings>> {
    container.network_settings.as_ref()?.networks.as_ref()
}

fn state(container: &ContainerInspectResponse) -> State {
    let Some(state) = &container.state else {
        return State::Down("unknown".to_owned());
    };
    let health = state.health.as_ref().and_then(|health| health.status);
    match state.status {
        Some(ContainerStateStatusEnum::PAUSED) => State::Paused,
        Some(ContainerStateStatusEnum::RUNNING) => match health {
            None | Some(HealthStatusEnum::NONE | HealthStatusEnum::HEALTHY | HealthStatusEnum::EMPTY) => State::Well,
            Some(health) => State::Running(health.to_string()),
        },
        Some(ContainerStateStatusEnum::RESTARTING) => State::Restarting,
        status => State::Down(status.map_or_else(|| "unknown".to_owned(), |status| status.to_string())),
    }
}
