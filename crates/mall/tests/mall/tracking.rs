//! `GET /orders/{order_id}`: where an order is, from the logs.

use domain::{Journey, Known, Outcome};
use embedded::Instance;
use futures_util::future::join_all;
use hyper::StatusCode;
use rstest::rstest;

use crate::support::{Broker, NewRecord, PATIENCE, Reply, Stage, append, eventually, partition};

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
    let mut stage = Stage::open(broker).await;
    let mut receipts = Vec::new();
    for number in [0, 1, 1, 1, 2] {
        receipts.push(stage.client.order(stage.gateway(), number).await.json());
    }
    stage.settled(5).await;
    let mut from_memory = Vec::new();
    for receipt in &receipts {
        let id = receipt["order_id"].as_str().expect("an id");
        let found = journey(&ask(&stage, id).await);
        assert_eq!(found.order.order_id.to_string(), id);
        assert_eq!(found.accepted.offset, receipt["offset"].as_i64().expect("an offset"));
        assert_eq!(found.accepted.region, receipt["region"].as_str().expect("a region"));
        let shipment = found.shipment.as_ref().expect("shipped");
        assert_eq!(shipment.outcome, Outcome::Shipped);
        assert!(shipment.packed >= Some(found.accepted.time) && shipment.time >= shipment.packed);
        assert!(found.duplicates.is_empty());
        from_memory.push(found);
    }
    // Those that have just started remember nothing: the logs say the same.
    for number in 0..3 {
        stage.restart(Instance::Repository(partition(number))).await;
    }
    for (receipt, from_memory) in receipts.iter().zip(from_memory) {
        let id = receipt["order_id"].as_str().expect("an id");
        assert_eq!(journey(&ask(&stage, id).await), from_memory);
    }
    stage.close().await;
}

/// What repository-1 knows of orders without looking into the logs.
async fn known(stage: &Stage, ids: &[String]) -> Vec<Known> {
    let repository = stage.address(Instance::Repository(partition(1)));
    let path = format!("/orders?ids={}", ids.join(","));
    let reply = stage.client.get(repository, &path).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    serde_json::from_str(&reply.text).expect("what is known of each")
}

#[rstest]
#[case::mock(Broker::Mock)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real)]
#[tokio::test]
async fn what_an_earlier_process_has_shipped_is_read_back_when_many_ask_for_it(#[case] broker: Broker) {
    let mut stage = Stage::open(broker).await;
    let order = async |stage: &Stage| stage.client.order(stage.gateway(), 1).await.order_id();
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(order(&stage).await);
    }
    // It has an outcome of its own, which says nothing of an order.
    let no_order = NewRecord {
        key: None,
        value: b"no order",
    };
    append(&stage.kafka, 1, &[no_order]).await;
    for _ in 0..25 {
        ids.push(order(&stage).await);
    }
    stage.settled(30).await;
    stage.restart(Instance::Repository(partition(1))).await;
    assert_eq!(known(&stage, &ids).await, vec![Known::Nothing; 30]);
    ids.push(order(&stage).await);
    stage.settled(31).await;
    for _ in 0..4 {
        join_all(ids.iter().map(|id| ask(&stage, id))).await;
    }
    eventually("orders of before are remembered", async || {
        matches!(known(&stage, &ids).await[5], Known::Shipped(_))
    })
    .await;
    let known = known(&stage, &ids).await;
    assert_eq!(known[..5], vec![Known::Nothing; 5]);
    for (id, known) in ids.iter().zip(known).skip(5) {
        assert_eq!(known, Known::Shipped(Box::new(journey(&ask(&stage, id).await))));
    }
    stage.close().await;
}

