//! A container that loses its networks, and gets them back.

use std::collections::HashMap;

use anyhow::Context as _;
use bollard::models::{
    ContainerInspectResponse, EndpointSettings, NetworkConnectRequest, NetworkDisconnectRequest, Volume,
    VolumeCreateRequest,
};
use bollard::query_parameters::{ListVolumesOptionsBuilder, RemoveVolumeOptions};

use super::engine::{Container, Engine, called, networks, unless_gone};
use super::twin::as_asked_for;

/// The label with the container that was cut off from its networks.
const CUT: &str = "mall.drill.container";
/// The label with its networks, as JSON.
const NETWORKS: &str = "mall.drill.networks";

impl Engine {
    /// Takes it from its networks. How it was connected is first kept in the labels of a volume, where another process
    /// finds it if this one is killed: the engine itself forgets the aliases.
    pub(crate) async fn cut(&self, container: &Container) -> anyhow::Result<()> {
        let inspected = self.docker().inspect_container(&container.id, None).await?;
        let networks = networks(&inspected).cloned().unwrap_or_default();
        let kept: HashMap<_, _> = networks
            .iter()
            .map(|(name, found)| (name, as_asked_for(found)))
            .collect();
        let kept = serde_json::to_string(&kept).context("networks as JSON")?;
        let request = VolumeCreateRequest {
            name: Some(format!("{}_drill_{}", self.project(), container.service)),
            labels: Some(self.labels(&[(CUT, &container.id), (NETWORKS, &kept)])),
            ..VolumeCreateRequest::default()
        };
        called(
            "note the networks of",
            &container.id,
            self.docker().create_volume(request),
        )
        .await?;
        for name in networks.keys() {
            let request = NetworkDisconnectRequest {
                container: container.id.clone(),
                force: Some(true),
            };
            let disconnected = self.docker().disconnect_network(name, request);
            called("disconnect", &container.id, disconnected).await?;
        }
        Ok(())
    }

    /// Gives every container that was cut off its networks back, with all of its names. Returns which they were.
    pub(crate) async fn reconnect(&self, only: Option<&str>) -> anyhow::Result<Vec<String>> {
        let mut reconnected = Vec::new();
        for volume in self.made_volumes().await? {
            let Some(id) = volume.labels.get(CUT) else { continue };
            if only.is_some_and(|only| only != id) {
                continue;
            }
            let kept = volume.labels.get(NETWORKS).map_or("{}", String::as_str);
            let kept = serde_json::from_str(kept).with_context(|| format!("the labels of volume {}", volume.name))?;
            // A container that has gone needs no network.
            if let Some(container) = unless_gone(self.docker().inspect_container(id, None).await)? {
                self.connect_to(&container, id, kept).await?;
                reconnected.push(id.clone());
            }
            let removed = self.docker().remove_volume(&volume.name, None::<RemoveVolumeOptions>);
            called("forget", &volume.name, removed).await?;
        }
        Ok(reconnected)
    }

    async fn connect_to(
        &self,
        container: &ContainerInspectResponse,
        id: &str,
        kept: HashMap<String, EndpointSettings>,
    ) -> anyhow::Result<()> {
        for (name, endpoint) in kept {
            if networks(container).is_some_and(|networks| networks.contains_key(&name)) {
                continue;
            }
            let request = NetworkConnectRequest {
                container: id.to_owned(),
                endpoint_config: Some(endpoint),
            };
            called("connect", id, self.docker().connect_network(&name, request)).await?;
        }
        Ok(())
    }

    /// The volumes that a drill has made.
    pub(crate) async fn made_volumes(&self) -> anyhow::Result<Vec<Volume>> {
        let filters = HashMap::from([("label", vec![self.made_label()])]);
        let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
        let found = self.docker().list_volumes(Some(options)).await;
        Ok(found
            .context("the volumes could not be listed")?
            .volumes
            .unwrap_or_default())
    }
}
