//! `GET /orders/{order_id}`: where an order is, from the logs.

use std::time::Duration;

use domain::{Journey, OrderId, Outcome};
use futures_util::future::join_all;
use hyper::StatusCode;
use mall::Instance;
use rstest::rstest;

use crate::support::{Attempt, Broker, PATIENCE, Reply, Stage, append_attempts, eventually, partition};

async fn ask(stage: &Stage, id: &str) -> Reply {
    stage.client.get(stage.gateway(), &format!("/orders/{id}")).await
}

fn journey(reply: &Reply) -> Journey {
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    serde_json::from_str(&reply.text).expect("a journey")
}

#[rstest]
#[case::mock(Broker::Mock)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real)]
#[tokio::test]
async fn an_order_is_found_where_it_is_and_with_its_outcome(#[case] broker: Broker) {
    let stage = Stage::open(broker).await;
    let mut receipts = Vec::new();
    for number in [0, 1, 1, 1, 2] {
        receipts.push(stage.client.order(stage.gateway(), number).await.json());
    }
    stage.settled(5).await;
    for receipt in &receipts {
        let id = receipt["order_id"].as_str().expect("an id");
        let found = journey(&ask(&stage, id).await);
        assert_eq!(found.order.order_id.to_string(), id);
        assert_eq!(found.accepted.offset, receipt["offset"].as_i64().expect("an offset"));
        assert_eq!(found.accepted.region, receipt["region"].as_str().expect("a region"));
        let shipment = found.shipment.as_ref().expect("shipped");
        assert_eq!(shipment.outcome, Outcome::Shipped);
        assert!(shipment.packed >= Some(found.accepted.time) && shipment.time >= shipment.packed);
    }
    stage.close().await;
}

#[rstest]
#[case::mock(Broker::Mock)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real)]
#[tokio::test]
async fn a_duplicate_names_the_order_that_was_shipped(#[case] broker: Broker) {
    let stage = Stage::open(broker).await;
    let first = Attempt::id_of(2, Duration::from_secs(2));
    let attempt = |id| Attempt {
        id,
        money: 7,
        idempotency: Some(("k", "money=7")),
    };
    append_attempts(&stage.kafka, 2, &[attempt(first), attempt(first + 1)]).await;
    stage.settled(2).await;
    let duplicate = journey(&ask(&stage, &(first + 1).to_string()).await);
    let shipment = duplicate.shipment.expect("an outcome");
    assert_eq!(shipment.outcome, Outcome::Duplicate);
    assert_eq!(shipment.duplicate_of.map(OrderId::get), Some(first));
    let shipped = journey(&ask(&stage, &first.to_string()).await)
        .shipment
        .expect("an outcome");
    assert_eq!((shipped.outcome, shipped.duplicate_of), (Outcome::Shipped, None));
    stage.close().await;
}

#[rstest]
#[case::mock(Broker::Mock)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real)]
#[tokio::test]
async fn an_order_that_came_into_the_log_behind_younger_ones_is_found(#[case] broker: Broker) {
    let stage = Stage::open(broker).await;
    let first = Attempt::id_of(1, Duration::from_secs(40));
    let attempt = |id| Attempt {
        id,
        money: 7,
        idempotency: None,
    };
    // A broker that was frozen for 40 s took up the oldest order after 200 younger ones.
    let younger = Attempt::id_of(1, Duration::ZERO);
    let mut attempts: Vec<Attempt<'_>> = (0..200).map(|number| attempt(younger + number)).collect();
    attempts.push(attempt(first));
    attempts.extend((200..400).map(|number| attempt(younger + number)));
    append_attempts(&stage.kafka, 1, &attempts).await;
    stage.settled(401).await;
    for id in [first, younger + 10, younger + 399] {
        let found = journey(&ask(&stage, &id.to_string()).await);
        assert_eq!(
            found.shipment.map(|shipment| shipment.outcome),
            Some(Outcome::Shipped),
            "{id}"
        );
    }
    stage.close().await;
}

