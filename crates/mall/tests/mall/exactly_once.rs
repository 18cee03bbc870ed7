//! Each order has one outcome, in the order of the log, whatever dies. On a real broker.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

use crate::support::{Child, Client, Load, create_topics, eventually, real_kafka, shipments};

/// The region under test.
const NUMBER: u16 = 1;

fn repository(kafka: &kafka::Config) -> Child {
    Child::service("repository", kafka, &[("MALL_ORDINAL", "1")])
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn a_repository_that_is_killed_at_random_ships_each_order_once() {
    const KILLS: usize = 12;
    let kafka = real_kafka();
    create_topics(&kafka, 3).await;
    let load = Load::to_log(&kafka, NUMBER, Duration::from_millis(3));
    let mut interrupted = 0;
    for kill in 0..KILLS {
        let before = shipments(&kafka, NUMBER).await.len();
        let mut repository = repository(&kafka);
        // Half of them die while they take over, or soon after; the others while they ship, however slow the machine is.
        let life = if kill % 2 == 0 {
            Duration::from_millis(rand::random_range(50..600))
        } else {
            eventually("the repository ships", async || {
                shipments(&kafka, NUMBER).await.len() > before
            })
            .await;
            Duration::from_millis(rand::random_range(50..400))
        };
        assert!(
            tokio::time::timeout(life, repository.ended(Duration::from_secs(30)))
                .await
                .is_err(),
            "it ended by itself"
        );
        repository.signal("KILL");
        repository.ended(Duration::from_secs(5)).await;
        interrupted += usize::from(shipments(&kafka, NUMBER).await.len() > before);
    }
    assert!(
        interrupted > KILLS / 5,
        "only {interrupted} of {KILLS} were killed while they shipped"
    );
    let _repository = repository(&kafka);
    let told = load.stop().await;
    told.verify(&kafka).await;
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn an_aborted_transaction_is_tried_again_and_leaves_no_trace() {
    let kafka = real_kafka();
    create_topics(&kafka, 3).await;
    let repository = repository(&kafka);
    let address = repository.ready("repository-1").await;
    // No record fits: the broker refuses them, and the transaction must be aborted.
    set_max_message_bytes(&kafka, "100").await;
    let load = Load::to_log(&kafka, NUMBER, Duration::from_millis(20));
    eventually("transactions are aborted", async || {
        repository.printed().matches("beginning anew").count() >= 3
    })
    .await;
    set_max_message_bytes(&kafka, "1000000").await;
    let told = load.stop().await;
    assert!(told.counts().acknowledged > 0);
    told.verify(&kafka).await;
    let reply = Client::new().get(address, "/ready").await;
    assert!(reply.status.is_success(), "{}", reply.text);
}

async fn set_max_message_bytes(kafka: &kafka::Config, bytes: &str) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &kafka.bootstrap_servers)
        .create()
        .expect("a client");
    let topic = kafka.name("shipment");
    let change = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("max.message.bytes", bytes);
    admin
        .alter_configs([&change], &AdminOptions::new())
        .await
        .expect("an answer")
        .remove(0)
        .expect("changed");
}
