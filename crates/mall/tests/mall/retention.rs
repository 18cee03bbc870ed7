//! What statistics shows when records are no longer there, or others are in their place. On a real broker.

use std::time::Instant;

use kafka::{Producer, Record};
use serde_json::json;

use crate::support::{
    Child, Counting, PATIENCE, create_topics, delete_records, eventually, fold, order, real_kafka, recreate, ship,
    write,
};

/// The region under test.
const NUMBER: u16 = 1;

/// Statistics that has counted ten orders of a region and their outcomes, which a repository has written in
/// transactions.
async fn counted(kafka: &kafka::Config) -> (Counting, Child) {
    create_topics(kafka, 3).await;
    order(kafka, NUMBER, 1..11).await;
    let repository = Child::service("repository", kafka, &[("MALL_ORDINAL", "1")]);
    let statistics = Counting::start(kafka).await;
    eventually("all is shipped and counted", async || {
        statistics.figures().await["total"]["shipped"] == 10
    })
    .await;
    statistics.agrees_with_the_log(kafka).await;
    (statistics, repository)
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn retention_may_remove_all_that_was_counted_and_no_total_changes() {
    let kafka = real_kafka();
    let (statistics, _repository) = counted(&kafka).await;
    let before = statistics.figures().await;
    // The last offset of `shipment` is the end of a transaction: it is passed when the end of the log is seen.
    eventually("all offsets are passed", async || {
        statistics.figures().await["offsets"]["shipment"][1] == 11
    })
    .await;
    statistics.stop().await;
    for topic in ["order", "shipment"] {
        delete_records(&kafka, topic, NUMBER, None).await;
    }
    let statistics = Counting::start(&kafka).await;
    statistics.shows(&before).await;
    order(&kafka, NUMBER, 11..13).await;
    eventually("what comes after is counted too", async || {
        let total = &statistics.figures().await["total"];
        total["orders"] == 12 && total["shipped"] == 12 && total["waiting"] == 0
    })
    .await;
    let begins = json!({"order": [0, 0, 0], "shipment": [0, 0, 0]});
    assert_eq!(statistics.figures().await["begins"], begins);
    statistics.stop().await;
    // A part of it too, so that the last record is still there to be compared.
    delete_records(&kafka, "order", NUMBER, Some(11)).await;
    let statistics = Counting::start(&kafka).await;
    assert_eq!(statistics.figures().await["total"]["orders"], 12);
    assert_eq!(statistics.read_at_start("order").await, 0);
    statistics.stop().await;
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn totals_begin_where_the_log_does_when_records_were_removed_uncounted() {
    let kafka = real_kafka();
    let (statistics, repository) = counted(&kafka).await;
    statistics.stop().await;
    drop(repository);
    order(&kafka, NUMBER, 11..21).await;
    delete_records(&kafka, "order", NUMBER, Some(13)).await;

    let statistics = Counting::start(&kafka).await;
    let said = statistics.says("the figures are discarded").await;
    assert_eq!(said.len(), 1, "{said:?}");
    let reason = "expected to go on at offset 10, found only offsets from 13 on: the records between were removed";
    assert_eq!(
        (&said[0]["reason"], &said[0]["topic"], &said[0]["partition"]),
        (&json!(reason), &json!("order"), &json!(NUMBER))
    );
    let said = statistics.says("totals begin at this offset").await;
    assert_eq!((said.len(), &said[0]["offset"]), (1, &json!(13)));
    eventually("what is left is counted", async || {
        statistics.figures().await["total"]["orders"] == 7
    })
    .await;
    let figures = statistics.figures().await;
    let begins = json!({"order": [0, 13, 0], "shipment": [0, 0, 0]});
    assert_eq!(
        (&figures["begins"], &figures["total"]["shipped"]),
        (&begins, &json!(10))
    );
    assert_eq!(figures["total"]["waiting"], 7);
    statistics.stop().await;
    // The next one knows it too.
    let statistics = Counting::start(&kafka).await;
    assert_eq!(statistics.figures().await["begins"], begins);
    assert_eq!(statistics.read_at_start("order").await, 0);
    statistics.stop().await;
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn recreated_topics_are_counted_from_their_start_however_long_they_have_become() {
    let kafka = real_kafka();
    create_topics(&kafka, 3).await;
    for region in 0..3 {
        order(&kafka, region, 1..11).await;
    }
    ship(&kafka, NUMBER, 0..10).await;
    Counting::start(&kafka).await.stop().await;
    recreate(&kafka, "order").await;
    // Shorter, as long as before, longer.
    for (region, ids) in [(0, 21..24), (1, 21..31), (2, 21..41)] {
        order(&kafka, region, ids).await;
    }
    let statistics = Counting::start(&kafka).await;
    statistics.agrees_with_the_log(&kafka).await;
    let mut said = statistics.says("the figures are discarded").await;
    said.sort_by_key(|line| line["partition"].as_u64());
    let reasons: Vec<_> = said.iter().map(|line| line["reason"].to_string()).collect();
    assert_eq!(reasons.len(), 3, "shipment is what it was: {reasons:?}");
    assert!(
        reasons[0].contains("at offset 10, found only offsets up to 3"),
        "{reasons:?}"
    );
    for reason in &reasons[1..] {
        assert!(
            reason.contains("expected order 10 of time") && reason.contains("found order 30 of time"),
            "{reasons:?}"
        );
    }
    assert_eq!(statistics.read_at_start("shipment").await, 0);
    statistics.stop().await;
}

/// `MALL_TEST_ORDERS` says how many: 5 million are the measure of the contract.
#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[expect(clippy::print_stderr, reason = "figures for whoever measures")]
async fn a_start_behind_many_orders_takes_no_longer_than_one_behind_none() {
    let orders: u64 = std::env::var("MALL_TEST_ORDERS").map_or(100_000, |orders| orders.parse().expect("a number"));
    let kafka = real_kafka();
    create_topics(&kafka, 3).await;
    fill(&kafka, orders / 3).await;
    let begun = Instant::now();
    let statistics = Counting::start_within(&kafka, PATIENCE * 10).await;
    let whole_log = begun.elapsed();
    let before = statistics.figures().await;
    assert_eq!(before["total"]["orders"], orders / 3 * 3);
    assert_eq!(before["total"]["money"], money(orders / 3) * 3);
    statistics.stop().await;

    write(&kafka, "order", 0, None, &[b"poison".to_vec()]).await;
    let begun = Instant::now();
    let statistics = Counting::start(&kafka).await;
    let snapshot = begun.elapsed();
    assert_eq!(statistics.read_at_start("order").await, 1);
    let after = statistics.figures().await;
    assert_eq!(after["total"]["orders"], before["total"]["orders"]);
    assert_eq!(after["total"]["money"], before["total"]["money"]);
    statistics.stop().await;
    if orders <= 100_000 {
        let folded = fold(&kafka).await;
        assert_eq!(
            (&after["regions"], &after["total"]),
            (&folded["regions"], &folded["total"])
        );
    }
    eprintln!("{orders} orders: ready after {whole_log:?} from the log, after {snapshot:?} from a snapshot");
}

/// Writes orders with ids from 1 on, as many to each region.
async fn fill(kafka: &kafka::Config, orders: u64) {
    // As many as a busy broker acknowledges in the time that a record has.
    const BATCH: usize = 5_000;
    let mut producer = Producer::new(kafka, "test", "order").expect("a producer");
    for first in (1..=orders).step_by(BATCH) {
        let values: Vec<String> = (first..=orders)
            .take(BATCH)
            .map(|id| format!(r#"{{"money":{},"order_id":"{id}","time":1,"user_id":"1"}}"#, id % 100))
            .collect();
        for partition in 0..3 {
            let record = |value| Record {
                partition,
                key: None,
                value: str::as_bytes(value),
                timestamp: 1_790_000_000_000,
                headers: &[],
            };
            let records: Vec<Record<'_>> = values.iter().map(|value| record(value.as_str())).collect();
            for outcome in producer.send_batch(&records).await {
                outcome.expect("delivered");
            }
        }
    }
    producer.close(PATIENCE).await;
}

/// The money of the orders with ids 1 to `orders`.
fn money(orders: u64) -> u64 {
    (1..=orders).map(|id| id % 100).sum()
}
