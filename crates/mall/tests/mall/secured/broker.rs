//! The broker that `.ci/secured-kafka` starts, and how to be let in.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{kafka_at, needed};

/// What the user `mall`, who may do everything, has for a password. It would be a number in a file without quotes.
pub(super) const PASSWORD: &str = "0042";

/// The listeners, as `.ci/secured-kafka` publishes them.
pub(super) const PASSWORDS: &str = "localhost:9094";
const CERTIFICATES: &str = "localhost:9095";
pub(super) const ROTATED: &str = "localhost:9096";

/// Settings of a client, as a user gives them.
pub(super) type Settings = Vec<(&'static str, String)>;

/// The broker, and the directory of its certificates.
pub(super) struct Broker {
    certificates: PathBuf,
    container: String,
}

impl Broker {
    pub(super) fn new() -> Self {
        Self {
            certificates: needed("MALL_TEST_SECURED_CERTIFICATES").into(),
            container: needed("MALL_TEST_SECURED_CONTAINER"),
        }
    }

    pub(super) fn file(&self, name: &str) -> String {
        self.path(name).to_str().expect("text").to_owned()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        Path::new(&self.certificates).join(name)
    }

    /// A user with a password, who believes the authority in a file.
    pub(super) fn password(&self, user: &str, password: &str, authority: &str) -> Settings {
        vec![
            ("MALL_KAFKA__PROPERTIES__SECURITY_PROTOCOL", "SASL_SSL".to_owned()),
            ("MALL_KAFKA__PROPERTIES__SASL_MECHANISM", "SCRAM-SHA-512".to_owned()),
            ("MALL_KAFKA__PROPERTIES__SASL_USERNAME", user.to_owned()),
            ("MALL_KAFKA__PROPERTIES__SASL_PASSWORD", password.to_owned()),
            ("MALL_KAFKA__PROPERTIES__SSL_CA_LOCATION", self.file(authority)),
        ]
    }

    /// A principal with a certificate, and where such are let in.
    pub(super) fn certificate(&self, principal: &str) -> Settings {
        vec![
            ("MALL_KAFKA__BOOTSTRAP_SERVERS", CERTIFICATES.to_owned()),
            ("MALL_KAFKA__PROPERTIES__SECURITY_PROTOCOL", "SSL".to_owned()),
            ("MALL_KAFKA__PROPERTIES__SSL_CA_LOCATION", self.file("ca.crt")),
            (
                "MALL_KAFKA__PROPERTIES__SSL_CERTIFICATE_LOCATION",
                self.file(&format!("{principal}.crt")),
            ),
            (
                "MALL_KAFKA__PROPERTIES__SSL_KEY_LOCATION",
                self.file(&format!("{principal}.key")),
            ),
        ]
    }

    /// Runs a line of a shell in the container.
    pub(super) async fn run(&self, line: &str) {
        let mut command = Command::new("docker");
        command.args(["exec", &self.container, "bash", "-c", line]);
        let run = move || command.output().expect("docker runs");
        let output = tokio::task::spawn_blocking(run).await.expect("no panic");
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {said}");
    }

    /// Sets a setting of the broker, a user or another entity, such as `--entity-type users --entity-name mall`.
    pub(super) async fn configure(&self, entity: &str, setting: &str) {
        self.run(&format!(
            "kafka-configs --bootstrap-server localhost:19092 --alter {entity} --add-config '{setting}'"
        ))
        .await;
    }
}

/// The same settings for a client in the process of the test, with topics of its own.
pub(super) fn kafka(servers: &str, settings: &Settings) -> kafka::Config {
    let mut kafka = kafka_at(servers.to_owned());
    for (name, value) in settings {
        let property = name.trim_start_matches("MALL_KAFKA__PROPERTIES__").to_lowercase();
        kafka.properties.set(&property.replace('_', "."), value);
    }
    kafka
}

/// The settings of a process.
pub(super) fn borrowed(settings: &Settings) -> Vec<(&str, &str)> {
    settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
}
