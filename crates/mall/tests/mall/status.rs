//! The status table of `POST /submit-order`: everything that is refused writes nothing.

use std::time::Duration;

use hyper::StatusCode;
use mall::Instance;

use crate::support::{Reply, Stage, partition, read_status, send_raw};

/// The reply is a problem with this status.
fn assert_problem(reply: &Reply, status: StatusCode) {
    assert_eq!(reply.status, status, "{}", reply.text);
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    let problem = reply.json();
    assert_eq!(problem["status"], status.as_u16());
    for name in ["type", "title", "detail"] {
        assert!(
            problem[name].as_str().is_some_and(|text| !text.is_empty()),
            "{name} in {problem}"
        );
    }
}

/// What exactly is refused is told by the tests of the gateway itself.
#[tokio::test]
async fn what_cannot_be_read_is_refused_and_nothing_is_written() {
    let stage = Stage::on_mock(|_| {}).await;
    for form in ["", "partition=0.evil.example/x?", "partition=1&money=1000001"] {
        let reply = stage.client.post_form(stage.gateway(), &[], form).await;
        assert_problem(&reply, StatusCode::BAD_REQUEST);
    }
    let post = async |content_type, body: &'static str| {
        let headers = [("content-type", content_type)];
        stage.client.post(stage.gateway(), &headers, body).await
    };
    let reply = post("application/json", "{\"partition\":\"1\"}").await;
    assert_problem(&reply, StatusCode::BAD_REQUEST);
    let reply = post("text/plain", "partition=1").await;
    assert_problem(&reply, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let reply = stage.client.get(stage.gateway(), "/submit-order?partition=1").await;
    assert_problem(&reply, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(reply.header("allow"), Some("POST"));
    let reply = stage.client.get(stage.gateway(), "/order").await;
    assert_problem(&reply, StatusCode::NOT_FOUND);
    assert_eq!(stage.orders().await, 0);
    stage.close().await;
}

#[tokio::test]
async fn a_body_over_16_kib_is_413_however_long_it_is() {
    let stage = Stage::on_mock(|_| {}).await;
    let post = async |length: usize| {
        let form = format!("partition=1{}", "&".repeat(length - 11));
        stage.client.post_form(stage.gateway(), &[], &form).await
    };
    let reply = post(16 * 1024 + 1).await;
    assert_problem(&reply, StatusCode::PAYLOAD_TOO_LARGE);
    let reply = post(10_000_000).await;
    assert_problem(&reply, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(stage.orders().await, 0);
    let reply = post(16 * 1024).await;
    assert_eq!(reply.status, StatusCode::OK);
    stage.close().await;
}

#[tokio::test]
async fn a_client_that_does_not_send_its_body_is_408_and_one_that_goes_away_harms_nobody() {
    let stage = Stage::on_mock(|_| {}).await;
    let head = "POST /submit-order HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 11\r\n\r\npart";
    drop(send_raw(stage.gateway(), head.as_bytes()).await);
    let mut slow = send_raw(stage.gateway(), head.as_bytes()).await;
    assert_eq!(read_status(&mut slow).await, "408");
    assert_eq!(stage.client.order(stage.gateway(), 1).await.status, StatusCode::OK);
    stage.close().await;
}

#[tokio::test]
async fn an_order_service_that_is_gone_is_503_for_its_region_alone() {
    let mut stage = Stage::on_mock(|_| {}).await;
    stage.mall.stop(Instance::Order(partition(1))).await.expect("stopped");
    let reply = stage.client.order(stage.gateway(), 1).await;
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert!(reply.took.as_secs_f32() < 1.0, "{:?}", reply.took);
    assert_problem(&reply, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(stage.orders().await, 0);
    assert_eq!(stage.client.order(stage.gateway(), 0).await.status, StatusCode::OK);
    stage.mall.start(Instance::Order(partition(1))).await.expect("started");
    stage.mall.ready(crate::support::PATIENCE).await.expect("ready");
    assert_eq!(stage.client.order(stage.gateway(), 1).await.status, StatusCode::OK);
    stage.close().await;
}

#[tokio::test]
async fn too_many_orders_in_flight_are_503_at_once() {
    let one = std::num::NonZeroU32::MIN;
    let stage = Stage::on_mock(|config| config.gateway.max_in_flight = one).await;
    let slow = Duration::from_secs(1);
    stage
        .cluster()
        .mock()
        .broker_round_trip_time(1, slow)
        .expect("a slow broker");
    let order = || stage.client.order(stage.gateway(), 0);
    let (first, second) = tokio::join!(order(), order());
    let (taken, refused) = if first.took > second.took {
        (first, second)
    } else {
        (second, first)
    };
    assert_eq!(taken.status, StatusCode::OK, "{}", taken.text);
    assert_problem(&refused, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.took < slow / 2, "{:?}", refused.took);
    stage
        .cluster()
        .mock()
        .broker_round_trip_time(1, Duration::ZERO)
        .expect("a fast broker");
    assert_eq!(stage.orders().await, 1);
    stage.close().await;
}
