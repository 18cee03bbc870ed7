//! What statistics keeps, and where it goes on after a start.

use domain::{Replicas, Snapshot, Topic};
use mall::embedded::Cluster;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rstest::rstest;

use crate::support::{
    Broker, Counting, create_topics, eventually, order, partition, real_kafka, ship, snapshots, write,
};

/// A broker with the topics of a mall. The mock lives as long as what is returned.
async fn broker(broker: Broker) -> (Option<Cluster>, kafka::Config) {
    match broker {
        Broker::Mock => {
            let cluster = Cluster::start(Replicas::THREE).expect("a broker");
            let kafka = cluster.config();
            (Some(cluster), kafka)
        }
        Broker::Real => {
            let kafka = real_kafka();
            create_topics(&kafka, 3).await;
            (None, kafka)
        }
    }
}

/// Ten orders in each region, half of which are shipped, and a record that is no order.
async fn some_orders(kafka: &kafka::Config) {
    for region in 0..3 {
        order(kafka, region, 1..11).await;
        ship(kafka, region, 0..5).await;
    }
    write(kafka, "order", 1, None, &[b"poison".to_vec()]).await;
}

#[rstest]
#[case::mock(Broker::Mock)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real)]
#[tokio::test]
async fn a_start_reads_only_what_came_after_the_snapshot(#[case] on: Broker) {
    let (_cluster, kafka) = broker(on).await;
    some_orders(&kafka).await;
    let first = Counting::start(&kafka).await;
    first.agrees_with_the_log(&kafka).await;
    assert_eq!(first.read_at_start("order").await, 31);
    first.stop().await;
    assert_eq!(snapshots(&kafka).await.len(), 1, "one is written at a stop");

    order(&kafka, 2, 11..14).await;
    ship(&kafka, 0, 5..10).await;
    let second = Counting::start(&kafka).await;
    second.agrees_with_the_log(&kafka).await;
    assert_eq!(second.read_at_start("order").await, 3);
    assert_eq!(second.read_at_start("shipment").await, 5);
    order(&kafka, 1, 11..12).await;
    second.agrees_with_the_log(&kafka).await;
    second.stop().await;
}

#[tokio::test]
async fn a_snapshot_is_written_while_orders_come_and_not_while_nothing_does() {
    let (_cluster, kafka) = broker(Broker::Mock).await;
    some_orders(&kafka).await;
    let killed = Counting::start(&kafka).await;
    eventually("a snapshot", async || !snapshots(&kafka).await.is_empty()).await;
    killed.agrees_with_the_log(&kafka).await;
    killed.kill().await;
    let before = snapshots(&kafka).await.len();

    let idle = Counting::start(&kafka).await;
    assert_eq!(idle.read_at_start("order").await, 0);
    idle.agrees_with_the_log(&kafka).await;
    idle.stop().await;
    assert_eq!(snapshots(&kafka).await.len(), before, "nothing has changed");
}

#[rstest]
#[case::another_cluster(r#"{"format":2,"cluster":"other","regions":[]}"#, "found one of cluster other")]
#[case::an_older_format(
    r#"{"format":0,"orders":[5,5,5]}"#,
    "expected a snapshot of format 2, found format 0"
)]
#[case::damage(
    r#"{"format":2,"cluster":null,"regions":[{"order":{"orders":"#,
    "the snapshot is damaged"
)]
#[tokio::test]
async fn a_snapshot_that_is_none_of_this_log_is_discarded(#[case] value: &str, #[case] reason: &str) {
    let (_cluster, kafka) = broker(Broker::Mock).await;
    some_orders(&kafka).await;
    write(
        &kafka,
        "statistics",
        0,
        Some(Snapshot::KEY),
        &[value.as_bytes().to_vec()],
    )
    .await;
    let statistics = Counting::start(&kafka).await;
    statistics.agrees_with_the_log(&kafka).await;
    assert_eq!(statistics.read_at_start("order").await, 31);
    let said = statistics.says("the snapshot is discarded").await;
    assert_eq!(said.len(), 1, "{said:?}");
    let found = said[0]["reason"].as_str().expect("text");
    assert!(found.contains(reason), "{found}");
    statistics.stop().await;

    // The next one is valid again.
    let statistics = Counting::start(&kafka).await;
    assert_eq!(statistics.read_at_start("order").await, 0);
    statistics.agrees_with_the_log(&kafka).await;
    statistics.stop().await;
}

