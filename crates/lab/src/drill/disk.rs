//! Kafka on a small disk that can be filled: its data is moved to a tmpfs, and back.
//!
//! A tmpfs volume lives as long as a container uses it: one that does nothing else holds it (the *holder*), and is where
//! files are copied. The broker on it is a second container with the configuration of the first, which is stopped
//! meanwhile. Whoever heals after a drill that was killed finds the holder, and moves the data back.

use std::time::Duration;

use anyhow::Context as _;
use bollard::exec::StartExecResults;
use bollard::models::{ContainerCreateBody, ContainerInspectResponse, ExecConfig, HostConfig, VolumeCreateRequest};
use bollard::query_parameters::RemoveVolumeOptions;
use futures_util::StreamExt as _;
use tokio::time::timeout;

use super::engine::{Engine, called, unless_gone};
use super::twin::twin_of;

const KAFKA: &str = "kafka";
const DATA: &str = "/var/lib/kafka/data";
/// The free space on the small disk beside the data of Kafka, in MiB.
const ROOM_MIB: u64 = 48;
/// The free space on a disk that has been filled, in MiB: a few seconds of orders.
const LEFT_MIB: u64 = 2;
/// Copying a gigabyte takes a few seconds.
const COPY: Duration = Duration::from_secs(120);
/// Exists when everything was copied to the small disk: from then on the truth is there.
const MOVED: &str = "/tmp/moved";

impl Engine {
    fn holder(&self) -> String {
        self.name_of_twin("disk")
    }

    /// Stops Kafka, and copies its data to a disk on which little more fits.
    pub(crate) async fn shrink(&self) -> anyhow::Result<()> {
        let kafka = self.container(KAFKA).await?;
        self.stop(&kafka.id).await?;
        let original = self.docker().inspect_container(&kafka.id, None).await?;
        let data = data_volume(&original)?;
        // Its size is known only from within.
        self.hold(&original, &format!("{data}:/data:ro"), None).await?;
        let used = self.execute("du -sm /data | cut -f1").await?;
        let used: u64 = used
            .trim()
            .parse()
            .with_context(|| format!("expected the size of {DATA}, found {used:?}"))?;
        self.remove(&self.holder()).await?;
        let options = [
            ("type", "tmpfs".to_owned()),
            ("device", "tmpfs".to_owned()),
            ("o", format!("size={}m", used + ROOM_MIB)),
        ];
        let request = VolumeCreateRequest {
            name: Some(self.disk()),
            driver_opts: Some(options.map(|(name, value)| (name.to_owned(), value)).into()),
            labels: Some(self.labels(&[])),
            ..VolumeCreateRequest::default()
        };
        called("create", &self.disk(), self.docker().create_volume(request)).await?;
        self.hold(
            &original,
            &format!("{data}:/data"),
            Some(&format!("{}:/disk", self.disk())),
        )
        .await?;
        self.execute(&format!("cp -a /data/. /disk/ && touch {MOVED}"))
            .await
            .map(drop)
    }

    fn disk(&self) -> String {
        format!("{}_drill_disk", self.project())
    }

    /// Starts Kafka on the small disk.
    pub(crate) async fn start_on_small_disk(&self) -> anyhow::Result<()> {
        let kafka = self.container(KAFKA).await?;
        let original = self.docker().inspect_container(&kafka.id, None).await?;
        let mut body = twin_of(original, self.labels(&[]));
        let host = body.host_config.get_or_insert_default();
        host.binds = Some(vec![format!("{}:{DATA}", self.disk())]);
        host.mounts = None;
        self.create_and_start(&self.name_of_twin(KAFKA), body).await
    }

    /// Leaves next to no room on the small disk.
    pub(crate) async fn fill(&self) -> anyhow::Result<()> {
        let free = "free=$(df -Pm /disk | tail -1 | tr -s ' ' | cut -d' ' -f4)";
        let fill = format!("{free}; head -c $((free - {LEFT_MIB}))M /dev/zero >/disk/filler");
        self.execute(&fill).await.map(drop)
    }

    /// Makes room again, and starts the broker, unless the engine has done so.
    pub(crate) async fn make_room(&self) -> anyhow::Result<()> {
        self.execute("rm /disk/filler").await?;
        self.start(&self.name_of_twin(KAFKA)).await
    }

    /// Moves the data of Kafka back to where it was, as often as it is asked to, and forgets the small disk. Whether
    /// there was one. Kafka itself is not started.
    pub(crate) async fn move_back(&self) -> anyhow::Result<bool> {
        let holder = self.holder();
        let found = unless_gone(self.docker().inspect_container(&holder, None).await)?;
        if let Some(found) = &found {
            let is_down = found.state.as_ref().is_none_or(|state| state.running != Some(true));
            if is_down {
                self.start(&holder).await?;
            }
            let broker = self.name_of_twin(KAFKA);
            unless_gone(self.docker().stop_container(&broker, None).await)?;
            self.remove(&broker).await?;
            let copy = "rm -f /disk/filler; find /data -mindepth 1 -delete && cp -a /disk/. /data/";
            self.execute(&format!("if [ -e {MOVED} ]; then {copy}; fi")).await?;
            self.remove(&holder).await?;
        }
        unless_gone(
            self.docker()
                .remove_volume(&self.disk(), None::<RemoveVolumeOptions>)
                .await,
        )?;
        Ok(found.is_some())
    }

    /// Starts the holder, with these volumes.
    async fn hold(&self, kafka: &ContainerInspectResponse, data: &str, disk: Option<&str>) -> anyhow::Result<()> {
        let binds = [Some(data), disk];
        let body = ContainerCreateBody {
            image: kafka.image.clone(),
            entrypoint: Some(vec!["sleep".to_owned(), "infinity".to_owned()]),
            cmd: Some(Vec::new()),
            user: Some("0:0".to_owned()),
            labels: Some(self.labels(&[])),
            host_config: Some(HostConfig {
                binds: Some(binds.into_iter().flatten().map(str::to_owned).collect()),
                network_mode: Some("none".to_owned()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        self.create_and_start(&self.holder(), body).await
    }

    /// Runs a script in the holder. Returns what it prints.
    async fn execute(&self, script: &str) -> anyhow::Result<String> {
        let config = ExecConfig {
            cmd: Some(["sh", "-c", script].map(str::to_owned).to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let run = async {
            let created = self.docker().create_exec(&self.holder(), config).await?;
            let mut printed = String::new();
            if let StartExecResults::Attached { mut output, .. } = self.docker().start_exec(&created.id, None).await? {
                while let Some(part) = output.next().await {
                    printed.push_str(&part?.to_string());
                }
            }
            let code = self.docker().inspect_exec(&created.id).await?.exit_code;
            anyhow::ensure!(code == Some(0), "expected exit code 0, found {code:?}: {printed}");
            Ok(printed)
        };
        let ran = timeout(COPY, run).await;
        let ran = ran.unwrap_or_else(|_| Err(anyhow::anyhow!("did not end within {} s", COPY.as_secs())));
        ran.with_context(|| format!("`{script}` in {}", self.holder()))
    }
}

/// The volume in which Kafka has its data.
fn data_volume(kafka: &ContainerInspectResponse) -> anyhow::Result<String> {
    let mut mounts = kafka.mounts.iter().flatten();
    let data = mounts.find(|mount| mount.destination.as_deref() == Some(DATA));
    let name = data.and_then(|mount| mount.name.clone());
    name.with_context(|| format!("expected a volume at {DATA} of Kafka's container"))
}
