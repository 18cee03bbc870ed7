//! The way of an order through the mall.

use std::time::Duration;

use hyper::StatusCode;
use mall::Instance;
use rstest::rstest;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{Broker, Client, Stage, Told, config, eventually, partition, read, shipments};

#[rstest]
#[case::mock(Broker::Mock)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real)]
#[tokio::test]
async fn nine_orders_reach_their_regions_and_are_shipped_and_counted_once(#[case] broker: Broker) {
    let stage = Stage::open(broker).await;
    let (mut told, mut money, mut last) = (Told::new(), 0, [const { String::new() }; 3]);
    for (number, region) in (0..).zip(["陕北", "关中", "陕南"]) {
        for offset in 0..3 {
            let asked = told.ask(number);
            let reply = stage.client.post_form(stage.gateway(), &[], &asked.form()).await;
            assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
            assert_eq!(reply.header("content-type"), Some("application/json"));
            let receipt = reply.json();
            assert_eq!(
                (&receipt["partition"], &receipt["region"]),
                (&json!(number), &json!(region))
            );
            assert_eq!(receipt["offset"], offset);
            money += receipt["money"].as_u64().expect("an amount");
            last[usize::from(number)] = reply.order_id();
            told.reply(asked, &Ok(reply));
        }
    }
    let statistics = stage.settled(9).await;
    told.verify(&stage.kafka).await;
    let total = json!({
        "orders": 9, "money": money, "shipped": 9, "duplicates": 0, "rejected": 0, "waiting": 0, "lost": 0, "shipped_twice": 0
    });
    assert_eq!(statistics["total"], total);
    assert_eq!(statistics["offsets"]["order"], json!([3, 3, 3]));
    for (region, id) in statistics["regions"].as_array().expect("a list").iter().zip(last) {
        assert_eq!((&region["orders"], &region["shipped"]), (&json!(3), &json!(3)));
        assert_eq!(region["last_order"]["order_id"], id);
    }
    stage.close().await;
}

