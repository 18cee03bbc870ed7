//! A broker that wants TLS and a password. `.ci/secured-kafka` starts one.

use std::time::Duration;

use hyper::StatusCode;

use crate::support::{Child, Client, Stage, eventually, free_address, real_kafka, skip};

/// How to reach the secured broker; nothing in it fits the others.
fn secured() -> Option<(kafka::Config, String)> {
    let bootstrap_servers = std::env::var("MALL_TEST_SECURED_KAFKA").ok()?;
    let ca = std::env::var("MALL_TEST_SECURED_CA").ok()?;
    let kafka = kafka::Config {
        bootstrap_servers,
        ..real_kafka()?
    };
    Some((kafka, ca))
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
async fn with_the_right_password_and_ca_orders_flow() {
    let Some((mut kafka, ca)) = secured() else {
        return skip("MALL_TEST_SECURED_KAFKA");
    };
    let mut topics = Child::service(&["topics"], &kafka, free_address(), &settings(&ca, "0042"));
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
async fn a_wrong_password_and_an_unknown_ca_are_told_in_the_log_and_at_ready() {
    let Some((kafka, ca)) = secured() else {
        return skip("MALL_TEST_SECURED_KAFKA");
    };
    let unknown_ca = "/etc/ssl/certs/ca-certificates.crt";
    for (settings, reason) in [
        (settings(&ca, "42"), "authentication failed"),
        (settings(unknown_ca, "0042"), "certificate verify failed"),
    ] {
        for service in ["order", "repository", "statistics"] {
            let address = free_address();
            let all = [&settings[..], &[("MALL_ORDINAL", "1")]].concat();
            let child = Child::service(&[service], &kafka, address, &all);
            eventually(&format!("{service} says {reason} at /ready"), async || {
                let request = hyper::Request::get(format!("http://{address}/ready")).body(Default::default());
                let reply = Client::new().try_request(request.expect("a valid request")).await;
                reply.is_ok_and(|reply| {
                    reply.status == StatusCode::SERVICE_UNAVAILABLE && reply.text.to_lowercase().contains(reason)
                })
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
