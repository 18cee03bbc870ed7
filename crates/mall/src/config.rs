//! All settings, with their defaults.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use domain::{Ordinal, ParseOrdinalError, Replicas};
use mall::Services;
use serde::{Deserialize, Serialize};
use service::config::Validate;
use service::{http, telemetry};

/// All settings of the mall. A process takes what it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The number of regions.
    pub(crate) replicas: Replicas,
    /// The number of this replica, where the host name does not say it.
    ordinal: Option<Ordinal>,
    /// Timeout of a stop, at least [`service::MIN_GRACE_PERIOD`].
    #[serde(with = "humantime_serde")]
    pub(crate) grace_period: Duration,
    pub(crate) log: telemetry::Config,
    pub(crate) http: http::Config,
    pub(crate) kafka: kafka::Config,
    pub(crate) topics: kafka::topics::Config,
    pub(crate) gateway: gateway::Settings,
    pub(crate) repository: repository::Settings,
    pub(crate) statistics: statistics::Settings,
    pub(crate) embedded: Embedded,
    pub(crate) lab: lab::Settings,
}

/// The addresses of the mall in one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Embedded {
    pub(crate) gateway_listen: SocketAddr,
    pub(crate) statistics_listen: SocketAddr,
}

impl Default for Embedded {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            gateway_listen: local(8080),
            statistics_listen: local(8081),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            replicas: Replicas::THREE,
            ordinal: None,
            grace_period: Duration::from_secs(10),
            log: telemetry::Config::default(),
            http: http::Config::default(),
            kafka: kafka::Config::default(),
            topics: kafka::topics::Config::default(),
            gateway: gateway::Settings::default(),
            repository: repository::Settings::default(),
            statistics: statistics::Settings::default(),
            embedded: Embedded::default(),
            lab: lab::Settings::default(),
        }
    }
}

impl Config {
    /// The number of this replica: `MALL_ORDINAL`, or the end of the host name.
    ///
    /// # Errors
    /// When neither says it.
    pub(crate) fn ordinal(&self) -> Result<Ordinal, ParseOrdinalError> {
        let host_name = || gethostname::gethostname();
        self.ordinal
            .map_or_else(|| Ordinal::from_host_name(&host_name().to_string_lossy()), Ok)
    }

    /// The configuration of the services.
    ///
    /// # Errors
    /// When the addresses of the replicas cannot be made.
    pub(crate) fn services(&self) -> anyhow::Result<Services> {
        let replicas = self.replicas;
        Ok(Services {
            replicas,
            kafka: self.kafka.clone(),
            orders: gateway::hosts(&self.gateway.order_url, replicas).map_err(anyhow::Error::msg)?,
            repositories: gateway::hosts(&self.gateway.repository_url, replicas).map_err(anyhow::Error::msg)?,
            gateway: self.gateway.clone(),
            repository: self.repository.clone(),
            statistics: self.statistics.clone(),
        })
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<(&'static str, String)> {
        let kafka = self.kafka.validate().err().map(|error| {
            let key = match error {
                kafka::ConfigError::BootstrapServers(_) => "kafka.bootstrap_servers",
                kafka::ConfigError::NotAllowed(_) | kafka::ConfigError::Refused(_) => "kafka.properties",
            };
            (key, error.to_string())
        });
        let log = self.log.validate().err().map(|error| ("log.filter", error));
        let orders = gateway::hosts(&self.gateway.order_url, self.replicas).err();
        let orders = orders.map(|error| ("gateway.order_url", error));
        let repositories = gateway::hosts(&self.gateway.repository_url, self.replicas).err();
        let repositories = repositories.map(|error| ("gateway.repository_url", error));
        let grace_period = (self.grace_period < service::MIN_GRACE_PERIOD).then(|| {
            let problem = format!(
                "expected at least {} s, found {} s: requests in flight have 7 s of it",
                service::MIN_GRACE_PERIOD.as_secs(),
                self.grace_period.as_secs_f32()
            );
            ("grace_period", problem)
        });
        [kafka, log, orders, repositories, grace_period]
            .into_iter()
            .flatten()
            .chain(self.statistics.problems())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn a_grace_period_that_is_too_short_for_requests_in_flight_is_a_problem() {
        let config = |seconds| Config {
            grace_period: Duration::from_secs(seconds),
            ..Config::default()
        };
        assert_eq!(config(8).problems(), []);
        let expected = "expected at least 8 s, found 7 s: requests in flight have 7 s of it";
        assert_eq!(config(7).problems(), [("grace_period", expected.to_owned())]);
    }

    /// The names of all settings, as environment variables.
    fn variables(prefix: &str, value: &Value, names: &mut BTreeSet<String>) {
        match value {
            Value::Object(table) if prefix.ends_with("PROPERTIES") => {
                assert!(table.is_empty(), "no property has a default");
                names.insert(format!("{prefix}__…"));
            }
            Value::Object(table) => {
                let separator = if prefix == "MALL" { "_" } else { "__" };
                for (key, value) in table {
                    variables(&format!("{prefix}{separator}{}", key.to_uppercase()), value, names);
                }
            }
            _ => {
                names.insert(prefix.to_owned());
            }
        }
    }

    #[test]
    fn the_reference_lists_every_setting_and_no_other() {
        let mut settings = BTreeSet::new();
        let defaults = serde_json::to_value(Config::default()).expect("settings are JSON");
        variables("MALL", &defaults, &mut settings);
        let reference = include_str!("../../README.md").lines();
        let listed: BTreeSet<String> = reference
            .filter_map(|line| line.strip_prefix("| `MALL_")?.split_once('`'))
            .map(|(name, _)| format!("MALL_{name}"))
            .filter(|name| !name.contains('='))
            .collect();
        assert_eq!(listed, settings);
    }
}
