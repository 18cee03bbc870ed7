//! All services in one process, and a broker for them.
//!
//! Each service is the same as in a process of its own, with a context of its own; nothing is shared but the process and
//! its log. [`Cluster`] is a broker that lives in this process.

mod cluster;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use domain::Partition;
use poem::http::uri::Authority;
use service::{Context, Readiness, http};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::cluster::Cluster;
use crate::{Instance, Services};

/// Interval of the checks whether a service is ready.
const READINESS_INTERVAL: Duration = Duration::from_millis(10);

/// The configuration of a mall.
#[derive(Clone, Debug)]
pub struct Config {
    /// The configuration of its services, except for their addresses. The topics are there already.
    pub services: Services,
    /// The address of the gateway.
    pub gateway_listen: SocketAddr,
    /// The address of statistics.
    pub statistics_listen: SocketAddr,
}

/// A mall with all services in this process.
#[derive(Debug)]
pub struct Mall {
    config: Config,
    services: BTreeMap<Instance, Running>,
    tasks: JoinSet<(Instance, anyhow::Result<()>)>,
}

#[derive(Debug)]
struct Running {
    address: SocketAddr,
    readiness: Readiness,
    shutdown: CancellationToken,
}

impl Mall {
    /// Starts all services. They may not be ready yet: see [`Self::ready`].
    ///
    /// # Errors
    /// When an address is taken.
    pub async fn open(config: Config) -> anyhow::Result<Self> {
        let mut mall = Self {
            config,
            services: BTreeMap::new(),
            tasks: JoinSet::new(),
        };
        for partition in mall.config.services.replicas.partitions() {
            mall.start(Instance::Order(partition)).await?;
            mall.start(Instance::Repository(partition)).await?;
        }
        mall.start(Instance::Gateway).await?;
        mall.start(Instance::Statistics).await?;
        Ok(mall)
    }

    /// The address of a service.
    pub fn address(&self, instance: Instance) -> Option<SocketAddr> {
        self.services.get(&instance).map(|running| running.address)
    }

    /// Starts a service: for the first time, or again at the address that it had.
    ///
    /// # Errors
    /// When its address is taken.
    pub async fn start(&mut self, instance: Instance) -> anyhow::Result<()> {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (address, setting) = match instance {
            Instance::Gateway => (self.config.gateway_listen, "MALL_EMBEDDED__GATEWAY_LISTEN"),
            Instance::Statistics => (self.config.statistics_listen, "MALL_EMBEDDED__STATISTICS_LISTEN"),
            _ => (anywhere, ""),
        };
        let listener = http::bind(self.address(instance).unwrap_or(address), setting).await?;
        let address = listener.local_addr().context("could not read a listening address")?;
        let shutdown = CancellationToken::new();
        let context = Context::new(instance.to_string(), listener, shutdown.clone());
        self.services.insert(
            instance,
            Running {
                address,
                readiness: context.readiness.clone(),
                shutdown,
            },
        );
        let service = self.services().run(instance, context);
        self.tasks.spawn(async move { (instance, service.await) });
        Ok(())
    }

    /// The configuration of the services, with the addresses of those that have been started.
    fn services(&self) -> Services {
        let mut services = self.config.services.clone();
        let host = |instance| Authority::try_from(self.address(instance)?.to_string()).ok();
        let hosts = |instance: fn(Partition) -> Instance| {
            let partitions = services.replicas.partitions();
            partitions
                .filter_map(|partition| Some((partition, host(instance(partition))?)))
                .collect()
        };
        (services.orders, services.repositories) = (hosts(Instance::Order), hosts(Instance::Repository));
        if let Some(gateway) = host(Instance::Gateway) {
            let url = format!("http://{gateway}");
            (services.statistics.gateway_url, services.statistics.public_gateway_url) = (url.clone(), url);
        }
        services
    }

    /// Stops one service, and waits until it has stopped.
    ///
    /// # Errors
    /// When it, or another one before it, has failed.
    pub async fn stop(&mut self, instance: Instance) -> anyhow::Result<()> {
        if let Some(running) = self.services.get(&instance) {
            running.shutdown.cancel();
        }
        while let Some((ended, outcome)) = self.next_end().await? {
            outcome.with_context(|| format!("{ended} failed"))?;
            if ended == instance {
                break;
            }
        }
        Ok(())
    }

    /// Waits until all services are ready.
    ///
    /// # Errors
    /// When that is not so in time, with the reasons; or a service has failed.
    pub async fn ready(&mut self, within: Duration) -> anyhow::Result<()> {
        let reasons = |services: &BTreeMap<Instance, Running>| -> Vec<String> {
            let reason = |(instance, running): (&Instance, &Running)| {
                running
                    .readiness
                    .check()
                    .err()
                    .map(|reason| format!("{instance}: {reason}"))
            };
            services.iter().filter_map(reason).collect()
        };
        let all_ready = async {
            while !reasons(&self.services).is_empty() {
                tokio::time::sleep(READINESS_INTERVAL).await;
            }
        };
        tokio::select! {
            outcome = tokio::time::timeout(within, all_ready) => {
                outcome.with_context(|| format!("not ready within {within:?}: {}", reasons(&self.services).join("; ")))
            }
            Some(ended) = self.tasks.join_next() => {
                let (instance, outcome) = ended.context("a service panicked")?;
                outcome.and_then(|()| anyhow::bail!("it ended by itself")).with_context(|| format!("{instance} failed"))
            }
        }
    }

    /// Waits until `shutdown`, then stops all services, the gateway first: the others finish the orders that it has taken.
    ///
    /// # Errors
    /// When a service fails; then the others are stopped too.
    pub async fn run(&mut self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        let mut outcome = tokio::select! {
            () = shutdown.cancelled() => self.stop(Instance::Gateway).await,
            ended = self.next_end() => match ended {
                Ok(Some((instance, outcome))) => {
                    outcome.and_then(|()| anyhow::bail!("it ended by itself")).with_context(|| format!("{instance} failed"))
                }
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            },
        };
        // After a failure, this begins the grace period of the process.
        shutdown.cancel();
        self.services.values().for_each(|running| running.shutdown.cancel());
        while let Some((instance, ended)) = self.next_end().await? {
            outcome = outcome.and(ended.with_context(|| format!("{instance} failed")));
        }
        outcome
    }

    async fn next_end(&mut self) -> anyhow::Result<Option<(Instance, anyhow::Result<()>)>> {
        self.tasks.join_next().await.transpose().context("a service panicked")
    }
}