#[rstest]
#[case::mock(Broker::Mock)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real)]
#[tokio::test]
async fn what_is_no_id_is_400_and_what_is_not_in_the_log_404(#[case] broker: Broker) {
    let stage = Stage::open(broker).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let order = stage.client.order(stage.gateway(), 1).await;
        ids.push(order.order_id().parse::<u64>().expect("a number"));
    }
    let [first, .., last] = ids[..] else {
        unreachable!("three orders")
    };
    stage.settled(3).await;
    for text in [
        "x",
        "-1",
        "01",
        "9223372036854775808",
        "18446744073709551616",
        "1.0",
        "%00",
        "1%2F",
    ] {
        assert_eq!(ask(&stage, text).await.status, StatusCode::BAD_REQUEST, "{text}");
    }
    let (ordinal, year) = (1 << 12, 1_u64 << 57);
    for (missing, why) in [
        (0, "the first id of all"),
        (first - (1 << 22), "before"),
        (last + 1, "after"),
        (last + year, "from the future"),
        (first + ordinal, "of a region that has no such order"),
        (first + 5 * ordinal, "of a region that does not exist"),
        (i64::MAX.cast_unsigned(), "the last id of all"),
    ] {
        let reply = ask(&stage, &missing.to_string()).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{why}: {}", reply.text);
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    }
    stage.close().await;
}

#[tokio::test]
async fn a_repository_is_misdirected_by_an_id_of_another_region() {
    let stage = Stage::on_mock(|_| {}).await;
    let repository = stage.address(Instance::Repository(partition(1)));
    let id = Attempt::id_of(2, Duration::ZERO);
    let reply = stage.client.get(repository, &format!("/orders/{id}")).await;
    assert_eq!(reply.status, StatusCode::MISDIRECTED_REQUEST, "{}", reply.text);
    stage.close().await;
}

#[tokio::test]
async fn an_order_that_waits_has_no_shipment() {
    let slow = |services: &mut mall::Services| services.repository.handling_time = PATIENCE;
    let stage = Stage::on_mock(slow).await;
    let id = stage.client.order(stage.gateway(), 1).await.order_id();
    let reply = ask(&stage, &id).await;
    assert!(reply.text.ends_with("\"shipment\":null}"), "{}", reply.text);
    assert_eq!(journey(&reply).accepted.offset, 0);
    stage.close().await;
}

#[tokio::test]
async fn an_order_far_behind_the_last_outcome_has_no_shipment_yet() {
    let slow = |services: &mut mall::Services| services.repository.handling_time = Duration::from_secs(3);
    let stage = Stage::on_mock(slow).await;
    stage.client.order(stage.gateway(), 1).await;
    stage.settled(1).await;
    let orders = join_all((0..60).map(|_| stage.client.order(stage.gateway(), 1))).await;
    for order in [&orders[0], &orders[59]] {
        let reply = ask(&stage, &order.order_id()).await;
        assert_eq!(journey(&reply).shipment, None, "{}", reply.text);
        assert!(reply.took < Duration::from_secs(1), "{:?}", reply.took);
    }
    stage.close().await;
}

#[tokio::test]
async fn a_hundred_questions_at_once_are_answered() {
    let stage = Stage::on_mock(|_| {}).await;
    let ids = join_all((0..100).map(async |_| stage.client.order(stage.gateway(), 1).await.order_id())).await;
    stage.settled(100).await;
    for reply in join_all(ids.iter().map(|id| ask(&stage, id))).await {
        journey(&reply);
    }
    stage.close().await;
}

#[tokio::test]
async fn without_a_repository_or_a_broker_the_answer_is_503_in_time() {
    let mut stage = Stage::on_mock(|_| {}).await;
    let id = stage.client.order(stage.gateway(), 1).await.order_id();
    stage.settled(1).await;
    stage.cluster().mock().broker_down(1).expect("down");
    let reply = ask(&stage, &id).await;
    assert!(reply.status.is_server_error(), "{}", reply.text);
    assert!(reply.took.as_secs_f32() < 2.5, "{:?}", reply.took);
    stage.cluster().mock().broker_up(1).expect("up");
    eventually("the order is found again", async || {
        ask(&stage, &id).await.status == StatusCode::OK
    })
    .await;
    stage
        .mall
        .stop(Instance::Repository(partition(1)))
        .await
        .expect("stopped");
    let reply = ask(&stage, &id).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{}", reply.text);
    assert!(reply.text.contains("repository-1: out of reach"), "{}", reply.text);
    stage.close().await;
}
