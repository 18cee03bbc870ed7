//! The status table of `POST /submit-order`: everything that is refused writes nothing.

use embedded::Instance;
use hyper::StatusCode;
use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Reply, Stage, partition, read};

const FORM: &str = "application/x-www-form-urlencoded";

/// A problem with this status, and nothing in the log.
async fn assert_refused(stage: &Stage, reply: &Reply, status: StatusCode) {
    assert_problem(reply, status);
    for partition in 0..3 {
        assert_eq!(
            read(&stage.kafka, "order", partition).await.len(),
            0,
            "records in partition {partition}"
        );
    }
}

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

#[rstest]
#[case("")]
#[case("partition=0.evil.example/x?")]
#[case("partition=-1")]
#[case("partition=3")]
#[case("partition=１")]
#[case("partition=1e0")]
#[case("partition=1&money=1000001")]
#[case("partition=1&user_id=me")]
#[tokio::test]
async fn a_bad_form_is_400(#[case] body: &'static str) {
    let stage = Stage::on_mock(|_| {}).await;
    let reply = stage.client.post(stage.gateway(), FORM, body).await;
    assert_refused(&stage, &reply, StatusCode::BAD_REQUEST).await;
    stage.close().await;
}

#[rstest]
#[case("null")]
#[case("{\"partition\":")]
#[case("{\"partition\":\"1\"}")]
#[case("{\"partition\":1.0}")]
#[tokio::test]
async fn bad_json_is_400(#[case] body: &'static str) {
    let stage = Stage::on_mock(|_| {}).await;
    let reply = stage.client.post(stage.gateway(), "application/json", body).await;
    assert_refused(&stage, &reply, StatusCode::BAD_REQUEST).await;
    stage.close().await;
}

#[tokio::test]
async fn another_method_is_405_another_type_415_another_path_404() {
    let stage = Stage::on_mock(|_| {}).await;
    let reply = stage.client.get(stage.gateway(), "/submit-order?partition=1").await;
    assert_eq!(reply.header("allow"), Some("POST"));
    assert_refused(&stage, &reply, StatusCode::METHOD_NOT_ALLOWED).await;
    let reply = stage.client.post(stage.gateway(), "text/plain", "partition=1").await;
    assert_refused(&stage, &reply, StatusCode::UNSUPPORTED_MEDIA_TYPE).await;
    let reply = stage.client.get(stage.gateway(), "/order").await;
    assert_refused(&stage, &reply, StatusCode::NOT_FOUND).await;
    stage.close().await;
}

#[tokio::test]
async fn a_body_over_16_kib_is_413_however_long_it_is() {
    let stage = Stage::on_mock(|_| {}).await;
    let padded = |length: usize| format!("partition=1&x={}", "x".repeat(length - 14));
    let reply = stage.client.post(stage.gateway(), FORM, padded(16 * 1024 + 1)).await;
    assert_refused(&stage, &reply, StatusCode::PAYLOAD_TOO_LARGE).await;
    let reply = stage.client.post(stage.gateway(), FORM, padded(10_000_000)).await;
    assert_refused(&stage, &reply, StatusCode::PAYLOAD_TOO_LARGE).await;
    let reply = stage.client.post(stage.gateway(), FORM, padded(16 * 1024)).await;
    assert_eq!(reply.status, StatusCode::OK);
    stage.close().await;
}

#[tokio::test]
async fn a_client_that_does_not_send_its_body_is_408_and_one_that_goes_away_harms_nobody() {
    let stage = Stage::on_mock(|_| {}).await;
    let head = "POST /submit-order HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 11\r\n\r\npart";
    let mut gone = TcpStream::connect(stage.gateway()).await.expect("a connection");
    gone.write_all(head.as_bytes()).await.expect("sent");
    drop(gone);
    let mut slow = TcpStream::connect(stage.gateway()).await.expect("a connection");
    slow.write_all(head.as_bytes()).await.expect("sent");
    let mut reply = vec![0; 12];
    slow.read_exact(&mut reply).await.expect("a reply");
    assert_eq!(String::from_utf8_lossy(&reply), "HTTP/1.1 408");
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
    assert_refused(&stage, &reply, StatusCode::SERVICE_UNAVAILABLE).await;
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
    stage
        .cluster()
        .mock()
        .broker_round_trip_time(1, std::time::Duration::from_millis(300))
        .expect("a slow broker");
    let (first, second) = tokio::join!(
        stage.client.order(stage.gateway(), 0),
        stage.client.order(stage.gateway(), 0)
    );
    let mut statuses = [first.status, second.status];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE]);
    assert_eq!(read(&stage.kafka, "order", 0).await.len(), 1);
    stage.close().await;
}
