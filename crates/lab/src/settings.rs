//! Settings of the tools.

use serde::{Deserialize, Serialize};

use crate::ServiceUrl;

/// Where the tools find the mall, unless an argument says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where orders are sent.
    pub gateway_url: ServiceUrl,
    /// Where the figures are.
    pub statistics_url: ServiceUrl,
}

impl Default for Settings {
    fn default() -> Self {
        // What `just up` and `cargo run` publish.
        Self {
            gateway_url: ServiceUrl::local(8080),
            statistics_url: ServiceUrl::local(8081),
        }
    }
}
