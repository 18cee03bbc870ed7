//! Orders with an `Idempotency-Key`: what is sent once more, and what a client is told.

use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{ANSWER, Gateway, OrderService, Reply, SOON, Step, partition, receipt, response};

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
async fn an_order_with_a_key_and_an_unknown_outcome_is_sent_once_more() {
    let (reply, requests) = order(KEY, [vec![Step::CloseAfterRequest], vec![replayed()]]).await;
    assert_eq!((reply.status, requests), (200, 2), "{}", reply.text);
    assert!(!reply.contains("idempotency-replayed"), "{}", reply.text);
}

#[tokio::test]
async fn an_order_without_a_key_is_never_sent_twice() {
    let (reply, requests) = order("", [vec![Step::CloseAfterRequest], vec![Step::Receipts]]).await;
    assert_eq!((reply.status, requests), (504, 1), "{}", reply.text);
}

#[tokio::test]
async fn what_becomes_of_the_repetition_does_not_make_an_unknown_outcome_certain() {
    let refused = json!({"error": {"status": 503, "detail": "full: nothing was written"}});
    let (reply, requests) = order(KEY, [vec![Step::CloseAfterRequest], vec![reply_to_one(refused)]]).await;
    assert_eq!((reply.status, requests), (504, 2), "{}", reply.text);
    // Nobody takes the second attempt.
    let (reply, requests) = order(KEY, [vec![Step::CloseAfterRequest]]).await;
    assert_eq!((reply.status, requests), (504, 1), "{}", reply.text);
}

#[tokio::test]
async fn an_order_service_that_hangs_leaves_no_time_for_a_repetition() {
    let (reply, requests) = order(KEY, [vec![Step::Hang], vec![Step::Receipts]]).await;
    assert_eq!((reply.status, requests), (504, 1), "{}", reply.text);
    assert!(reply.took < ANSWER, "{:?}", reply.took);
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
