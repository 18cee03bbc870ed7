//! A real broker that is killed. In a run of its own: the other tests do not survive that.

use std::process::Command;
use std::time::Duration;

use crate::support::{Child, Load, create_topics, eventually, needed, real_kafka, shipments};

/// The region under test.
const NUMBER: u16 = 1;

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA and MALL_TEST_KAFKA_CONTAINER: a real broker that may be killed, and its container"]
async fn a_broker_that_is_killed_in_the_middle_of_transactions_loses_and_repeats_nothing() {
    let (kafka, container) = (real_kafka(), needed("MALL_TEST_KAFKA_CONTAINER"));
    let docker = |arguments: &[&str]| {
        let status = Command::new("docker")
            .args(arguments)
            .arg(&container)
            .status()
            .expect("docker runs");
        assert!(status.success(), "docker {arguments:?} {container}");
    };
    create_topics(&kafka, 3).await;
    let repository = Child::service("repository", &kafka, &[("MALL_ORDINAL", "1")]);
    repository.ready("repository-1").await;
    let load = Load::to_log(&kafka, NUMBER, Duration::from_millis(3));
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
        repository.ready("repository-1").await;
    }
    load.stop().await.verify(&kafka).await;
}

/// Whether the broker answers for the partition under test.
async fn answers(kafka: &kafka::Config) -> bool {
    let kafka = kafka.clone();
    let ask = move || {
        let consumer = kafka::Consumer::new(&kafka, "test", "test", "shipment").expect("a consumer");
        consumer.watermarks(i32::from(NUMBER)).is_ok()
    };
    tokio::task::spawn_blocking(ask).await.expect("no panic")
}
