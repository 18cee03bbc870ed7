//! Many orders: what goes out together, and what one region costs the others.

use std::time::Duration;

use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::support::{ANSWER, Gateway, OrderService, SOON, Step, partition, receipt, response};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Waits until this many orders of a region are in flight.
async fn in_flight(gateway: &Gateway, partition: u16, orders: u32) {
    let expected = format!("mall_gateway_orders_in_flight{{partition=\"{partition}\"}} {orders}\n");
    while !gateway.metrics().await.contains(&expected) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn one_request_is_under_way_and_what_comes_meanwhile_is_the_next() {
    let mut tasks = JoinSet::new();
    let (go_on, told) = oneshot::channel();
    let steps = vec![Step::Wait(told), Step::Receipts];
    let mut order_1 = OrderService::start(partition(1), [steps], &mut tasks).await;
    let gateway = Gateway::start(&[(partition(1), order_1.address)], 8, &mut tasks).await;
    let order = || gateway.order(1);
    let script = async {
        assert_eq!(order_1.batch().await.len(), 1, "a lone order waits for nothing");
        let meanwhile = async {
            in_flight(&gateway, 1, 6).await;
            assert!(
                order_1.received.try_recv().is_err(),
                "a second request while one is under way"
            );
            go_on.send(()).expect("a service that waits");
        };
        let (replies, ()) = tokio::join!(
            async { tokio::join!(order(), order(), order(), order(), order()) },
            meanwhile
        );
        assert_eq!(order_1.batch().await.len(), 5);
        <[_; 5]>::from(replies).map(|reply| reply.status)
    };
    let (first, others) = tokio::join!(order(), script);
    assert_eq!((first.status, others), (200, [200; 5]));
    let metrics = gateway.metrics().await;
    for expected in [
        "mall_gateway_orders_in_flight{partition=\"1\"} 0",
        "mall_gateway_requests_total{partition=\"1\",status=\"200\"} 6",
        "mall_gateway_request_duration_seconds_count{status=\"200\"} 6",
        "mall_gateway_batch_orders_sum 6.0",
        "mall_gateway_batch_orders_count 2",
    ] {
        assert!(metrics.contains(expected), "{expected} is not in {metrics}");
    }
}

#[tokio::test]
async fn a_region_that_hangs_takes_nothing_from_the_others_and_comes_back() {
    let mut tasks = JoinSet::new();
    let order_0 = OrderService::start(partition(0), [vec![Step::Receipts, Step::Receipts]], &mut tasks).await;
    let hangs = [vec![Step::Hang], vec![Step::Receipts]];
    let mut order_1 = OrderService::start(partition(1), hangs, &mut tasks).await;
    let services = [(partition(0), order_0.address), (partition(1), order_1.address)];
    let gateway = Gateway::start(&services, 3, &mut tasks).await;
    let script = async {
        assert_eq!(order_1.batch().await.len(), 1);
        let beyond_the_bound = async {
            in_flight(&gateway, 1, 3).await;
            let refused = gateway.order(1).await;
            assert!(
                refused.status == 503 && refused.contains("too many orders are in flight"),
                "{}",
                refused.text
            );
            assert!(refused.took < SOON, "{:?}", refused.took);
            gateway.order(0).await
        };
        let (second, third, other) = tokio::join!(gateway.order(1), gateway.order(1), beyond_the_bound);
        for unsent in [second, third] {
            assert_eq!(unsent.status, 503, "{}", unsent.text);
            assert!(
                unsent.contains("order-1: not reached within 500 ms: nothing was written"),
                "{}",
                unsent.text
            );
            let waited = Duration::from_millis(500);
            assert!((waited..waited * 2).contains(&unsent.took), "{:?}", unsent.took);
        }
        for reply in [other, gateway.order(0).await] {
            assert_eq!(reply.status, 200, "{}", reply.text);
            assert!(reply.took < SOON, "{:?}", reply.took);
        }
    };
    let (first, ()) = tokio::join!(gateway.order(1), script);
    assert!(
        first.status == 504 && first.took < ANSWER,
        "{:?}: {}",
        first.took,
        first.text
    );
    assert_eq!(gateway.order(1).await.status, 200);
}

#[tokio::test]
async fn each_order_of_a_batch_gets_what_became_of_it() {
    let mut tasks = JoinSet::new();
    let (go_on, told) = oneshot::channel();
    let order = json!({"submission": {"money": 1, "time": 1, "user_id": "7"}});
    let replies = json!([
        receipt(&order, partition(1)),
        {"error": {"status": 503, "detail": "full: nothing was written"}},
        {"error": {"status": 504, "detail": "unknown", "order_id": "9"}},
    ]);
    let steps = vec![Step::Wait(told), Step::Answer(response(200, &replies.to_string()))];
    let mut order_1 = OrderService::start(partition(1), [steps], &mut tasks).await;
    let gateway = Gateway::start(&[(partition(1), order_1.address)], 8, &mut tasks).await;
    let script = async {
        order_1.batch().await;
        let meanwhile = async {
            in_flight(&gateway, 1, 4).await;
            go_on.send(()).expect("a service that waits");
        };
        let order = || gateway.order(1);
        let (replies, ()) = tokio::join!(async { tokio::join!(order(), order(), order()) }, meanwhile);
        let mut statuses = <[_; 3]>::from(replies).map(|reply| reply.status);
        // They came in any order.
        statuses.sort_unstable();
        statuses
    };
    let (_, statuses) = tokio::join!(gateway.order(1), script);
    assert_eq!(statuses, [200, 503, 504]);
}

#[tokio::test]
async fn headers_that_belong_to_an_order_go_with_it_and_what_is_no_trace_is_dropped() {
    let mut tasks = JoinSet::new();
    let steps = (0..3).map(|_| Step::Receipts).collect();
    let mut order_1 = OrderService::start(partition(1), [steps], &mut tasks).await;
    let gateway = Gateway::start(&[(partition(1), order_1.address)], 8, &mut tasks).await;
    let traceparent = format!("traceparent: {TRACE}\r\n");
    for (headers, expected) in [
        (traceparent.as_str(), json!({ "traceparent": TRACE })),
        (
            "idempotency-key: k\r\ntraceparent: 00-1-2-3\r\n",
            json!({"idempotency-key": "k", "idempotency-request": ""}),
        ),
        ("", json!({})),
    ] {
        assert_eq!(gateway.order_with(1, headers).await.status, 200);
        let sent = order_1.batch().await.remove(0);
        assert_eq!(sent["headers"], expected);
        assert_eq!(sent["submission"]["partition"], 1);
    }
    assert_eq!(gateway.order_with(1, "idempotency-key: a b\r\n").await.status, 400);
    assert!(
        order_1.received.try_recv().is_err(),
        "an order that was refused was sent"
    );
}
