//! Two repositories with one ordinal: the newer one ships, the older one goes. On a real broker.

use std::time::Duration;

use crate::support::{Child, Load, create_topics, eventually, real_kafka, shipments};

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn a_repository_that_was_away_and_comes_back_finds_itself_replaced() {
    let kafka = real_kafka();
    create_topics(&kafka, 3).await;
    let shipped = async || shipments(&kafka, 1).await.len();
    let ordinal = [("MALL_ORDINAL", "1")];

    let mut first = Child::service("repository", &kafka, &ordinal);
    first.ready("repository-1").await;
    let load = Load::to_log(&kafka, 1, Duration::from_millis(3));
    eventually("the first one ships", async || shipped().await > 50).await;
    first.signal("STOP");

    let second = Child::service("repository", &kafka, &ordinal);
    second.ready("repository-1").await;
    let before = shipped().await;
    eventually("the second one ships", async || shipped().await > before + 50).await;
    first.signal("CONT");
    assert_eq!(first.ended(Duration::from_secs(30)).await.code(), Some(75));
    assert!(
        first.printed().contains("taken over the transactional id"),
        "{}",
        first.printed()
    );
    load.stop().await.verify(&kafka).await;
}