#[rstest]
#[case::mock(Broker::Mock)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real)]
#[tokio::test]
async fn an_order_that_is_in_the_log_twice_is_found_with_both_records(#[case] broker: Broker) {
    let mut stage = Stage::open(broker).await;
    let first = stage.client.order(stage.gateway(), 1).await;
    for _ in 0..20 {
        stage.client.order(stage.gateway(), 1).await;
    }
    let (id, value) = (first.order_id(), first.text.replace("\"offset\":0,", ""));
    let again = NewRecord {
        key: Some(&id),
        value: value.as_bytes(),
    };
    append(&stage.kafka, 1, &[again]).await;
    stage.settled(22).await;
    for _ in 0..2 {
        let found = journey(&ask(&stage, &id).await);
        assert_eq!((found.accepted.offset, found.duplicates.len()), (0, 1));
        assert_eq!(found.shipment.expect("shipped").outcome, Outcome::Shipped);
        let duplicate = &found.duplicates[0];
        assert_eq!(duplicate.accepted.offset, 21);
        let outcome = duplicate.shipment.as_ref().map(|shipment| shipment.outcome);
        assert_eq!(outcome, Some(Outcome::Duplicate));
        // A repository that has just started knows it too.
        stage.restart(Instance::Repository(partition(1))).await;
    }
    stage.close().await;
}

#[rstest]
#[case::mock(Broker::Mock)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real)]
#[tokio::test]
async fn what_is_no_id_is_400_and_what_is_not_in_the_log_404(#[case] broker: Broker) {
    let mut stage = Stage::open(broker).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let order = stage.client.order(stage.gateway(), 1).await;
        ids.push(order.order_id().parse::<u64>().expect("a number"));
    }
    let id = ids[1];
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
    // From memory, then from the logs.
    for _ in 0..2 {
        for (missing, why) in [
            (0, "the first id of all"),
            (id - 1, "before"),
            (id + 1, "after"),
            (id + year, "from the future"),
            (id + ordinal, "of a region that has no such order"),
            (id + 5 * ordinal, "of a region that does not exist"),
            (i64::MAX.cast_unsigned(), "the last id of all"),
        ] {
            let reply = ask(&stage, &missing.to_string()).await;
            assert_eq!(reply.status, StatusCode::NOT_FOUND, "{why}: {}", reply.text);
            assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        }
        stage.restart(Instance::Repository(partition(1))).await;
    }
    stage.close().await;
}

#[tokio::test]
async fn a_question_for_many_orders_that_cannot_be_answered_is_400() {
    let stage = Stage::on_mock(|_| {}).await;
    let repository = stage.address(Instance::Repository(partition(1)));
    let too_many = format!("?ids={}", ["1"; Known::MAX_TOGETHER + 1].join(","));
    for query in ["", "?ids=", "?ids=1,,2", "?ids=x", "?id=1", &too_many] {
        let reply = stage.client.get(repository, &format!("/orders{query}")).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{query}: {}", reply.text);
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    }
    assert_eq!(known(&stage, &["1".to_owned()]).await, [Known::Nothing]);
    stage.close().await;
}

#[tokio::test]
async fn an_order_that_waits_has_no_shipment() {
    let slow = |config: &mut embedded::Config| config.repository.handling_time = PATIENCE;
    let stage = Stage::on_mock(slow).await;
    let id = stage.client.order(stage.gateway(), 1).await.order_id();
    let reply = ask(&stage, &id).await;
    assert!(reply.text.ends_with("\"shipment\":null}"), "{}", reply.text);
    assert_eq!(journey(&reply).accepted.offset, 0);
    stage.close().await;
}

#[tokio::test]
async fn a_hundred_questions_at_once_are_answered() {
    let mut stage = Stage::on_mock(|_| {}).await;
    let ids = join_all((0..100).map(async |_| stage.client.order(stage.gateway(), 1).await.order_id())).await;
    stage.settled(100).await;
    // From memory, then from the logs.
    for _ in 0..2 {
        for reply in join_all(ids.iter().map(|id| ask(&stage, id))).await {
            journey(&reply);
        }
        stage.restart(Instance::Repository(partition(1))).await;
    }
    stage.close().await;
}

#[tokio::test]
async fn without_a_repository_or_a_broker_the_answer_is_503_in_time() {
    let mut stage = Stage::on_mock(|_| {}).await;
    let id = stage.client.order(stage.gateway(), 1).await.order_id();
    stage.settled(1).await;
    // What it has just shipped, a repository knows without a broker.
    stage.cluster().mock().broker_down(1).expect("down");
    journey(&ask(&stage, &id).await);
    stage.cluster().mock().broker_up(1).expect("up");
    stage.restart(Instance::Repository(partition(1))).await;
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
