//! Records that are no orders, and orders that come twice.

use std::time::Duration;

use domain::Outcome;
use hyper::StatusCode;
use rstest::rstest;

use crate::support::{
    Attempt, Broker, NewRecord, Stage, append, append_attempts, outcomes, read, settled_shipments, shipments,
};

#[rstest]
#[case::mock(Broker::Mock)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real)]
#[tokio::test]
async fn what_is_not_an_order_is_rejected_and_the_partition_goes_on(#[case] broker: Broker) {
    let stage = Stage::open(broker).await;
    let valid = r#"{"money":1,"order_id":"1468136426238382080","time":1638865975,"user_id":"1"}"#;
    let huge = vec![b'['; 200_000];
    let array = br#"[1,"1468136426238382080",1638865975,"1"]"#;
    let poison: [&[u8]; 6] = [b"", array, b"{\"money\":", b"\xff\xfe", b"{\"money\":-1}", &huge];
    let mut records = poison.map(|value| NewRecord { key: None, value }).to_vec();
    records.push(NewRecord {
        key: Some("1468136426238382080"),
        value: valid.as_bytes(),
    });
    append(&stage.kafka, 1, &records).await;
    let reply = stage.client.order(stage.gateway(), 1).await;
    assert_eq!(reply.status, StatusCode::OK);

    let shipments = settled_shipments(&stage.kafka, 1).await;
    assert_eq!(shipments.len(), 8);
    for (offset, shipment) in (0..).zip(&shipments) {
        assert_eq!(shipment.order_offset, offset);
        let expected = if offset < 6 {
            Outcome::Rejected
        } else {
            Outcome::Shipped
        };
        assert_eq!(
            (shipment.outcome, shipment.detail.is_some()),
            (expected, offset < 6),
            "{shipment:?}"
        );
    }
    assert_eq!(shipments[7].order_id.map(|id| id.to_string()), Some(reply.order_id()));
    let statistics = stage.settled(2).await;
    assert_eq!(
        (&statistics["total"]["rejected"], &statistics["total"]["waiting"]),
        (&6.into(), &0.into())
    );
    stage.close().await;
}

#[rstest]
#[case::mock(Broker::Mock)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real)]
#[tokio::test]
async fn an_order_that_comes_twice_is_shipped_once(#[case] broker: Broker) {
    let stage = Stage::open(broker).await;
    let order_id = stage.client.order(stage.gateway(), 2).await.order_id();
    let value = read(&stage.kafka, "order", 2).await.remove(0).value;
    let again = NewRecord {
        key: Some(&order_id),
        value: &value,
    };
    append(&stage.kafka, 2, &[again]).await;
    stage.client.order(stage.gateway(), 2).await;
    append(&stage.kafka, 2, &[again]).await;

    let statistics = stage.settled(4).await;
    let outcomes = outcomes(&shipments(&stage.kafka, 2).await);
    assert_eq!(
        outcomes,
        [
            Outcome::Shipped,
            Outcome::Duplicate,
            Outcome::Shipped,
            Outcome::Duplicate
        ]
    );
    assert_eq!(
        (&statistics["total"]["shipped"], &statistics["total"]["duplicates"]),
        (&2.into(), &2.into())
    );
    stage.close().await;
}

#[rstest]
#[case::mock(Broker::Mock)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real)]
#[tokio::test]
async fn two_orders_with_one_id_are_both_shipped(#[case] broker: Broker) {
    let stage = Stage::open(broker).await;
    let id = Attempt::id_of(1, Duration::ZERO);
    let attempt = |money| Attempt {
        id,
        money,
        idempotency: None,
    };
    append_attempts(&stage.kafka, 1, &[attempt(1), attempt(2), attempt(1)]).await;
    stage.settled(3).await;
    let outcomes = outcomes(&shipments(&stage.kafka, 1).await);
    assert_eq!(outcomes, [Outcome::Shipped, Outcome::Shipped, Outcome::Duplicate]);
    stage.close().await;
}

#[rstest]
#[case::mock(Broker::Mock)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real)]
#[tokio::test]
async fn an_outcome_is_never_stamped_with_a_time_in_the_future(#[case] broker: Broker) {
    let stage = Stage::open(broker).await;
    let an_hour_ahead = Attempt {
        id: Attempt::id_of(1, Duration::ZERO) + (3_600_000 << 22),
        money: 1,
        idempotency: None,
    };
    append_attempts(&stage.kafka, 1, &[an_hour_ahead]).await;
    stage.client.order(stage.gateway(), 1).await;
    stage.settled(2).await;
    let now = domain::Timestamp::now().unix_millis().cast_signed();
    for outcome in read(&stage.kafka, "shipment", 1).await {
        assert!(outcome.timestamp <= Some(now), "{outcome:?}");
    }
    let reply = stage
        .client
        .get(stage.gateway(), &format!("/orders/{}", an_hour_ahead.id))
        .await;
    assert!(reply.text.contains("\"outcome\":\"shipped\""), "{}", reply.text);
    stage.close().await;
}
