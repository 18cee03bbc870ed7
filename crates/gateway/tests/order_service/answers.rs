//! One order, and an order service that fails: 503 when nothing was written for certain, 504 otherwise, in time.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{ANSWER, Gateway, OrderService, Reply, SOON, Step, partition, receipt, response};

/// Orders once, for partition 1, of an order service that does this with its first connection.
async fn order(steps: Vec<Step>) -> (Reply, OrderService, JoinSet<()>) {
    let mut tasks = JoinSet::new();
    let order_1 = OrderService::start(partition(1), [steps], &mut tasks).await;
    let gateway = Gateway::start(&[(partition(1), order_1.address)], 8, &mut tasks).await;
    let reply = gateway.order(1).await;
    (reply, order_1, tasks)
}

/// The same with one answer.
async fn order_answered(answer: String) -> Reply {
    let (reply, ..) = order(vec![Step::Answer(answer)]).await;
    assert!(reply.took < SOON, "{:?}", reply.took);
    reply
}

fn assert_not_written(reply: &Reply) {
    assert_eq!(reply.status, 503, "{}", reply.text);
    assert!(
        reply.contains("retry-after: 1") && reply.contains("nothing was written"),
        "{}",
        reply.text
    );
}

fn assert_unknown(reply: &Reply) {
    assert_eq!(reply.status, 504, "{}", reply.text);
    assert!(reply.contains("it is unknown wh"), "{}", reply.text);
}

/// A receipt as an order service would make it, whatever was ordered.
fn some_receipt(number: u16) -> Value {
    let submission = json!({"money": 1, "time": 1, "user_id": "7"});
    receipt(&json!({ "submission": submission }), partition(number))
}

fn refusal(status: u16) -> Value {
    json!({"error": {"status": status, "detail": "this is order-2: nothing was written"}})
}

#[tokio::test]
async fn a_service_that_refuses_connections_is_503_at_once() {
    let mut tasks = JoinSet::new();
    let gateway = Gateway::start(&[], 8, &mut tasks).await;
    let reply = gateway.order(1).await;
    assert_not_written(&reply);
    assert!(
        reply.contains("order-1: out of reach") && reply.contains("refused"),
        "{}",
        reply.text
    );
    assert!(reply.took < SOON, "{:?}", reply.took);
}

#[tokio::test]
async fn a_service_that_closes_at_once_is_503_when_it_got_nothing_and_504_when_it_got_something() {
    let (reply, mut order_1, _tasks) = order(vec![Step::CloseAtOnce]).await;
    assert!(reply.took < SOON, "{:?}", reply.took);
    match order_1.received.recv().await.expect("a connection").as_u64() {
        Some(0) => assert_not_written(&reply),
        _ => assert_unknown(&reply),
    }
}

#[tokio::test]
async fn a_service_that_closes_after_it_got_the_order_is_504() {
    let (reply, ..) = order(vec![Step::CloseAfterRequest]).await;
    assert_unknown(&reply);
    assert!(reply.took < SOON, "{:?}", reply.took);
}

#[tokio::test]
async fn a_service_that_hangs_is_504_within_6_s() {
    let (reply, ..) = order(vec![Step::Hang]).await;
    assert_unknown(&reply);
    assert!(reply.took < ANSWER && reply.took > ANSWER / 2, "{:?}", reply.took);
}

#[tokio::test]
async fn an_answer_that_is_no_http_or_no_json_or_only_half_of_one_is_504() {
    let whole = response(200, &json!([some_receipt(1)]).to_string());
    assert_eq!(order_answered(whole.clone()).await.status, 200);
    for rubbish in [
        "rubbish\r\n\r\n",
        &response(200, "rubbish"),
        &whole[..whole.len() - 1],
        &whole[..20],
    ] {
        assert_unknown(&order_answered(rubbish.to_owned()).await);
    }
}

#[tokio::test]
async fn another_number_of_replies_than_orders_is_504() {
    for replies in [json!([]), json!([some_receipt(1), some_receipt(1)])] {
        assert_unknown(&order_answered(response(200, &replies.to_string())).await);
    }
}

#[tokio::test]
async fn the_receipt_of_another_region_is_504_with_the_order_id() {
    let reply = order_answered(response(200, &json!([some_receipt(2)]).to_string())).await;
    assert_unknown(&reply);
    assert!(
        reply.contains("for partition 2 (陕南) instead of 1 (关中)"),
        "{}",
        reply.text
    );
    assert!(reply.contains(r#""order_id":"1468136426238382080""#), "{}", reply.text);
}

#[tokio::test]
async fn every_4xx_is_503_also_that_of_an_older_order_service_without_batches() {
    for status in [400, 404, 405, 413, 415, 421, 422, 431] {
        let reply = order_answered(response(status, "")).await;
        assert_not_written(&reply);
        assert!(reply.contains(&format!("order-1 answered {status}")), "{}", reply.text);
    }
    let reply = order_answered(response(200, &json!([refusal(421)]).to_string())).await;
    assert_not_written(&reply);
    assert!(
        reply.contains("order-1 answered 421") && reply.contains("this is order-2"),
        "{}",
        reply.text
    );
}

#[tokio::test]
async fn another_service_at_the_address_gets_one_order_and_the_next_goes_over_a_new_connection() {
    for answer in [response(404, ""), response(200, &json!([refusal(421)]).to_string())] {
        let mut tasks = JoinSet::new();
        // It would take more orders.
        let stranger = vec![Step::Answer(answer.clone()), Step::Answer(answer)];
        let order_1 = OrderService::start(partition(1), [stranger, vec![Step::Receipts]], &mut tasks).await;
        let gateway = Gateway::start(&[(partition(1), order_1.address)], 8, &mut tasks).await;
        assert_not_written(&gateway.order(1).await);
        assert_eq!(gateway.order(1).await.status, 200);
    }
}

#[tokio::test]
async fn a_503_of_the_service_is_503_and_that_of_something_between_is_504() {
    let problem = json!({"type": "about:blank", "title": "T", "status": 503, "detail": "why: nothing was written"});
    assert_not_written(&order_answered(response(503, &problem.to_string())).await);
    assert_not_written(&order_answered(response(200, &json!([refusal(503)]).to_string())).await);
    assert_unknown(
        &order_answered(response(
            503,
            "upstream connect error or disconnect/reset before headers",
        ))
        .await,
    );
}

#[tokio::test]
async fn a_500_is_504_and_so_is_every_other_answer() {
    for status in [201, 301, 500, 502, 504] {
        assert_unknown(&order_answered(response(status, "")).await);
    }
}

#[tokio::test]
async fn a_connection_that_died_while_idle_costs_nobody_anything() {
    let mut tasks = JoinSet::new();
    // A connection is closed after its last step.
    let connections = [vec![Step::Receipts, Step::Receipts], vec![Step::Receipts]];
    let mut order_1 = OrderService::start(partition(1), connections, &mut tasks).await;
    let gateway = Gateway::start(&[(partition(1), order_1.address)], 8, &mut tasks).await;
    for _ in 0..2 {
        assert_eq!(gateway.order(1).await.status, 200);
    }
    order_1.closed.recv().await.expect("a connection that was closed");
    let reply = gateway.order(1).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
}
