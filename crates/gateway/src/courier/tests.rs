//! When an order is answered, to the millisecond: with paused time, and an order service at the other end of a pipe.

use std::time::Duration;

use domain::{BatchedSubmission, Replicas, UserId};
use poem::http::uri::Authority;
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::DuplexStream;
use tokio::time::{Instant, sleep};

use super::*;
use crate::answer::Accepted;
use crate::inbox::OrderSender;
use crate::waiting::MAX_WAIT;

/// A courier that has a connection already; a new one is not to be had, because the resolver hangs. The other end of
/// the connection, which nobody reads, is open until it is dropped.
async fn courier(max_in_flight: u32) -> (OrderSender, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let partition = Replicas::THREE.parse_partition("1").expect("one of three");
    let (sender, inbox) = Inbox::new("gateway", partition, Gauge::default(), max_in_flight);
    let address = Address::of_hanging_resolver(Authority::from_static("order-1.order"));
    let mut courier = Courier::new(inbox, address, Histogram::new([]));
    let mut connection = Connection::new(ours).await.expect("a connection");
    assert!(connection.is_usable().await);
    courier.idle = Some(connection);
    // It ends when the sender is dropped.
    tokio::spawn(courier.run());
    (sender, theirs)
}

fn submission() -> BatchedSubmission {
    BatchedSubmission {
        headers: domain::RecordHeaders::default(),
        submission: domain::Submission {
            money: "1".parse().expect("an amount"),
            partition: Replicas::THREE.parse_partition("1").expect("one of three"),
            time: 1,
            user_id: UserId::from_number(7),
        },
    }
}

/// Hands in an order after a while; what became of it, and how long that took.
async fn submit_after(delay: u64, sender: &OrderSender) -> (Result<Accepted, Failure>, Duration) {
    sleep(Duration::from_millis(delay)).await;
    let begun = Instant::now();
    let outcome = sender.submit(submission()).await;
    (outcome, begun.elapsed())
}

fn is_unknown(outcome: &Result<Accepted, Failure>) -> bool {
    matches!(outcome, Err(Failure::Unknown { .. }))
}

fn is_not_written(outcome: &Result<Accepted, Failure>, why: &str) -> bool {
    matches!(outcome, Err(Failure::NotWritten(reason)) if reason.contains(why))
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_is_unknown_after_5_8_s_and_what_was_not_is_refused_after_half_a_second() {
    let (sender, _theirs) = courier(8).await;
    let (sent, early, late) = tokio::join!(
        submit_after(0, &sender),
        submit_after(100, &sender),
        submit_after(5700, &sender)
    );
    assert!(is_unknown(&sent.0), "{sent:?}");
    assert_eq!(sent.1, MAX_ANSWER);
    for (outcome, took) in [early, late] {
        assert!(is_not_written(&outcome, "not reached within 500 ms"), "{outcome:?}");
        assert_eq!(took, MAX_WAIT);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_connection_an_order_is_refused_after_half_a_second() {
    let (sender, theirs) = courier(8).await;
    drop(theirs);
    let (first, second) = tokio::join!(submit_after(0, &sender), submit_after(300, &sender));
    assert!(is_not_written(&first.0, "order-1: "), "{first:?}");
    assert!(is_not_written(&second.0, "order-1: "), "{second:?}");
    assert!(
        first.1 == MAX_WAIT && second.1 <= MAX_WAIT,
        "{:?}, {:?}",
        first.1,
        second.1
    );
}

#[tokio::test(start_paused = true)]
async fn an_order_beyond_the_bound_is_refused_at_once_and_one_that_is_answered_makes_room() {
    let (sender, _theirs) = courier(2).await;
    let orders = async { tokio::join!(submit_after(0, &sender), submit_after(0, &sender)) };
    let beyond = async {
        let (outcome, took) = submit_after(1, &sender).await;
        assert!(
            is_not_written(&outcome, "too many orders are in flight for 关中"),
            "{outcome:?}"
        );
        assert_eq!(took, Duration::ZERO);
    };
    let (orders, ()) = tokio::join!(orders, beyond);
    assert!(
        is_unknown(&orders.0.0) && is_unknown(&orders.1.0),
        "they went out together: {orders:?}"
    );
    let (outcome, _) = submit_after(0, &sender).await;
    assert!(is_not_written(&outcome, "order-1: "), "{outcome:?}");
}
