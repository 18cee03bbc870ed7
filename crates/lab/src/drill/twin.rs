//! A second container like one that there is.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, ContainerInspectResponse, EndpointSettings, NetworkingConfig};
use bollard::query_parameters::CreateContainerOptionsBuilder;

use super::engine::{Container, Engine, called, unless_gone};

impl Engine {
    /// Starts a second container like this one, under the same host name and in the same networks, under the same names.
    pub(crate) async fn twin(&self, container: &Container) -> anyhow::Result<()> {
        let body = self.body_of_twin(container).await?;
        self.create_and_start(&self.name_of_twin(&container.service), body)
            .await
    }

    /// The settings of a second container like this one.
    pub(super) async fn body_of_twin(&self, container: &Container) -> anyhow::Result<ContainerCreateBody> {
        let original = self.docker().inspect_container(&container.id, None).await?;
        Ok(twin_of(original, self.labels(&[])))
    }

    /// Makes a container, and starts it.
    pub(crate) async fn create_and_start(&self, name: &str, body: ContainerCreateBody) -> anyhow::Result<()> {
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        called("create", name, self.docker().create_container(Some(options), body)).await?;
        self.start(name).await
    }

    pub(crate) fn name_of_twin(&self, service: &str) -> String {
        format!("{}-drill-{service}", self.project())
    }

    /// Returns `true` if the second container of a service runs.
    pub(crate) async fn has_twin(&self, service: &str) -> anyhow::Result<bool> {
        let found = unless_gone(self.docker().inspect_container(&self.name_of_twin(service), None).await)?;
        let state = found.and_then(|found| found.state);
        Ok(state.and_then(|state| state.running).unwrap_or(false))
    }

    /// Removes the second container of a service, and its relay.
    pub(crate) async fn remove_twin(&self, service: &str) -> anyhow::Result<()> {
        let twin = self.name_of_twin(service);
        self.remove(&twin).await?;
        self.remove(&name_of_relay(&twin)).await
    }
}

/// The container through which a second one speaks with Kafka, where it has one.
pub(super) fn name_of_relay(twin: &str) -> String {
    format!("{twin}-relay")
}

/// The settings of a network as a client asks for them, without the values of the engine.
pub(super) fn as_asked_for(found: &EndpointSettings) -> EndpointSettings {
    EndpointSettings {
        aliases: found.aliases.clone(),
        links: found.links.clone(),
        driver_opts: found.driver_opts.clone(),
        ..EndpointSettings::default()
    }
}

pub(super) fn twin_of(original: ContainerInspectResponse, labels: HashMap<String, String>) -> ContainerCreateBody {
    let own_name = original.name.unwrap_or_default();
    let networks = original.network_settings.and_then(|settings| settings.networks);
    let endpoints = networks.unwrap_or_default().into_iter().map(|(name, found)| {
        let mut endpoint = as_asked_for(&found);
        let aliases = endpoint.aliases.iter_mut().flatten();
        // The container's own name is no alias of another.
        endpoint.aliases = Some(
            aliases
                .filter(|alias| **alias != own_name[1..])
                .map(std::mem::take)
                .collect(),
        );
        (name, endpoint)
    });
    let endpoints = endpoints.collect();
    let config = original.config.unwrap_or_default();
    let host_config = original.host_config.map(|mut host| {
        host.port_bindings = None;
        host
    });
    ContainerCreateBody {
        hostname: config.hostname,
        user: config.user,
        env: config.env,
        cmd: config.cmd,
        entrypoint: config.entrypoint,
        working_dir: config.working_dir,
        stop_timeout: config.stop_timeout,
        image: original.image,
        labels: Some(labels),
        host_config,
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(endpoints),
        }),
        ..ContainerCreateBody::default()
    }
}