#[tokio::test]
async fn a_damaged_snapshot_does_not_hide_the_one_before_it() {
    let (_cluster, kafka) = broker(Broker::Mock).await;
    some_orders(&kafka).await;
    Counting::start(&kafka).await.stop().await;
    write(&kafka, "statistics", 0, Some(Snapshot::KEY), &[b"damaged".to_vec()]).await;
    write(&kafka, "statistics", 0, Some("another key"), &[b"not read".to_vec()]).await;
    let statistics = Counting::start(&kafka).await;
    statistics
        .says("the snapshot is discarded: starting from the one before it")
        .await;
    assert_eq!(statistics.read_at_start("order").await, 0);
    statistics.agrees_with_the_log(&kafka).await;
    statistics.stop().await;
}

#[tokio::test]
async fn a_missing_topic_stops_neither_the_start_nor_the_counting() {
    let mock: MockCluster<'static, DefaultProducerContext> = MockCluster::new(1).expect("a broker");
    for topic in ["order", "shipment"] {
        mock.create_topic(topic, 3, 1).expect("a topic");
    }
    let mut kafka = kafka::Config {
        bootstrap_servers: mock.bootstrap_servers(),
        ..kafka::Config::default()
    };
    kafka.properties.set("fetch.wait.max.ms", "10");
    some_orders(&kafka).await;
    let statistics = Counting::start(&kafka).await;
    statistics.agrees_with_the_log(&kafka).await;
    let said = statistics.says("the snapshot cannot be read").await;
    assert_eq!(said[0]["reason"], "topic statistics does not exist: run mall topics");
    statistics.says("the snapshot was not written").await;
    order(&kafka, 0, 11..12).await;
    statistics.agrees_with_the_log(&kafka).await;
    statistics.stop().await;
}

#[rstest]
#[case::mock(Broker::Mock)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real)]
#[tokio::test]
async fn two_at_the_same_time_never_make_a_total_wrong(#[case] on: Broker) {
    let (_cluster, kafka) = broker(on).await;
    let old = Counting::start(&kafka).await;
    some_orders(&kafka).await;
    old.agrees_with_the_log(&kafka).await;
    // It is held up with something to write, and comes last with it, though the other has counted more.
    old.signal("STOP");
    let new = Counting::start(&kafka).await;
    order(&kafka, 0, 11..21).await;
    new.agrees_with_the_log(&kafka).await;
    new.stop().await;
    let next = |snapshots: Vec<Snapshot>| {
        snapshots
            .last()
            .map(|last| last.position(Topic::Order, partition(0)).next)
    };
    assert_eq!(next(snapshots(&kafka).await), Some(20));
    old.signal("CONT");
    old.stop().await;
    assert!(snapshots(&kafka).await.len() >= 2, "each has written one");

    let both_gone = Counting::start(&kafka).await;
    both_gone.agrees_with_the_log(&kafka).await;
    assert!(both_gone.read_at_start("order").await <= 10);
    both_gone.stop().await;
}

#[tokio::test]
async fn a_region_that_cannot_be_read_yet_stays_in_the_snapshot() {
    let (cluster, kafka) = broker(Broker::Mock).await;
    some_orders(&kafka).await;
    Counting::start(&kafka).await.stop().await;
    let lead = |broker| {
        for topic in ["order", "shipment"] {
            let mock = cluster.as_ref().expect("a mock broker").mock();
            mock.partition_leader(topic, 1, broker).expect("the leader is changed");
        }
    };
    lead(None);
    let without = Counting::start(&kafka).await;
    order(&kafka, 0, 11..12).await;
    eventually("the other regions are counted", async || {
        without.figures().await["regions"][0]["orders"] == 11
    })
    .await;
    without.stop().await;
    lead(Some(1));
    let again = Counting::start(&kafka).await;
    again.agrees_with_the_log(&kafka).await;
    assert_eq!(again.read_at_start("order").await, 0);
    again.stop().await;
}
