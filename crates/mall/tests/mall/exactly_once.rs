//! Each order has one outcome, in the order of the log, whatever dies. On a real broker.

use std::collections::{BTreeSet, HashSet};
use std::process::Command;
use std::time::Duration;

use domain::Outcome;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

use crate::support::{
    Child, Load, Written, create_topics, eventually, free_address, order_ids, real_kafka, shipments, skip,
};

/// The region under test.
const NUMBER: u16 = 1;

fn repository(kafka: &kafka::Config, settings: &[(&str, &str)]) -> (Child, std::net::SocketAddr) {
    let address = free_address();
    let mut all = vec![("MALL_ORDINAL", "1")];
    all.extend(settings);
    (Child::service(&["repository"], kafka, address, &all), address)
}

/// Everything that was acknowledged is in the log, and each record of the log has one outcome, in order.
async fn verify(kafka: &kafka::Config, written: &Written) {
    let orders = order_ids(kafka, NUMBER).await;
    eventually("every order has an outcome", async || {
        shipments(kafka, NUMBER).await.len() >= orders.len()
    })
    .await;
    let in_log: HashSet<&String> = orders.iter().collect();
    assert_eq!(in_log.len(), orders.len(), "an order is in the log twice");
    assert!(
        written.acknowledged.iter().all(|id| in_log.contains(id)),
        "an acknowledged order is not in the log"
    );
    let sent: BTreeSet<&String> = written.acknowledged.iter().chain(&written.unknown).collect();
    assert!(
        orders.iter().all(|id| sent.contains(id)),
        "an order in the log that nobody sent"
    );

    let shipments = shipments(kafka, NUMBER).await;
    let offsets: Vec<i64> = shipments.iter().map(|shipment| shipment.order_offset).collect();
    let expected: Vec<i64> = (0..).take(orders.len()).collect();
    assert_eq!(offsets, expected, "one outcome for each order, in the order of the log");
    let shipped: Vec<String> = shipments
        .iter()
        .filter(|shipment| shipment.outcome == Outcome::Shipped)
        .filter_map(|shipment| shipment.order_id.map(|id| id.to_string()))
        .collect();
    assert_eq!(shipped, orders, "each order is shipped once");
}

#[tokio::test]
async fn a_repository_that_is_killed_at_random_ships_each_order_once() {
    const KILLS: usize = 50;
    let Some(kafka) = real_kafka() else {
        return skip("MALL_TEST_KAFKA");
    };
    create_topics(&kafka, 3).await;
    let load = Load::start(&kafka, NUMBER, Duration::from_millis(3));
    let mut interrupted = 0;
    for _ in 0..KILLS {
        let before = shipments(&kafka, NUMBER).await.len();
        let (mut repository, _) = repository(&kafka, &[]);
        // Some die while they take over, most while they ship.
        let life = Duration::from_millis(rand::random_range(50..1000));
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
    let (_repository, _) = repository(&kafka, &[]);
    let written = load.stop().await;
    verify(&kafka, &written).await;
}

#[tokio::test]
async fn an_aborted_transaction_is_tried_again_and_leaves_no_trace() {
    let Some(kafka) = real_kafka() else {
        return skip("MALL_TEST_KAFKA");
    };
    create_topics(&kafka, 3).await;
    let (repository, address) = repository(&kafka, &[]);
    repository.ready(address).await;
    // No record fits: the broker refuses them, and the transaction must be aborted.
    set_max_message_bytes(&kafka, "100").await;
    let load = Load::start(&kafka, NUMBER, Duration::from_millis(20));
    eventually("transactions are aborted", async || {
        repository.printed().matches("was aborted").count() >= 3
    })
    .await;
    set_max_message_bytes(&kafka, "1000000").await;
    let written = load.stop().await;
    assert!(!written.acknowledged.is_empty());
    verify(&kafka, &written).await;
    let reply = crate::support::Client::new().get(address, "/ready").await;
    assert!(reply.status.is_success(), "{}", reply.text);
}

/// Whether the broker answers for the partition under test.
async fn answers(kafka: &kafka::Config) -> bool {
    let kafka = kafka.clone();
    let ask = move || {
        let reader = kafka::Consumer::new(&kafka, "test", "test", "shipment").expect("a reader");
        reader.watermarks(i32::from(NUMBER)).is_ok()
    };
    tokio::task::spawn_blocking(ask).await.expect("no panic")
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

#[tokio::test]
async fn a_broker_that_is_killed_in_the_middle_of_transactions_loses_and_repeats_nothing() {
    let Some(kafka) = real_kafka() else {
        return skip("MALL_TEST_KAFKA");
    };
    let Ok(container) = std::env::var("MALL_TEST_KAFKA_CONTAINER") else {
        return skip("MALL_TEST_KAFKA_CONTAINER");
    };
    let docker = |arguments: &[&str]| {
        let status = Command::new("docker")
            .args(arguments)
            .arg(&container)
            .status()
            .expect("docker runs");
        assert!(status.success(), "docker {arguments:?} {container}");
    };
    create_topics(&kafka, 3).await;
    let (repository, address) = repository(&kafka, &[]);
    repository.ready(address).await;
    let load = Load::start(&kafka, NUMBER, Duration::from_millis(3));
    for _ in 0..2 {
        let before = shipments(&kafka, NUMBER).await.len();
        eventually("orders are shipped", async || {
            shipments(&kafka, NUMBER).await.len() > before + 50
        })
        .await;
        docker(&["kill", "--signal", "KILL"]);
        docker(&["start"]);
        // A broker that finds its own registration in ZooKeeper exits, and its restart policy starts it again.
        eventually("the broker is back", async || answers(&kafka).await).await;
        repository.ready(address).await;
    }
    let written = load.stop().await;
    verify(&kafka, &written).await;
}
