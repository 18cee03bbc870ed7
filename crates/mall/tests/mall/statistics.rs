//! What statistics shows while the broker or its clients misbehave.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use domain::Replicas;
use http_body_util::Full;
use hyper::{Request, StatusCode};
use mall::Instance;
use mall::embedded::Cluster;
use serde_json::{Value, json};
use service::{Context, http};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::support::{Client, NewRecord, Stage, append, eventually, partition, read_status, send_raw};

/// How long one region may hold up another.
const HOLD_UP: Duration = Duration::from_secs(1);

async fn write_order(kafka: &kafka::Config, region: u16) {
    let value = br#"{"money":1,"order_id":"1","time":1,"user_id":"1"}"#;
    append(kafka, region, &[NewRecord { key: Some("1"), value }]).await;
}

#[tokio::test]
async fn a_region_without_a_leader_holds_up_neither_the_others_nor_a_start() {
    let cluster = Cluster::start(Replicas::THREE).expect("a broker");
    let kafka = cluster.config();
    for region in 0..3 {
        write_order(&kafka, region).await;
    }
    let lead = |broker| {
        for topic in ["order", "shipment"] {
            let led = cluster.mock().partition_leader(topic, 1, broker);
            led.expect("the leader is changed");
        }
    };
    lead(None);
    // Alone: the mock broker crashes when a client that knows the old leader asks it for this partition.
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = http::bind(anywhere, "").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let shutdown = CancellationToken::new();
    let context = Context::new("statistics", listener, shutdown.clone());
    let config = statistics::Config {
        kafka: kafka.clone(),
        orders: BTreeMap::new(),
        repositories: BTreeMap::new(),
        settings: statistics::Settings {
            readiness_interval: Duration::ZERO,
            ..statistics::Settings::default()
        },
    };
    let service = tokio::spawn(statistics::run(config, context));

    let client = Client::new();
    let counted = async |region: usize, orders: u64| {
        eventually(&format!("{orders} orders of region {region} are counted"), async || {
            client.get(address, "/api/statistics").await.json()["regions"][region]["orders"] == orders
        })
        .await;
    };
    // A new client takes up to two seconds to reach the broker.
    let start = HOLD_UP + Duration::from_secs(2);
    for region in [0, 2] {
        let counted = tokio::time::timeout(start, counted(region, 1)).await;
        counted.expect("what was there is counted in time");
    }
    for orders in 2..5 {
        write_order(&kafka, 0).await;
        let counted = tokio::time::timeout(HOLD_UP, counted(0, orders)).await;
        counted.expect("a new order is counted in time");
    }
    eventually("it is ready without that region", async || {
        client.get(address, "/ready").await.status == StatusCode::OK
    })
    .await;
    counted(1, 0).await;
    lead(Some(1));
    counted(1, 1).await;
    shutdown.cancel();
    service.await.expect("no panic").expect("stopped");
}

#[tokio::test]
async fn the_clients_that_follow_the_events_are_bounded_and_counted() {
    let stage = Stage::on_mock(|_| {}).await;
    let statistics = stage.address(Instance::Statistics);
    let follow = async || {
        let mut connection = send_raw(statistics, b"GET /api/events HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let status = read_status(&mut connection).await;
        (connection, status)
    };
    let clients_are = async |count: usize| {
        let line = format!("mall_statistics_event_clients {count}\n");
        eventually(&line, async || {
            stage.client.get(statistics, "/metrics").await.text.contains(&line)
        })
        .await;
    };
    let mut clients: Vec<TcpStream> = Vec::new();
    for _ in 0..100 {
        let (connection, status) = follow().await;
        assert_eq!(status, "200");
        clients.push(connection);
    }
    clients_are(100).await;
    assert_eq!(follow().await.1, "503");
    assert_eq!(
        stage.client.get(statistics, "/api/statistics").await.status,
        StatusCode::OK
    );
    clients.pop();
    clients_are(99).await;
    assert_eq!(follow().await.1, "200");
    drop(clients);
    clients_are(0).await;
    stage.close().await;
}

#[tokio::test]
async fn the_figures_are_metrics_by_partition() {
    let stage = Stage::on_mock(|_| {}).await;
    let form = "partition=1&money=81";
    let reply = stage.client.post_form(stage.gateway(), &[], form).await;
    assert_eq!(reply.status, StatusCode::OK);
    stage.settled(1).await;
    let metrics = stage
        .client
        .get(stage.address(Instance::Statistics), "/metrics")
        .await
        .text;
    for line in [
        "# TYPE mall_statistics_orders gauge",
        "mall_statistics_orders{partition=\"0\"} 0",
        "mall_statistics_orders{partition=\"1\"} 1",
        "mall_statistics_order_money{partition=\"1\"} 81",
        "mall_statistics_waiting_orders{partition=\"1\"} 0",
        "mall_statistics_shipments{partition=\"1\",outcome=\"shipped\"} 1",
        "mall_statistics_shipments{partition=\"1\",outcome=\"duplicate\"} 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in {metrics}");
    }
    stage.close().await;
}

