//! `mall topics`, and what others see in the topics. On a real broker.

use std::process::Command;
use std::time::Duration;

use kafka::topics::{self, Cleanup, Options, Topic};

use crate::support::{
    Child, NOWHERE, NewRecord, Stage, append, committed, create_topics, eventually, limit_retention, real_kafka,
};

async fn run(kafka: &kafka::Config, arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let cluster = [
        ("MALL_KAFKA__BOOTSTRAP_SERVERS", kafka.bootstrap_servers.as_str()),
        ("MALL_KAFKA__PREFIX", &kafka.prefix),
    ];
    let settings = [&cluster, settings].concat();
    let mut child = Child::start(&[&["topics"], arguments].concat(), &settings);
    let status = child.ended(Duration::from_secs(60)).await;
    eventually("its last line", async || {
        child.printed().contains("stopped") || child.printed().contains("failed")
    })
    .await;
    (status.code(), child.printed())
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn topics_are_created_verified_and_grown() {
    let kafka = real_kafka();
    let expect = async |arguments: &[&str], code: i32, texts: &[&str]| {
        let (found, printed) = run(&kafka, arguments, &[]).await;
        assert_eq!(found, Some(code), "{printed}");
        for text in texts {
            assert!(printed.contains(text), "{text} is not in {printed}");
        }
    };
    expect(
        &[],
        0,
        &[
            "order: created with 3 partitions",
            "shipment: created",
            "statistics: created with 1",
        ],
    )
    .await;
    expect(&[], 0, &["order: verified, 3 partitions"]).await;
    expect(
        &["--replicas", "5", "--warn"],
        1,
        &["expected partitions >= 5, found 3: run mall topics --grow"],
    )
    .await;
    expect(
        &["--replicas", "5", "--grow"],
        0,
        &["order: grown from 3 to 5", "shipment: grown from 3 to 5"],
    )
    .await;
    let more = ["expected partitions <= 3, found 5"];
    expect(&["--grow"], 1, &more).await;
    // A pod that starts between the growth of the topics and the change of MALL_REPLICAS.
    expect(&["--warn"], 0, &more).await;
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn all_differences_are_listed_and_those_the_mall_can_run_with_are_warnings_on_request() {
    let kafka = real_kafka();
    create_topics(&kafka, 3).await;
    limit_retention(&kafka, "order", "604800000").await;
    let settings = [
        ("MALL_TOPICS__REPLICATION_FACTOR", "2"),
        ("MALL_TOPICS__MIN_INSYNC_REPLICAS", "2"),
        ("MALL_LOG__FORMAT", "json"),
    ];
    for (arguments, code, last) in [(&[][..], 1, "nothing was changed"), (&["--warn"], 0, "stopped")] {
        let (found, printed) = run(&kafka, arguments, &settings).await;
        assert_eq!(found, Some(code), "{printed}");
        for text in [
            "expected retention.ms = -1, found 604800000: Kafka deletes",
            "expected replication.factor >= 2, found 1: a broker",
            "expected min.insync.replicas >= 2, found 1: fewer brokers",
            last,
        ] {
            assert!(printed.contains(text), "{text} is not in {printed}");
        }
        assert_eq!(printed.matches("\"level\":\"WARN\"").count(), 7, "{printed}");
    }
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn a_topic_with_the_wrong_cleanup_policy_is_an_error() {
    let kafka = real_kafka();
    let compacted = Topic {
        name: "order",
        partitions: 3,
        cleanup: Cleanup::Compact,
    };
    topics::ensure(&kafka, &topics::Config::default(), &[compacted], Options::default())
        .await
        .expect("a topic");
    let (code, printed) = run(&kafka, &[], &[]).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(
        printed.contains("expected cleanup.policy = delete, found compact"),
        "{printed}"
    );
    let consumer = kafka::Consumer::new(&kafka, "test", "test", "shipment", kafka::Fetch::Live).expect("a consumer");
    let shipment = move || consumer.leaders();
    let shipment = tokio::task::spawn_blocking(shipment).await.expect("no panic");
    assert_eq!(shipment.expect("an answer"), [], "the others are not created then");
}

#[tokio::test]
async fn without_a_broker_it_gives_up_in_time_and_says_where_it_looked() {
    let kafka = kafka::Config {
        bootstrap_servers: NOWHERE.to_owned(),
        ..kafka::Config::default()
    };
    let (code, printed) = run(&kafka, &[], &[("MALL_TOPICS__WAIT", "1s")]).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(
        printed.contains(&format!("no answer from kafka at {NOWHERE} within 1 s")),
        "{printed}"
    );
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn new_partitions_are_counted_within_15_seconds() {
    let kafka = real_kafka();
    let stage = Stage::on_real(kafka).await;
    stage.client.order(stage.gateway(), 0).await;
    stage.settled(1).await;
    let five = |name| Topic {
        name,
        partitions: 5,
        cleanup: Cleanup::Delete,
    };
    topics::ensure(
        &stage.kafka,
        &topics::Config::default(),
        &[five("order"), five("shipment")],
        Options {
            grow: true,
            ..Options::default()
        },
    )
    .await
    .expect("grown");
    let order = NewRecord {
        key: Some("1"),
        value: br#"{"money":7,"order_id":"1","time":1,"user_id":"1"}"#,
    };
    append(&stage.kafka, 4, &[order]).await;
    let counted = eventually("the new region is counted", async || {
        let statistics = stage.statistics().await;
        statistics["regions"][4]["money"] == 7 && statistics["total"]["orders"] == 2
    });
    tokio::time::timeout(Duration::from_secs(15), counted)
        .await
        .expect("within 15 s");
    stage.close().await;
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn kcat_and_lag_displays_see_what_the_contract_says() {
    let kafka = real_kafka();
    let stage = Stage::on_real(kafka).await;
    let headers = [
        ("idempotency-key", "key-1"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    let reply = stage
        .client
        .post_form(stage.gateway(), &headers, "partition=1&money=5&user_id=42")
        .await;
    let order_id = reply.order_id();
    stage.settled(1).await;
    let kcat = |topic: &str, format: &str| {
        let arguments = [
            "-b",
            &stage.kafka.bootstrap_servers,
            "-C",
            "-e",
            "-q",
            "-o",
            "beginning",
            "-p",
            "1",
        ];
        let output = Command::new("kcat")
            .args(arguments)
            .args(["-t", &stage.kafka.name(topic), "-f", format])
            .output()
            .expect("kcat is installed");
        String::from_utf8(output.stdout).expect("text")
    };
    let time = order_id.parse::<domain::OrderId>().expect("an id").time().unix_millis();
    let headers = "idempotency-key=key-1,idempotency-request=money=5&user_id=42,traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_eq!(kcat("order", "%k %T %h"), format!("{order_id} {time} {headers}"));
    assert!(kcat("order", "%s").starts_with(&format!(r#"{{"money":5,"order_id":"{order_id}","time":"#)));
    let shipment = kcat("shipment", "%k %T %s");
    assert!(shipment.starts_with(&format!(
        r#"{order_id} {time} {{"order_id":"{order_id}","order_offset":0,"outcome":"shipped""#
    )));

    eventually("the group has committed its position", async || {
        committed(&stage.kafka, 1).await == Some(1)
    })
    .await;
    stage.close().await;
}
