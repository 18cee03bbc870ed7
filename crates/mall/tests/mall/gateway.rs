//! The hop from the gateway to order-N: each order service writes what is its own, and says so of what is not.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use domain::{Partition, Replicas};
use http_body_util::Full;
use hyper::http::uri::Authority;
use hyper::{Request, StatusCode};
use mall::Instance;
use serde_json::{Value, json};
use service::{Context, http};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::{Reply, Stage, partition, read};

/// A gateway of our own, which finds order-N where it is told.
async fn gateway(orders: BTreeMap<Partition, Authority>, tasks: &mut JoinSet<anyhow::Result<()>>) -> SocketAddr {
    let listener = http::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), "")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let config = gateway::Config {
        repositories: orders.clone(), // not asked here
        orders,
        replicas: Replicas::THREE,
        settings: gateway::Settings::default(),
    };
    tasks.spawn(gateway::run(
        config,
        Context::new("gateway", listener, CancellationToken::new()),
    ));
    address
}

async fn post(stage: &Stage, number: u16, path: &str, body: &Value) -> Reply {
    let address = stage.address(Instance::Order(partition(number)));
    let request = Request::post(format!("http://{address}{path}")).body(Full::from(body.to_string()));
    let request = request.expect("a valid request");
    stage.client.try_request(request).await.expect("a reply")
}

fn submission(partition: u16) -> Value {
    json!({"money": 81, "partition": partition, "time": 1, "user_id": "7"})
}

async fn written(stage: &Stage) -> [usize; 3] {
    let mut written = [0; 3];
    for (partition, written) in (0..).zip(&mut written) {
        *written = read(&stage.kafka, "order", partition).await.len();
    }
    written
}

#[tokio::test]
async fn an_order_that_reaches_another_region_is_503_that_names_both_and_nothing_is_written() {
    let stage = Stage::on_mock(|_| {}).await;
    let order_url = |number, at| {
        let address = stage.address(Instance::Order(partition(at)));
        (partition(number), address.to_string().parse().expect("a host"))
    };
    let mut tasks = JoinSet::new();
    let swapped = gateway(
        BTreeMap::from([order_url(0, 0), order_url(1, 2), order_url(2, 1)]),
        &mut tasks,
    )
    .await;
    let reply = stage.client.order(swapped, 1).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{}", reply.text);
    assert_eq!(reply.header("retry-after"), Some("1"));
    for expected in [
        "order-1 answered 421",
        "this is order-2",
        "for partition 1: nothing was written",
    ] {
        assert!(reply.text.contains(expected), "{expected} is not in {}", reply.text);
    }
    assert_eq!(stage.client.order(swapped, 0).await.status, StatusCode::OK);
    assert_eq!(written(&stage).await, [1, 0, 0]);
    stage.close().await;
}

#[tokio::test]
async fn order_n_answers_421_to_the_order_of_another_and_400_to_one_without_a_partition() {
    let stage = Stage::on_mock(|_| {}).await;
    let reply = post(&stage, 1, "/submit-order", &submission(2)).await;
    assert_eq!(reply.status, StatusCode::MISDIRECTED_REQUEST, "{}", reply.text);
    assert_eq!(
        reply.json()["detail"],
        "this is order-1, the order is for partition 2: nothing was written"
    );
    assert_eq!(written(&stage).await, [0, 0, 0]);
    let mut other = submission(1);
    other.as_object_mut().expect("an object").remove("partition");
    let reply = post(&stage, 1, "/submit-order", &other).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{}", reply.text);
    assert!(reply.text.contains("missing field `partition`"), "{}", reply.text);
    stage.close().await;
}

#[tokio::test]
async fn an_order_of_a_batch_that_is_refused_refuses_no_other() {
    let stage = Stage::on_mock(|_| {}).await;
    let batch: Vec<Value> = [1, 2, 1].map(|number| json!({"submission": submission(number)})).into();
    let reply = post(&stage, 1, "/submit-orders", &json!(batch)).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    let replies = reply.json();
    let replies = replies.as_array().expect("an array");
    assert_eq!(replies.len(), 3);
    assert_eq!(
        (&replies[0]["receipt"]["offset"], &replies[2]["receipt"]["offset"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(replies[1]["error"]["status"], 421);
    assert_eq!(written(&stage).await, [0, 2, 0]);
    stage.close().await;
}

#[tokio::test]
async fn a_batch_that_is_too_long_or_malformed_is_400_and_nothing_is_written() {
    let stage = Stage::on_mock(|_| {}).await;
    let order =
        |number: usize| json!({"headers": {"idempotency-key": format!("{number:064}")}, "submission": submission(1)});
    let one = order(0);
    let post = async |batch: Value| post(&stage, 1, "/submit-orders", &batch).await;
    let largest = json!((0..256).map(order).collect::<Vec<_>>());
    assert!(
        largest.to_string().len() > 16 * 1024,
        "its limit is not that of one order"
    );
    for malformed in [
        json!(vec![one.clone(); 257]),
        json!({}),
        json!([one, 1]),
        json!([{"submission": submission(1), "headers": {"idempotency-key": "a b"}}]),
        json!([{"submission": submission(1), "more": 1}]),
    ] {
        let reply = post(malformed).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{}", reply.text);
        assert!(reply.text.contains("nothing was written"), "{}", reply.text);
    }
    assert_eq!(written(&stage).await, [0, 0, 0]);
    assert_eq!(post(largest).await.json().as_array().map(Vec::len), Some(256));
    assert_eq!(written(&stage).await, [0, 256, 0]);
    stage.close().await;
}
