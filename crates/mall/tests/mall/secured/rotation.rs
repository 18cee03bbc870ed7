//! Certificates and passwords that are replaced while orders flow, as k8s/README.md says.

use hyper::StatusCode;

use super::broker::{Broker, ROTATED, borrowed, kafka};
use crate::support::{Child, Client, Stage, eventually};

const USER: &str = "--entity-type users --entity-name rotated";
const BROKER: &str = "--entity-type brokers --entity-name 1";
const KEYSTORE: &str = "listener.name.rotated.ssl.keystore.location=/certificates";

/// Waits until a service says at `/ready` why it is not.
async fn says(service: &Child, reason: &str) {
    let address = service.address_of("statistics").await;
    eventually(&format!("it says {reason} at /ready"), async || {
        let reply = Client::new().get(address, "/ready").await;
        reply.status == StatusCode::SERVICE_UNAVAILABLE && reply.text.contains(reason)
    })
    .await;
}

#[tokio::test]
#[ignore = "needs MALL_TEST_SECURED_CERTIFICATES and MALL_TEST_SECURED_CONTAINER: a broker with an authorizer"]
async fn certificates_and_passwords_are_replaced_while_orders_flow() {
    let broker = Broker::new();
    broker.configure(BROKER, &format!("{KEYSTORE}/broker.pem")).await;
    broker.configure(USER, "SCRAM-SHA-512=[password=old]").await;
    let stage = Stage::on_real(kafka(ROTATED, &broker.password("rotated", "old", "ca.crt"))).await;
    let orders_flow = async || assert_eq!(stage.client.order(stage.gateway(), 1).await.status, StatusCode::OK);
    // Statistics, because a second one beside that of the stage does no harm.
    let newcomer = |password: &str, authority: &str| {
        let settings = broker.password("rotated", password, authority);
        Child::service("statistics", &stage.kafka, &borrowed(&settings))
    };
    orders_flow().await;

    // The broker has another certificate of the same authority: nobody notices.
    broker
        .configure(BROKER, &format!("{KEYSTORE}/renewed-broker.pem"))
        .await;
    newcomer("old", "ca.crt").ready("statistics").await;
    orders_flow().await;

    // Another password: connections stay, new ones need it.
    broker.configure(USER, "SCRAM-SHA-512=[password=new]").await;
    orders_flow().await;
    says(&newcomer("old", "ca.crt"), "Authentication failed").await;
    newcomer("new", "ca.crt").ready("statistics").await;

    // A certificate of another authority: a file with both is needed before. One that comes later is found.
    let both = [broker.path("ca.crt"), broker.path("next-ca.crt")]
        .map(|file| std::fs::read_to_string(file).expect("a certificate"))
        .concat();
    std::fs::write(broker.path("both.crt"), &both).expect("a file");
    std::fs::copy(broker.path("ca.crt"), broker.path("late.crt")).expect("a file");
    broker.configure(BROKER, &format!("{KEYSTORE}/next-broker.pem")).await;
    newcomer("new", "both.crt").ready("statistics").await;
    let late = newcomer("new", "late.crt");
    says(&late, "certificate verify failed").await;
    std::fs::write(broker.path("late.crt"), &both).expect("a file");
    late.ready("statistics").await;
    orders_flow().await;
    stage.close().await;
}