#[tokio::test]
async fn who_is_away_is_told_with_a_reason_and_so_is_a_return() {
    let mut stage = Stage::on_mock(|_| {}).await;
    let order_1 = async |stage: &Stage| stage.statistics().await["services"][2].take();
    let ready = order_1(&stage).await;
    assert_eq!(
        (&ready["name"], &ready["ready"], &ready["reason"]),
        (&json!("order-1"), &json!(true), &Value::Null),
        "the first question is answered after a look"
    );
    stage.mall.stop(Instance::Order(partition(1))).await.expect("stopped");
    let begun = Instant::now();
    eventually("order-1 is away", async || order_1(&stage).await["ready"] == false).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let reason = order_1(&stage).await["reason"].take();
    assert!(
        reason.as_str().is_some_and(|reason| reason.contains("refused")),
        "{reason}"
    );
    stage.mall.start(Instance::Order(partition(1))).await.expect("started");
    eventually("order-1 is back", async || order_1(&stage).await["ready"] == true).await;
    let services = stage.statistics().await["services"].take();
    let names: Vec<_> = services
        .as_array()
        .into_iter()
        .flatten()
        .map(|service| &service["name"])
        .collect();
    let expected = "gateway order-0 order-1 order-2 repository-0 repository-1 repository-2 kafka";
    assert_eq!(names, expected.split(' ').collect::<Vec<_>>());
    stage.close().await;
}

#[tokio::test]
async fn the_last_orders_are_told_and_each_can_be_asked_for() {
    let stage = Stage::on_mock(|_| {}).await;
    let id = stage.client.order(stage.gateway(), 1).await.order_id();
    stage.settled(1).await;
    let recent = stage.statistics().await["recent"].take();
    assert_eq!(
        (&recent[0]["order_id"], &recent[0]["outcome"]),
        (&json!(id), &json!("shipped"))
    );
    let statistics = stage.address(Instance::Statistics);
    let journey = stage.client.get(statistics, &format!("/orders/{id}")).await;
    assert_eq!(journey.json()["shipment"]["outcome"], "shipped");
    let nothing = stage.client.get(statistics, "/orders/1").await;
    assert_eq!(
        (nothing.status, nothing.header("content-type")),
        (StatusCode::NOT_FOUND, Some("application/problem+json"))
    );
    assert_eq!(
        stage.client.get(statistics, "/orders/x").await.status,
        StatusCode::BAD_REQUEST
    );
    stage.close().await;
}

#[tokio::test]
async fn a_browser_gets_the_page_and_asks_whether_it_is_still_the_same() {
    let stage = Stage::on_mock(|_| {}).await;
    let get = async |path: &str, header: (&str, &str)| {
        let url = format!("http://{}{path}", stage.address(Instance::Statistics));
        let request = Request::get(url).header(header.0, header.1).body(Full::default());
        stage
            .client
            .try_request(request.expect("a valid request"))
            .await
            .expect("a reply")
    };
    assert!(get("/", ("accept", "*/*")).await.text.starts_with("statistics: "));
    let html = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    assert!(get("/", html).await.text.starts_with("<!doctype html>"));
    for path in ["/", "/dashboard.css", "/dashboard.js", "/icon.svg"] {
        let reply = get(path, html).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}");
        let policy = reply.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'self';"), "{policy}");
        let tag = reply.header("etag").expect("a tag").to_owned();
        if path != "/" {
            assert_eq!(
                get(path, ("if-none-match", &tag)).await.status,
                StatusCode::NOT_MODIFIED
            );
        }
        assert_eq!(get(path, ("if-none-match", "\"another\"")).await.status, StatusCode::OK);
    }
    stage.close().await;
}
