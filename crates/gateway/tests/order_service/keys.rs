//! The replies to orders with an `Idempotency-Key`.

use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{Gateway, OrderService, Reply, SOON, Step, partition, receipt, response};

const KEY: &str = "idempotency-key: k\r\n";

/// Orders once for partition 1, of an order service that does this with its connections. Returns how many requests it got
/// beside the reply.
async fn order(headers: &str, connections: impl IntoIterator<Item = Vec<Step>>) -> (Reply, usize) {
    let mut tasks = JoinSet::new();
    let mut order_1 = OrderService::start(partition(1), connections, &mut tasks).await;
    let gateway = Gateway::start(&[(partition(1), order_1.address)], 8, &mut tasks).await;
    let reply = gateway.order_with(1, headers).await;
    let requests = std::iter::from_fn(|| order_1.received.try_recv().ok()).count();
    (reply, requests)
}

fn reply_to_one(reply: serde_json::Value) -> Step {
    Step::Answer(response(200, &json!([reply]).to_string()))
}

fn replayed() -> Step {
    let order = json!({"submission": {"money": 1, "time": 1, "user_id": "7"}});
    reply_to_one(json!({"replayed": receipt(&order, partition(1))["receipt"]}))
}

#[tokio::test]
async fn an_order_of_unknown_outcome_is_not_sent_again_by_the_gateway() {
    let (reply, requests) = order(KEY, [vec![Step::CloseAfterRequest], vec![Step::Receipts]]).await;
    assert_eq!((reply.status, requests), (504, 1), "{}", reply.text);
}

#[tokio::test]
async fn a_second_key_is_400() {
    let (reply, requests) = order(&KEY.repeat(2), [vec![Step::Receipts]]).await;
    assert_eq!((reply.status, requests), (400, 0), "{}", reply.text);
    assert!(reply.contains("expected one Idempotency-Key"), "{}", reply.text);
}

#[tokio::test]
async fn a_reply_that_comes_again_says_so() {
    let (reply, _) = order(KEY, [vec![replayed()]]).await;
    assert!(
        reply.status == 200 && reply.contains("idempotency-replayed: true") && reply.took < SOON,
        "{}",
        reply.text
    );
}

#[tokio::test]
async fn a_key_of_another_request_is_409() {
    let reused = json!({"error": {"status": 409, "detail": "another request: nothing was written"}});
    let (reply, requests) = order(KEY, [vec![reply_to_one(reused)]]).await;
    assert_eq!((reply.status, requests), (409, 1), "{}", reply.text);
    assert!(reply.contains("application/problem+json"), "{}", reply.text);
}
