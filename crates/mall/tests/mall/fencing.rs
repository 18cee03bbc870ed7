//! Two repositories with one ordinal: the newer one ships, the older one goes. On a real broker.

use std::time::Duration;

use crate::support::{Child, Load, create_topics, eventually, free_address, order_ids, real_kafka, shipments, skip};

#[tokio::test]
async fn a_repository_that_was_away_and_comes_back_finds_itself_replaced() {
    let Some(kafka) = real_kafka() else {
        return skip("MALL_TEST_KAFKA");
    };
    create_topics(&kafka, 3).await;
    let shipped = async || shipments(&kafka, 1).await.len();
    let (first_address, second_address) = (free_address(), free_address());
    let ordinal = [("MALL_ORDINAL", "1")];

    let mut first = Child::service(&["repository"], &kafka, first_address, &ordinal);
    first.ready(first_address).await;
    let load = Load::start(&kafka, 1, Duration::from_millis(3));
    eventually("the first one ships", async || shipped().await > 50).await;
    first.signal("STOP");

    let second = Child::service(&["repository"], &kafka, second_address, &ordinal);
    second.ready(second_address).await;
    let before = shipped().await;
    eventually("the second one ships", async || shipped().await > before + 50).await;
    first.signal("CONT");
    assert_eq!(first.ended(Duration::from_secs(30)).await.code(), Some(75));
    assert!(
        first.printed().contains("taken over the transactional id"),
        "{}",
        first.printed()
    );

    load.stop().await;
    let orders = order_ids(&kafka, 1).await;
    eventually("every order has an outcome", async || shipped().await >= orders.len()).await;
    let shipments = shipments(&kafka, 1).await;
    let ids: Vec<String> = shipments
        .iter()
        .filter_map(|shipment| shipment.order_id.map(|id| id.to_string()))
        .collect();
    assert_eq!(ids, orders, "each order has one outcome, in the order of the log");
    assert!(
        shipments
            .iter()
            .all(|shipment| shipment.outcome == domain::Outcome::Shipped)
    );
}
