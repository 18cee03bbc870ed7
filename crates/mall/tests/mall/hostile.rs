//! The worst records that somebody can write: each has one outcome, and the region goes on.

use std::time::Duration;

use domain::{Detail, OrderIdGenerator, Outcome, Timestamp};
use mall::embedded::Cluster;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rstest::rstest;

use crate::support::{Broker, Child, create_topics, eventually, partition, real_kafka, shipments};

/// The region under test.
const NUMBER: u16 = 1;
/// How often each record is written: more than fifty in all.
const ROUNDS: usize = 3;
/// What a container of a repository has.
const MEMORY: u64 = 128 * 1024 * 1024;

#[derive(Default)]
struct Hostile {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: usize,
    timestamp: Option<i64>,
    outcome: Option<Outcome>,
}

fn order(id: &str) -> Vec<u8> {
    format!(r#"{{"money":1,"order_id":"{id}","time":1,"user_id":"1"}}"#).into_bytes()
}

/// A money that is a text of this many bytes.
fn money(text: &str, size: usize) -> Vec<u8> {
    format!(r#"{{"money":"{}"}}"#, text.repeat(size / text.len())).into_bytes()
}

/// Records of about `size` bytes, and records that lie otherwise. Those whose outcome depends on what was shipped
/// before have none here.
fn records(size: usize, ids: &mut OrderIdGenerator) -> Vec<Hostile> {
    let rejected = |value: Vec<u8>| Hostile {
        value: Some(value),
        outcome: Some(Outcome::Rejected),
        ..Hostile::default()
    };
    let mut valid = || Hostile {
        value: Some(order(&ids.next(Timestamp::now()).expect("a steady clock").to_string())),
        outcome: Some(Outcome::Shipped),
        ..Hostile::default()
    };
    let of_id = |id: &str| Hostile {
        value: Some(order(id)),
        ..Hostile::default()
    };
    vec![
        rejected(money("\\\"", size)),
        rejected(money("\\u0001", size)),
        rejected(money("\\ud83d\\ude00", size)),
        rejected(vec![b'['; size]),
        rejected(b"{\"a\":".repeat(size / 5)),
        rejected(vec![b'"'; size]),
        rejected(vec![0xff; size]),
        rejected(vec![0; size]),
        rejected(order("18446744073709551616")),
        rejected(order("-1")),
        rejected(order("007")),
        rejected(order(&"9".repeat(size))),
        Hostile {
            outcome: Some(Outcome::Rejected),
            ..Hostile::default()
        },
        Hostile {
            key: Some(vec![b'x'; size]),
            ..valid()
        },
        Hostile {
            key: Some(vec![0xff; 100]),
            ..valid()
        },
        Hostile {
            headers: 1000,
            ..valid()
        },
        Hostile {
            timestamp: Some(-1),
            ..valid()
        },
        Hostile {
            timestamp: Some(i64::MAX),
            ..valid()
        },
        of_id("0"),
        of_id("9223372036854775807"),
        // An id of order-2.
        of_id("1468136426238386176"),
    ]
}

async fn write(kafka: &kafka::Config, records: &[Hostile]) {
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.bootstrap_servers)
        .set("message.max.bytes", "2000000")
        .set("linger.ms", "0")
        .create()
        .expect("a producer");
    let topic = kafka.name("order");
    for hostile in records {
        let mut headers = OwnedHeaders::new();
        for _ in 0..hostile.headers {
            let value: Option<&[u8]> = Some(b"\xff\xff");
            headers = headers.insert(Header {
                key: "traceparent",
                value,
            });
        }
        let record = FutureRecord {
            topic: &topic,
            partition: Some(i32::from(NUMBER)),
            payload: hostile.value.as_ref(),
            key: hostile.key.as_ref(),
            timestamp: hostile.timestamp,
            headers: Some(headers),
        };
        // One at a time: each is a batch of its own, at the broker's limit of size.
        producer.send(record, Duration::from_secs(10)).await.expect("written");
    }
}

/// The mock broker keeps 5 MiB of a partition; a real one takes 1 MiB in a record.
#[rstest]
#[case::mock(Broker::Mock, 40_000)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real, 1_040_000)]
#[tokio::test]
async fn each_hostile_record_has_one_outcome_and_the_region_goes_on_in_128_mib(
    #[case] broker: Broker,
    #[case] size: usize,
) {
    let cluster = Cluster::start(domain::Replicas::THREE).expect("a broker");
    let kafka = match broker {
        Broker::Mock => cluster.config(),
        Broker::Real => real_kafka(),
    };
    if matches!(broker, Broker::Real) {
        create_topics(&kafka, 3).await;
    }
    let mut ids = OrderIdGenerator::new(partition(NUMBER).into(), None);
    let mut hostile: Vec<Hostile> = Vec::new();
    for _ in 0..ROUNDS {
        hostile.extend(records(size, &mut ids));
    }
    write(&kafka, &hostile).await;
    let repository = Child::service("repository", &kafka, &[("MALL_ORDINAL", "1")]);
    repository.ready("repository-1").await;
    eventually("every record has an outcome", async || {
        shipments(&kafka, NUMBER).await.len() >= hostile.len()
    })
    .await;
    let last = ids.next(Timestamp::now()).expect("a steady clock").to_string();
    hostile.push(Hostile {
        value: Some(order(&last)),
        outcome: Some(Outcome::Shipped),
        ..Hostile::default()
    });
    write(&kafka, &hostile[hostile.len() - 1..]).await;
    eventually("the region goes on", async || {
        shipments(&kafka, NUMBER).await.len() >= hostile.len()
    })
    .await;

    let shipments = shipments(&kafka, NUMBER).await;
    assert_eq!(shipments.len(), hostile.len());
    for ((offset, hostile), shipment) in (0..).zip(&hostile).zip(&shipments) {
        assert_eq!(shipment.order_offset, offset);
        let expected = hostile.outcome.unwrap_or(shipment.outcome);
        assert_eq!(shipment.outcome, expected, "offset {offset}: {shipment:?}");
        let detail = shipment.detail.as_ref().map_or("", Detail::as_str);
        assert_eq!(detail.is_empty(), shipment.outcome == Outcome::Shipped, "{shipment:?}");
    }
    let peak = repository.peak_memory();
    assert!(peak < MEMORY, "{} MiB", peak / 1024 / 1024);
}
