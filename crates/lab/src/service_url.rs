//! The URL of a service.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The URL of a service: `http://HOST` or `http://HOST:PORT`. It displays as the URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceUrl(String);

impl ServiceUrl {
    /// A port of this machine.
    pub(crate) fn local(port: u16) -> Self {
        Self(format!("127.0.0.1:{port}"))
    }

    /// The host and the port.
    pub fn authority(&self) -> &str {
        &self.0
    }
}

impl From<ServiceUrl> for String {
    fn from(url: ServiceUrl) -> Self {
        url.to_string()
    }
}

impl TryFrom<String> for ServiceUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for ServiceUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("expected http://HOST or http://HOST:PORT, found {text:?}");
        let authority = text.strip_prefix("http://").ok_or_else(error)?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = match authority.rsplit_once(':') {
            // A colon within brackets is one of an IPv6 address.
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| error())?),
            _ => (authority, 80_u16),
        };
        let is_of_host = |char: char| char.is_ascii_alphanumeric() || "-._:[]".contains(char);
        if host.is_empty() || !host.chars().all(is_of_host) {
            return Err(error());
        }
        Ok(Self(format!("{host}:{port}")))
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_host_with_or_without_a_port() {
        for (url, expected) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://gateway", "gateway:80"),
            ("http://gateway:8080/", "gateway:8080"),
            ("http://[::1]", "[::1]:80"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert_eq!(url.parse::<ServiceUrl>(), Ok(ServiceUrl(expected.to_owned())));
        }
        for url in [
            "",
            "gateway:8080",
            "https://gateway",
            "http://",
            "http://:80",
            "http://gateway:port",
            "http://gateway:65536",
            "http://gateway/orders",
            "http://user@gateway",
            "http://gate way",
            "http://gateway\r\nx",
        ] {
            let error = url.parse::<ServiceUrl>().expect_err(url);
            assert!(error.starts_with("expected http://HOST"), "{error}");
        }
    }
}
