//! What statistics shows of a region that it cannot count, while the others go on.

use domain::Replicas;
use mall::embedded::Cluster;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Counting, create_topics, eventually, order, real_kafka, recreate};

/// Appends one record whose checksum is wrong. The mock broker takes it; no producer would send it.
async fn append_damaged(kafka: &kafka::Config, topic: &str, partition: i32) {
    let mut batch = Vec::new();
    batch.extend((-1_i32).to_be_bytes()); // the epoch of the leader
    batch.push(2); // the version of the format
    batch.extend(0xbad_u32.to_be_bytes()); // the checksum
    batch.extend([0; 2 + 4 + 8 + 8]); // attributes, the last offset, two times
    batch.extend([0xff; 8 + 2 + 4]); // no producer
    batch.extend(1_i32.to_be_bytes()); // the number of records
    batch.extend([20, 0, 0, 0, 1, 8, b'l', b'o', b's', b't', 0]); // a record
    let length = i32::try_from(batch.len()).expect("a short batch");
    let batch = [&0_i64.to_be_bytes()[..], &length.to_be_bytes(), &batch].concat();

    let mut request = Vec::new();
    request.extend([0, 0, 0, 7, 0, 0, 0, 1, 0, 0]); // Produce, version 7, number 1, of a client without a name
    request.extend([0xff, 0xff, 0xff, 0xff, 0, 0, 0x10, 0]); // no transaction, acknowledged by all, within 4 s
    request.extend(1_i32.to_be_bytes());
    request.extend(i16::try_from(topic.len()).expect("a short name").to_be_bytes());
    request.extend(topic.as_bytes());
    request.extend(1_i32.to_be_bytes());
    request.extend(partition.to_be_bytes());
    request.extend(i32::try_from(batch.len()).expect("a short batch").to_be_bytes());
    request.extend(batch);
    let length = i32::try_from(request.len()).expect("a short request");
    let mut connection = TcpStream::connect(&kafka.bootstrap_servers).await.expect("a broker");
    let request = [&length.to_be_bytes()[..], &request].concat();
    connection.write_all(&request).await.expect("sent");
    let length = connection.read_u32().await.expect("an answer");
    let mut answer = vec![0; usize::try_from(length).expect("a length")];
    connection.read_exact(&mut answer).await.expect("an answer");
}

async fn region(statistics: &Counting, number: usize) -> Value {
    statistics.figures().await["regions"][number].take()
}

async fn orders_are(statistics: &Counting, number: usize, orders: u64) {
    eventually(&format!("{orders} orders of region {number} are counted"), async || {
        region(statistics, number).await["orders"] == orders
    })
    .await;
}

async fn has_problem(statistics: &Counting, number: usize, problem: &str) {
    eventually(&format!("region {number} says {problem}"), async || {
        region(statistics, number).await["problem"]
            .as_str()
            .is_some_and(|found| found.contains(problem))
    })
    .await;
}

#[tokio::test]
async fn a_region_with_damaged_records_says_so_and_the_others_go_on() {
    let cluster = Cluster::start(Replicas::THREE).expect("a broker");
    let kafka = cluster.config();
    for region in 0..3 {
        order(&kafka, region, 1..3).await;
    }
    append_damaged(&kafka, "order", 1).await;
    order(&kafka, 1, 4..5).await;
    let statistics = Counting::start(&kafka).await;
    has_problem(&statistics, 1, "are damaged").await;
    for number in [0, 2] {
        order(&kafka, u16::try_from(number).expect("a region"), 4..5).await;
        orders_are(&statistics, number, 3).await;
        assert_eq!(region(&statistics, number).await["problem"], Value::Null);
    }
    let damaged = region(&statistics, 1).await;
    assert_eq!(damaged["orders"], 2, "none is counted beyond the damage: {damaged}");
    let said = statistics.says("the figures of this region may be incomplete").await;
    assert_eq!(said.len(), 1, "it is tried again, and said once: {said:?}");
    statistics.stop().await;
}

#[tokio::test]
async fn a_client_to_which_no_records_come_although_there_are_some_is_replaced() {
    let cluster = Cluster::start(Replicas::THREE).expect("a broker");
    let kafka = cluster.config();
    order(&kafka, 1, 1..6).await;
    // The leader sends the client to a follower that does not exist: there is neither a record nor an error.
    let read_from = |broker| {
        let followed = cluster.mock().partition_follower("order", 1, broker);
        followed.expect("the follower is changed");
    };
    read_from(9);
    let statistics = Counting::start(&kafka).await;
    let replaced = statistics.says("the client is replaced").await;
    assert_eq!(replaced[0]["partition"], 1, "{replaced:?}");
    has_problem(&statistics, 1, "has records, and none comes").await;
    read_from(-1);
    orders_are(&statistics, 1, 5).await;
    eventually("the problem is over", async || {
        region(&statistics, 1).await["problem"].is_null()
    })
    .await;
    statistics.stop().await;
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn a_topic_that_is_recreated_while_it_is_counted_is_counted_anew() {
    let kafka = real_kafka();
    create_topics(&kafka, 3).await;
    for region in 0..3 {
        order(&kafka, region, 1..11).await;
    }
    let statistics = Counting::start(&kafka).await;
    statistics.agrees_with_the_log(&kafka).await;
    recreate(&kafka, "order").await;
    order(&kafka, 0, 21..24).await;
    statistics.agrees_with_the_log(&kafka).await;
    order(&kafka, 1, 24..25).await;
    statistics.agrees_with_the_log(&kafka).await;
    statistics.stop().await;
}
