//! Settings of the tools.

use serde::{Deserialize, Serialize};

use crate::ServiceUrl;

/// The default URLs of the mall for the tools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The URL of the gateway.
    pub gateway_url: ServiceUrl,
    /// The URL of statistics.
    pub statistics_url: ServiceUrl,
}

impl Default for Settings {
    fn default() -> Self {
        // The addresses that `just up` and `cargo run` publish.
        Self {
            gateway_url: ServiceUrl::local(8080),
            statistics_url: ServiceUrl::local(8081),
        }
    }
}
