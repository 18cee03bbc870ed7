//! Builds each service from the configuration of the mall.

use std::collections::BTreeMap;
use std::fmt;

use domain::{Partition, Replicas};
use poem::http::uri::Authority;
use service::Context;

/// One service of a mall. It displays as its host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Instance {
    /// The order service of a region.
    Order(Partition),
    /// The repository of a region.
    Repository(Partition),
    /// Counts everything.
    Statistics,
    /// Takes the orders.
    Gateway,
}

impl fmt::Display for Instance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order(partition) => write!(formatter, "order-{partition}"),
            Self::Repository(partition) => write!(formatter, "repository-{partition}"),
            Self::Statistics => formatter.write_str("statistics"),
            Self::Gateway => formatter.write_str("gateway"),
        }
    }
}

/// The configuration of all services.
#[derive(Clone, Debug)]
pub struct Services {
    /// The number of regions.
    pub replicas: Replicas,
    /// The broker.
    pub kafka: kafka::Config,
    /// The host of each order service.
    pub orders: BTreeMap<Partition, Authority>,
    /// The host of each repository.
    pub repositories: BTreeMap<Partition, Authority>,
    /// The settings of the gateway.
    pub gateway: gateway::Settings,
    /// The settings of the repositories.
    pub repository: repository::Settings,
    /// The settings of statistics.
    pub statistics: statistics::Settings,
}

impl Services {
    /// Runs one of them until its context asks it to stop.
    ///
    /// # Errors
    /// When the service fails.
    pub async fn run(self, instance: Instance, context: Context) -> anyhow::Result<()> {
        let Self {
            replicas,
            kafka,
            orders,
            repositories,
            ..
        } = self;
        match instance {
            Instance::Gateway => {
                let config = gateway::Config {
                    orders,
                    repositories,
                    replicas,
                    settings: self.gateway,
                };
                gateway::run(config, context).await
            }
            Instance::Order(partition) => {
                let ordinal = partition.into();
                order::run(order::Config { kafka, ordinal }, context).await
            }
            Instance::Repository(partition) => {
                let config = repository::Config {
                    kafka,
                    ordinal: partition.into(),
                    settings: self.repository,
                };
                repository::run(config, context).await
            }
            Instance::Statistics => {
                let config = statistics::Config {
                    kafka,
                    orders,
                    repositories,
                    settings: self.statistics,
                };
                statistics::run(config, context).await
            }
        }
    }
}
