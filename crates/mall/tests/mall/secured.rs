//! A broker that wants TLS and a password or a certificate, and allows what ACLs allow. `.ci/secured-kafka` starts one.

mod broker;
mod rights;
mod rotation;

use std::time::Duration;

use hyper::StatusCode;

use self::broker::{Broker, PASSWORD, PASSWORDS, borrowed, kafka};
use crate::support::{Child, Client, Stage, eventually};

#[tokio::test]
#[ignore = "needs MALL_TEST_SECURED_CERTIFICATES and MALL_TEST_SECURED_CONTAINER: a broker with an authorizer"]
async fn with_the_right_password_and_ca_orders_flow() {
    let settings = Broker::new().password("mall", PASSWORD, "ca.crt");
    let kafka = kafka(PASSWORDS, &settings);
    let mut topics = Child::service("topics", &kafka, &borrowed(&settings));
    assert!(topics.ended(Duration::from_secs(60)).await.success());
    let stage = Stage::on_real(kafka).await;
    assert_eq!(stage.client.order(stage.gateway(), 1).await.status, StatusCode::OK);
    stage.settled(1).await;
    stage.close().await;
}

#[tokio::test]
#[ignore = "needs MALL_TEST_SECURED_CERTIFICATES and MALL_TEST_SECURED_CONTAINER: a broker with an authorizer"]
async fn a_wrong_password_and_an_unknown_ca_are_told_in_the_log_and_at_ready() {
    let broker = Broker::new();
    for (settings, reason) in [
        (broker.password("mall", "42", "ca.crt"), "authentication failed"),
        (
            broker.password("mall", PASSWORD, "next-ca.crt"),
            "certificate verify failed",
        ),
    ] {
        let kafka = kafka(PASSWORDS, &settings);
        // At once, and not after the minute for which it waits for a broker.
        let mut topics = Child::service("topics", &kafka, &borrowed(&settings));
        assert_eq!(topics.ended(Duration::from_secs(20)).await.code(), Some(1));
        eventually(&format!("mall topics says {reason}"), async || {
            let printed = topics.printed().to_lowercase();
            printed.contains("refuses the connection") && printed.contains(reason)
        })
        .await;
        for (service, name) in [
            ("order", "order-1"),
            ("repository", "repository-1"),
            ("statistics", "statistics"),
        ] {
            let all = [&borrowed(&settings)[..], &[("MALL_ORDINAL", "1")]].concat();
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
