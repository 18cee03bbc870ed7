//! Where the tools find the mall.

use serde::{Deserialize, Serialize};

use crate::ServiceUrl;

/// Where the tools find the mall, where the command line does not say it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The gateway: where `just up` publishes it, and where the mall in one process listens.
    pub gateway_url: ServiceUrl,
    /// Statistics, the same way.
    pub statistics_url: ServiceUrl,
}

impl Default for Settings {
    fn default() -> Self {
        let local = |port| format!("http://127.0.0.1:{port}").parse().expect("a URL");
        Self {
            gateway_url: local(8080),
            statistics_url: local(8081),
        }
    }
}