#[rstest]
#[case::mock(Broker::Mock)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real)]
#[tokio::test]
async fn the_reply_and_the_records_are_those_of_the_contract(#[case] broker: Broker) {
    let stage = Stage::open(broker).await;
    let body = r#"{"partition":1,"money":81,"user_id":"1468136425655373824"}"#;
    let reply = stage
        .client
        .post(stage.gateway(), &[("content-type", "application/json")], body)
        .await;
    let receipt = reply.json();
    let (order_id, time) = (reply.order_id(), receipt["time"].as_u64().expect("seconds"));
    let expected = format!(
        r#"{{"money":81,"offset":0,"order_id":"{order_id}","partition":1,"region":"关中","time":{time},"user_id":"1468136425655373824"}}"#
    );
    assert_eq!(reply.text, expected);
    assert!(reply.header("x-request-id").is_some());
    stage.settled(1).await;

    let order = read(&stage.kafka, "order", 1).await.remove(0);
    let expected = format!(r#"{{"money":81,"order_id":"{order_id}","time":{time},"user_id":"1468136425655373824"}}"#);
    assert_eq!(String::from_utf8(order.value).expect("text"), expected);
    let id: domain::OrderId = order_id.parse().expect("an id");
    assert_eq!(
        (order.offset, order.key, id.ordinal().get()),
        (0, Some(order_id.clone()), 1)
    );
    assert_eq!(order.timestamp, Some(id.time().unix_millis().cast_signed()));

    let record = read(&stage.kafka, "shipment", 1).await.remove(0);
    assert_eq!((record.key, record.timestamp), (Some(order_id), order.timestamp));
    let shipment = shipments(&stage.kafka, 1).await.remove(0);
    assert_eq!((shipment.order_offset, shipment.outcome), (0, domain::Outcome::Shipped));
    assert!(shipment.packed_at.is_some() && shipment.packed_at <= shipment.shipped_at);
    stage.close().await;
}

#[rstest]
#[case::mock(Broker::Mock)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real)]
#[tokio::test]
async fn headers_that_belong_to_an_order_are_checked_and_passed_on(#[case] broker: Broker) {
    let stage = Stage::open(broker).await;
    let post = async |name: &str, value: &str| {
        let form = "partition=0";
        stage.client.post_form(stage.gateway(), &[(name, value)], form).await
    };
    assert_eq!(post("idempotency-key", "key-1").await.status, StatusCode::OK);
    for key in ["", "with space", &"x".repeat(65)] {
        let reply = post("idempotency-key", key).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{key:?}");
    }
    assert_eq!(post("x-request-id", "mine").await.header("x-request-id"), Some("mine"));
    stage.settled(2).await;
    stage.close().await;
}

#[tokio::test]
async fn a_mall_of_five_regions_has_five_of_everything() {
    let replicas = domain::Replicas::try_from(5).expect("five");
    let cluster = mall::embedded::Cluster::start(replicas).expect("a broker");
    let mut config = config(cluster.config());
    config.services.replicas = replicas;
    let mut mall = mall::embedded::Mall::open(config).await.expect("a mall");
    mall.ready(crate::support::PATIENCE).await.expect("ready");
    let (client, gateway) = (Client::new(), mall.address(Instance::Gateway).expect("running"));
    assert_eq!(client.order(gateway, 4).await.json()["region"], "region-4");
    assert_eq!(client.order(gateway, 5).await.status, StatusCode::BAD_REQUEST);
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    mall.run(&shutdown).await.expect("stopped");
}

#[rstest]
#[case::mock(Broker::Mock)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real)]
#[tokio::test]
async fn every_service_says_what_it_is_and_shows_its_metrics(#[case] broker: Broker) {
    let stage = Stage::open(broker).await;
    stage.client.order(stage.gateway(), 0).await;
    stage.settled(1).await;
    let instances = [
        (
            Instance::Gateway,
            "gateway:",
            "mall_gateway_requests_total{partition=\"0\",status=\"200\"} 1",
        ),
        (
            Instance::Order(partition(0)),
            "order:",
            "mall_order_submissions_total{outcome=\"written\",partition=\"0\"} 1",
        ),
        (
            Instance::Repository(partition(0)),
            "repository:",
            "mall_repository_outcomes_total{outcome=\"shipped\",partition=\"0\"} 1",
        ),
        (Instance::Statistics, "statistics:", "mall_build_info"),
    ];
    for (instance, about, metric) in instances {
        let address = stage.address(instance);
        let get = |path: &'static str| stage.client.get(address, path);
        let (home, live, ready) = (get("/").await, get("/live").await, get("/ready").await);
        assert!(
            home.text.starts_with(about) && home.text.lines().count() == 1,
            "{}",
            home.text
        );
        assert_eq!((live.status, ready.status), (StatusCode::OK, StatusCode::OK));
        eventually(metric, async || get("/metrics").await.text.contains(metric)).await;
    }
    stage.close().await;
}

#[rstest]
#[case::mock(Broker::Mock)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real)]
#[tokio::test]
async fn events_follow_the_figures_and_end_when_the_service_stops(#[case] broker: Broker) {
    use http_body_util::BodyExt;

    let mut stage = Stage::open(broker).await;
    let statistics = stage.address(Instance::Statistics);
    let client: hyper_util::client::legacy::Client<_, http_body_util::Empty<hyper::body::Bytes>> =
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let response = client
        .get(format!("http://{statistics}/api/events").parse().expect("an address"))
        .await;
    let mut events = response.expect("a reply").into_body();
    stage.client.order(stage.gateway(), 0).await;
    let mut text = String::new();
    while !text.contains("\"shipped\":1") {
        let frame = tokio::time::timeout(Duration::from_secs(20), events.frame())
            .await
            .expect("an event in time");
        let data = frame
            .expect("the stream goes on")
            .expect("no error")
            .into_data()
            .expect("data");
        text.push_str(&String::from_utf8_lossy(&data));
    }
    assert!(
        text.starts_with("retry: 1000\n\nevent: start\ndata: {\"gateway\""),
        "{text}"
    );
    assert!(text.contains("\n\ndata: {\"regions\""), "{text}");
    // A connection that never ends by itself must not keep the service from stopping.
    let stopped = tokio::time::timeout(Duration::from_secs(5), stage.mall.stop(Instance::Statistics)).await;
    stopped.expect("in time").expect("without a failure");
    let rest = async {
        while let Some(frame) = events.frame().await {
            frame.expect("the stream ends as HTTP says, it does not break off");
        }
    };
    tokio::time::timeout(Duration::from_secs(5), rest)
        .await
        .expect("the stream ends");
    stage.close().await;
}
