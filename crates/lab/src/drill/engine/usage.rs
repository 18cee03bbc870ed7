//! What the containers of a project use of the machine.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use bollard::models::ContainerStatsResponse;
use bollard::query_parameters::StatsOptionsBuilder;
use futures_util::StreamExt as _;
use futures_util::future::try_join_all;

use super::{Container, Engine, State};

/// What a service uses, all of its replicas together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Processor time since it was started.
    pub(crate) cpu: Duration,
    /// Resident memory: without what the kernel caches of files.
    pub(crate) memory_bytes: u64,
}

impl Engine {
    /// What each kind of service uses that runs: `order` is all order services.
    pub(crate) async fn usage(&self) -> anyhow::Result<BTreeMap<String, Usage>> {
        let mut containers = self.containers().await?;
        containers.retain(|container| !matches!(container.state, State::Down(_)));
        let all = try_join_all(containers.iter().map(|container| self.usage_of(container))).await?;
        let mut services = BTreeMap::<String, Usage>::new();
        for (container, found) in containers.iter().zip(all) {
            let kind = match container.service.rsplit_once('-') {
                Some((kind, digits)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => kind,
                _ => &container.service,
            };
            let usage = services.entry(kind.to_owned()).or_default();
            usage.cpu += found.cpu;
            usage.memory_bytes += found.memory_bytes;
        }
        Ok(services)
    }

    async fn usage_of(&self, container: &Container) -> anyhow::Result<Usage> {
        let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
        let mut answers = std::pin::pin!(self.docker.stats(&container.id, Some(options)));
        let answer = answers.next().await.context("the engine closed the connection")?;
        Ok(usage(
            &answer.with_context(|| format!("no figures of {}", container.service))?,
        ))
    }
}

fn usage(found: &ContainerStatsResponse) -> Usage {
    let nanos = found
        .cpu_stats
        .as_ref()
        .and_then(|cpu| cpu.cpu_usage.as_ref()?.total_usage);
    let memory = found.memory_stats.as_ref().and_then(|memory| memory.stats.as_ref());
    // The name depends on the version of the control groups.
    let resident = memory.and_then(|memory| memory.get("anon").or_else(|| memory.get("total_rss")));
    Usage {
        cpu: Duration::from_nanos(nanos.unwrap_or_default()),
        memory_bytes: resident.copied().unwrap_or_default(),
    }
}
