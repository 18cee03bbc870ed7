//! Orders with an `Idempotency-Key`: a submission that comes again is the same order.

use std::time::Duration;

use domain::{Outcome, Shipment};
use futures_util::future::join_all;
use hyper::StatusCode;
use mall::Instance;
use rstest::rstest;

use crate::support::{
    Attempt, Broker, Reply, Stage, append_attempts, eventually, outcomes, partition, read, settled_shipments,
};

async fn order(stage: &Stage, key: &str, form: &str) -> Reply {
    stage
        .client
        .post_form(stage.gateway(), &[("idempotency-key", key)], form)
        .await
}

fn is_replayed(reply: &Reply) -> bool {
    reply.header("idempotency-replayed") == Some("true")
}

#[rstest]
#[case::mock(Broker::Mock)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real)]
#[tokio::test]
async fn a_key_is_one_order_with_one_reply_also_when_everything_was_restarted(#[case] broker: Broker) {
    let mut stage = Stage::open(broker).await;
    let first = order(&stage, "k", "partition=1").await;
    assert_eq!(first.status, StatusCode::OK, "{}", first.text);
    assert!(!is_replayed(&first));
    let again = order(&stage, "k", "partition=1").await;
    assert_eq!((again.status, &again.text), (StatusCode::OK, &first.text));
    assert!(is_replayed(&again));
    let another = order(&stage, "k", "partition=1&money=7").await;
    assert_eq!(another.status, StatusCode::CONFLICT, "{}", another.text);
    stage.restart(Instance::Order(partition(1))).await;
    stage.restart(Instance::Gateway).await;
    let again = order(&stage, "\"k\"", "partition=1").await;
    assert_eq!((again.status, &again.text), (StatusCode::OK, &first.text));
    assert!(is_replayed(&again));
    let another = order(&stage, "k", "partition=1&user_id=7").await;
    assert_eq!(another.status, StatusCode::CONFLICT, "{}", another.text);
    assert_ne!(
        order(&stage, "K", "partition=1").await.order_id(),
        first.order_id(),
        "another key is another order"
    );
    assert_eq!(read(&stage.kafka, "order", 1).await.len(), 2);
    stage.close().await;
}

#[rstest]
#[case::mock(Broker::Mock)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real)]
#[tokio::test]
async fn a_key_that_comes_over_a_hundred_connections_at_once_is_one_record(#[case] broker: Broker) {
    let stage = Stage::open(broker).await;
    let replies = join_all((0..100).map(|_| order(&stage, "k", "partition=2"))).await;
    for reply in &replies {
        assert_eq!((reply.status, &reply.text), (StatusCode::OK, &replies[0].text));
    }
    assert_eq!(replies.iter().filter(|reply| !is_replayed(reply)).count(), 1);
    assert_eq!(read(&stage.kafka, "order", 2).await.len(), 1);
    stage.close().await;
}

#[tokio::test]
async fn a_retry_after_an_unknown_outcome_is_shipped_once_with_the_first_attempt() {
    let stage = Stage::on_mock(|_| {}).await;
    order(&stage, "before", "partition=1").await;
    stage.cluster().mock().broker_down(1).expect("down");
    let unknown = order(&stage, "k", "partition=1").await;
    assert_eq!(unknown.status, StatusCode::GATEWAY_TIMEOUT, "{}", unknown.text);
    stage.cluster().mock().broker_up(1).expect("up");
    let mut reply = None;
    eventually("the order is taken", async || {
        reply = Some(order(&stage, "k", "partition=1").await).filter(|reply| reply.status == StatusCode::OK);
        reply.is_some()
    })
    .await;
    let receipt = reply.expect("taken");
    assert_ne!(
        receipt.json()["order_id"],
        unknown.json()["order_id"],
        "each attempt has an id of its own"
    );
    let shipments = settled_shipments(&stage.kafka, 1).await;
    let mark = shipments
        .iter()
        .find(|shipment| shipment.order_id.map(|id| id.to_string()) == Some(receipt.order_id()));
    let mark = mark.expect("an outcome").mark;
    let is_shipped = |shipment: &&Shipment| shipment.mark == mark && shipment.outcome == Outcome::Shipped;
    assert_eq!(shipments.iter().filter(is_shipped).count(), 1);
    stage.close().await;
}

#[rstest]
#[case::mock(Broker::Mock)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real)]
#[tokio::test]
async fn attempts_with_one_key_and_request_within_ten_minutes_are_one_order(#[case] broker: Broker) {
    const MINUTE: Duration = Duration::from_secs(60);
    let mut stage = Stage::open(broker).await;
    let attempt = |ago, request| Attempt {
        id: Attempt::id_of(1, ago),
        money: 7,
        idempotency: Some(("k", request)),
    };
    let first = [
        attempt(MINUTE * 12, ""),
        attempt(MINUTE * 12, "money=7"),
        attempt(MINUTE * 11, ""),
    ];
    append_attempts(&stage.kafka, 1, &first).await;
    let expected = [Outcome::Shipped, Outcome::Shipped, Outcome::Duplicate];
    assert_eq!(outcomes(&settled_shipments(&stage.kafka, 1).await), expected);
    // A repository that was started anew knows it from the log; an attempt after more than ten minutes is another order.
    stage.restart(Instance::Repository(partition(1))).await;
    append_attempts(&stage.kafka, 1, &[attempt(MINUTE * 3, ""), attempt(MINUTE, "")]).await;
    let outcomes = outcomes(&settled_shipments(&stage.kafka, 1).await);
    assert_eq!(outcomes[3..], [Outcome::Duplicate, Outcome::Shipped]);
    stage.close().await;
}

#[tokio::test]
async fn a_key_that_is_posted_to_an_order_service_itself_counts_too() {
    let stage = Stage::on_mock(|_| {}).await;
    let address = stage.address(Instance::Order(partition(1)));
    let body = r#"{"money":7,"partition":1,"time":1,"user_id":"7"}"#;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let reply = stage.client.post_json(address, &[("idempotency-key", "k")], body).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
        ids.push(reply.order_id());
    }
    assert_eq!(ids[0], ids[1]);
    let other = body.replace("7,", "8,");
    let reply = stage
        .client
        .post_json(address, &[("idempotency-key", "k")], &other)
        .await;
    assert_eq!(reply.status, StatusCode::CONFLICT, "{}", reply.text);
    stage.close().await;
}
