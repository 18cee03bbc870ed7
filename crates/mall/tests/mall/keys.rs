//! Orders with an `Idempotency-Key`: a submission that comes again is the same order.

use embedded::Instance;
use futures_util::future::join_all;
use hyper::StatusCode;
use rstest::rstest;

use crate::support::{Broker, Reply, Stage, eventually, partition, read, shipments};

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
async fn an_order_of_unknown_outcome_is_the_same_order_when_its_key_comes_again() {
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
    let reply = reply.expect("taken");
    assert_eq!(reply.json()["order_id"], unknown.json()["order_id"]);
    eventually("every record has an outcome", async || {
        shipments(&stage.kafka, 1).await.len() == read(&stage.kafka, "order", 1).await.len()
    })
    .await;
    let shipped = shipments(&stage.kafka, 1).await;
    let shipped = shipped.iter().filter(|shipment| {
        shipment.outcome == domain::Outcome::Shipped
            && shipment.order_id.map(|id| id.to_string()) == Some(reply.order_id())
    });
    assert_eq!(shipped.count(), 1);
    stage.close().await;
}
