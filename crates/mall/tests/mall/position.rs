//! Where repository-N goes on after a start, and how long that takes. On a real broker.

use std::time::Duration;

use domain::{Mark, OrderId, Outcome, Shipment, Timestamp};
use kafka::{Producer, Record};

use crate::support::{
    Child, PATIENCE, commit, committed, create_topics, eventually, order, order_ids, order_value, real_kafka, recreate,
    shipments,
};

/// The mark of the orders that `order` writes.
fn mark(id: u64) -> Mark {
    Mark::of_content(&order_value(id))
}

/// The region under test.
const NUMBER: u16 = 1;

fn repository(kafka: &kafka::Config, settings: &[(&str, &str)]) -> Child {
    let mut all = vec![("MALL_ORDINAL", "1")];
    all.extend(settings);
    Child::service("repository", kafka, &all)
}

async fn shipped(kafka: &kafka::Config) -> Vec<String> {
    let id = |shipment: Shipment| shipment.order_id.filter(|_| shipment.outcome == Outcome::Shipped);
    let shipments = shipments(kafka, NUMBER).await;
    shipments.into_iter().filter_map(id).map(|id| id.to_string()).collect()
}

/// A broker with orders 1 to 5, and the repository that has shipped them.
async fn kafka_with_shipped_orders() -> (kafka::Config, Child) {
    let kafka = real_kafka();
    create_topics(&kafka, 3).await;
    order(&kafka, NUMBER, 1..6).await;
    let repository = repository(&kafka, &[]);
    eventually("five orders are shipped", async || shipped(&kafka).await.len() == 5).await;
    (kafka, repository)
}

