//! A broker that wants TLS and a password. `.ci/secured-kafka` starts one.

use std::time::Duration;

use hyper::StatusCode;

use crate::support::{Child, Client, Stage, eventually, kafka_at, needed};

/// How to reach the secured broker, and the file with the CA of its certificate.
fn secured() -> (kafka::Config, String) {
    (
        kafka_at(needed("MALL_TEST_SECURED_KAFKA")),
        needed("MALL_TEST_SECURED_CA"),
    )
}

/// The settings of a client, as a user gives them. The password would be a number in a file without quotes.
fn settings<'a>(ca: &'a str, password: &'a str) -> [(&'a str, &'a str); 5] {
    [
        ("MALL_KAFKA__PROPERTIES__SECURITY_PROTOCOL", "SASL_SSL"),
        ("MALL_KAFKA__PROPERTIES__SASL_MECHANISM", "SCRAM-SHA-512"),
        ("MALL_KAFKA__PROPERTIES__SASL_USERNAME", "mall"),
        ("MALL_KAFKA__PROPERTIES__SASL_PASSWORD", password),
        ("MALL_KAFKA__PROPERTIES__SSL_CA_LOCATION", ca),
    ]
}

#[tokio::test]
#[ignore = "needs MALL_TEST_SECURED_KAFKA and MALL_TEST_SECURED_CA: a broker with TLS and SCRAM"]
async fn with_the_right_password_and_ca_orders_flow() {
    let (mut kafka, ca) = secured();
    let mut topics = Child::service("topics", &kafka, &settings(&ca, "0042"));
    assert!(topics.ended(Duration::from_secs(60)).await.success());
    for (name, value) in settings(&ca, "0042") {
        let name = name
            .trim_start_matches("MALL_KAFKA__PROPERTIES__")
            .to_lowercase()
            .replace('_', ".");
        kafka.properties.set(&name, value);
    }
    let stage = Stage::on_real(kafka).await;
    assert_eq!(stage.client.order(stage.gateway(), 1).await.status, StatusCode::OK);
    stage.settled(1).await;
    stage.close().await;
}

#[tokio::test]
#[ignore = "needs MALL_TEST_SECURED_KAFKA and MALL_TEST_SECURED_CA: a broker with TLS and SCRAM"]
async fn a_wrong_password_and_an_unknown_ca_are_told_in_the_log_and_at_ready() {
    let (kafka, ca) = secured();
    let unknown_ca = "/etc/ssl/certs/ca-certificates.crt";
    for (settings, reason) in [
        (settings(&ca, "42"), "authentication failed"),
        (settings(unknown_ca, "0042"), "certificate verify failed"),
    ] {
        for (service, name) in [
            ("order", "order-1"),
            ("repository", "repository-1"),
            ("statistics", "statistics"),
        ] {
            let all = [&settings[..], &[("MALL_ORDINAL", "1")]].concat();
            let child = Child::service(service, &kafka, &all);
            let address = child.address_of(name).await;
            eventually(&format!("{service} says {reason} at /ready"), async || {
                let reply = Client::new().get(address, "/ready").await;
                reply.status == StatusCode::SERVICE_UNAVAILABLE && reply.text.to_lowercase().contains(reason)
            })
            .await;
            eventually("the log says so too", async || {
                let printed = child.printed().to_lowercase();
                printed.contains("kafka refuses the connection") && printed.contains(reason)
            })
            .await;
        }
    }
}