/// A broker on which orders 1 to 5 were shipped, and topic `order` was then recreated with orders 11 to 20.
async fn kafka_with_recreated_order() -> kafka::Config {
    let (kafka, mut first) = kafka_with_shipped_orders().await;
    first.signal("TERM");
    first.ended(PATIENCE).await;

    recreate(&kafka, "order").await;
    order(&kafka, NUMBER, 11..21).await;
    kafka
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn a_recreated_topic_is_a_lost_position_however_long_it_has_become() {
    let kafka = kafka_with_recreated_order().await;
    let mut refused = repository(&kafka, &[]);
    assert_eq!(refused.ended(PATIENCE).await.code(), Some(1));
    for expected in [
        "expected order 5 at offset 4 of topic order",
        "found order 15 there",
        "MALL_REPOSITORY__ON_LOST_POSITION",
    ] {
        eventually(expected, async || refused.printed().contains(expected)).await;
    }
    assert_eq!(shipped(&kafka).await.len(), 5);

    let earliest = [("MALL_REPOSITORY__ON_LOST_POSITION", "earliest")];
    let decided = repository(&kafka, &earliest);
    eventually("all of the new topic is shipped", async || {
        shipped(&kafka).await.len() == 15
    })
    .await;
    decided.kill().await;
    // The position is after the last outcome.
    order(&kafka, NUMBER, 21..23).await;
    let proved = repository(&kafka, &[]);
    proved.ready("repository-1").await;
    eventually("the rest is shipped", async || shipped(&kafka).await.len() == 17).await;
    assert_eq!(shipped(&kafka).await[5..], order_ids(&kafka, NUMBER).await);
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn what_was_decided_about_a_lost_position_is_not_decided_again() {
    let kafka = kafka_with_recreated_order().await;
    let latest = [("MALL_REPOSITORY__ON_LOST_POSITION", "latest")];
    let decided = repository(&kafka, &latest);
    decided.ready("repository-1").await;
    decided.kill().await;
    // This order came after the decision: it is not skipped by another one.
    order(&kafka, NUMBER, 21..22).await;
    let _again = repository(&kafka, &latest);
    eventually("the order after the decision is shipped", async || {
        shipped(&kafka).await[5..] == ["21"]
    })
    .await;
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn an_offset_that_another_client_commits_moves_no_position() {
    let kafka = real_kafka();
    create_topics(&kafka, 3).await;
    order(&kafka, NUMBER, 1..4).await;
    // As `kcat -G repository` does for a look into the topic, before anything was shipped and after it.
    commit(&kafka, NUMBER, 3).await;
    let first = repository(&kafka, &[]);
    eventually("three orders are shipped", async || shipped(&kafka).await.len() == 3).await;
    first.kill().await;
    order(&kafka, NUMBER, 4..6).await;
    commit(&kafka, NUMBER, 5).await;
    let _second = repository(&kafka, &[]);
    eventually("all orders are shipped", async || shipped(&kafka).await.len() == 5).await;
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn a_topic_that_is_recreated_while_it_is_consumed_is_a_lost_position() {
    let (kafka, mut repository) = kafka_with_shipped_orders().await;
    recreate(&kafka, "order").await;
    order(&kafka, NUMBER, 11..31).await;
    assert_eq!(repository.ended(PATIENCE).await.code(), Some(1));
    let expected = "expected order 5 at offset 4 of topic order";
    eventually(expected, async || repository.printed().contains(expected)).await;
    assert_eq!(shipped(&kafka).await.len(), 5);
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn a_recreated_topic_shipment_is_not_taken_for_one_that_was_never_shipped() {
    let (kafka, first) = kafka_with_shipped_orders().await;
    eventually("the repository has committed an offset", async || {
        committed(&kafka, NUMBER).await == Some(5)
    })
    .await;
    first.kill().await;
    recreate(&kafka, "shipment").await;
    let mut refused = repository(&kafka, &[]);
    assert_eq!(refused.ended(PATIENCE).await.code(), Some(1));
    let expected = "group repository has committed an offset";
    eventually(expected, async || refused.printed().contains(expected)).await;
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn a_start_reads_back_the_window_and_not_the_log() {
    const OLD: u64 = 40_000;
    const IN_WINDOW: u64 = 10_000;
    let kafka = real_kafka();
    create_topics(&kafka, 3).await;
    // The old ones an hour ago, the others within the last minute.
    let now = Timestamp::now();
    let old = OrderId::smallest_at(now - Duration::from_secs(3600)).get();
    let fresh = OrderId::smallest_at(now - Duration::from_secs(60)).get();
    let ids = (old..old + OLD).chain(fresh..fresh + IN_WINDOW);
    let mut producer = Producer::new(&kafka, "test", "shipment").expect("a producer");
    let ids: Vec<u64> = ids.collect();
    for (chunk, offset) in ids.chunks(20_000).zip((0..).step_by(20_000)) {
        let records: Vec<(String, Vec<u8>)> = chunk
            .iter()
            .zip(offset..)
            .map(|(id, order_offset)| {
                let shipment = Shipment {
                    order_id: id.to_string().parse().ok(),
                    order_offset,
                    outcome: Outcome::Shipped,
                    mark: Some(mark(*id)),
                    duplicate_of: None,
                    detail: None,
                    packed_at: Some(now),
                    shipped_at: Some(now),
                };
                (id.to_string(), shipment.to_record())
            })
            .collect();
        let records: Vec<Record<'_>> = records
            .iter()
            .map(|(key, value)| Record {
                partition: i32::from(NUMBER),
                key: Some(key),
                value,
                timestamp: key
                    .parse::<OrderId>()
                    .expect("an id")
                    .time()
                    .unix_millis()
                    .cast_signed(),
                headers: &[],
            })
            .collect();
        for outcome in producer.send_batch(&records).await {
            outcome.expect("delivered");
        }
    }
    producer.close(PATIENCE).await;
    // The position is lost, because there are no orders: it is decided once everything has been read back, and that twice.
    let repository = repository(&kafka, &[("MALL_REPOSITORY__ON_LOST_POSITION", "latest")]);
    repository.ready("repository-1").await;
    let taking_over = || {
        let printed = repository.printed();
        printed
            .lines()
            .find(|line| line.contains("taking over"))
            .map(str::to_owned)
    };
    eventually("it says what it has read", async || taking_over().is_some()).await;
    let line: serde_json::Value = serde_json::from_str(&taking_over().expect("a line")).expect("JSON");
    assert_eq!(
        line["outcomes_read"],
        IN_WINDOW + 1,
        "the decision is an outcome too: {line}"
    );

    // An order of the window is recognised, an older one is not shipped again.
    order(&kafka, NUMBER, fresh..fresh + 1).await;
    order(&kafka, NUMBER, old..old + 1).await;
    for (outcome, id) in [("order not shipped again", fresh), ("record rejected", old)] {
        eventually(outcome, async || {
            let printed = repository.printed();
            let mut lines = printed.lines().filter(|line| line.contains(outcome));
            lines.any(|line| line.contains(&id.to_string()))
        })
        .await;
    }
}
