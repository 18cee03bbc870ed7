//! Statistics as a process, and what it should have counted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use domain::{Outcome, Replicas, Shipment, Snapshot, Statistics};
use kafka::{Producer, Record};
use serde_json::Value;

use super::{Child, Client, NewRecord, PATIENCE, append, eventually, partition, read};

/// The time of all records that are written here.
const TIME: i64 = 1_790_000_000_000;

/// Statistics as a process.
pub(crate) struct Counting {
    child: Child,
    address: SocketAddr,
    client: Client,
}

impl Counting {
    /// Starts it, and waits until it is ready.
    pub(crate) async fn start(kafka: &kafka::Config) -> Self {
        Self::start_within(kafka, PATIENCE).await
    }

    /// The same for one that has much to read.
    pub(crate) async fn start_within(kafka: &kafka::Config, patience: Duration) -> Self {
        let child = Child::service("statistics", kafka, &[]);
        let (address, client) = (child.address_of("statistics").await, Client::new());
        let ready = async {
            while !client.get(address, "/ready").await.status.is_success() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let ready = tokio::time::timeout(patience, ready).await;
        ready.unwrap_or_else(|_| panic!("not ready within {patience:?}"));
        Self { child, address, client }
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(mut self) {
        self.child.signal("TERM");
        let status = self.child.ended(PATIENCE).await;
        assert!(status.success(), "{status}");
    }

    /// Kills it.
    pub(crate) async fn kill(self) {
        self.child.kill().await;
    }

    pub(crate) fn signal(&self, signal: &str) {
        self.child.signal(signal);
    }

    /// What it answers.
    pub(crate) async fn figures(&self) -> Value {
        self.client.get(self.address, "/api/statistics").await.json()
    }

    /// Waits until it has counted all that is in the log, exactly.
    pub(crate) async fn agrees_with_the_log(&self, kafka: &kafka::Config) {
        let expected = fold(kafka).await;
        self.shows(&expected).await;
    }

    /// Waits until it shows the regions and totals of these figures.
    pub(crate) async fn shows(&self, expected: &Value) {
        eventually(&format!("it shows {expected}"), async || {
            let figures = self.figures().await;
            figures["regions"] == expected["regions"] && figures["total"] == expected["total"]
        })
        .await;
    }

    /// How many records of a topic were there when it started, and were counted then, in all of three regions.
    pub(crate) async fn read_at_start(&self, topic: &str) -> u64 {
        let mut records = BTreeMap::new();
        eventually("each region has caught up", async || {
            records.clear();
            for line in self.lines() {
                if line["message"] == "caught up" {
                    let region = line["partition"].as_u64();
                    records
                        .entry(region)
                        .or_insert_with(|| line[topic].as_u64().expect("a number"));
                }
            }
            records.len() == 3
        })
        .await;
        records.values().sum()
    }

    /// Waits until it has logged a message, and returns its lines.
    pub(crate) async fn says(&self, message: &str) -> Vec<Value> {
        let said = || {
            let mut lines = self.lines();
            let starts = |line: &Value| line["message"].as_str().is_some_and(|text| text.starts_with(message));
            lines.retain(starts);
            lines
        };
        eventually(message, async || !said().is_empty()).await;
        said()
    }

    /// What it has logged.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let printed = self.child.printed();
        printed
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }
}

/// The figures of the whole log, as `/api/statistics` shows them.
pub(crate) async fn fold(kafka: &kafka::Config) -> Value {
    let mut statistics = Statistics::default();
    statistics.grow(Replicas::THREE.partitions());
    for number in 0..3 {
        for entry in read(kafka, "order", number).await {
            let _ = statistics.count_order(partition(number), entry.offset, entry.timestamp, &entry.value);
        }
        for entry in read(kafka, "shipment", number).await {
            statistics.count_shipment(partition(number), entry.offset, entry.timestamp, &entry.value);
        }
    }
    serde_json::to_value(&statistics).expect("JSON")
}

/// The snapshots in topic `statistics`.
pub(crate) async fn snapshots(kafka: &kafka::Config) -> Vec<Snapshot> {
    let entries = read(kafka, "statistics", 0).await;
    let snapshot = |value: &[u8]| Snapshot::from_record(value, None).expect("a snapshot");
    entries.iter().map(|entry| snapshot(&entry.value)).collect()
}

/// The value of the record that [`order`] writes for an id.
pub(crate) fn order_value(id: u64) -> Vec<u8> {
    format!(r#"{{"money":{},"order_id":"{id}","time":1,"user_id":"1"}}"#, id % 100).into_bytes()
}

/// Writes an order for each of these ids.
pub(crate) async fn order(kafka: &kafka::Config, region: u16, ids: std::ops::Range<u64>) {
    let orders: Vec<(String, Vec<u8>)> = ids.map(|id| (id.to_string(), order_value(id))).collect();
    let records: Vec<NewRecord<'_>> = orders
        .iter()
        .map(|(id, value)| NewRecord { key: Some(id), value })
        .collect();
    append(kafka, region, &records).await;
}

/// Writes the outcomes of these offsets of topic `order`.
pub(crate) async fn ship(kafka: &kafka::Config, region: u16, offsets: std::ops::Range<i64>) {
    let shipment = |order_offset| {
        let shipment = Shipment {
            order_id: None,
            order_offset,
            outcome: Outcome::Shipped,
            mark: None,
            duplicate_of: None,
            detail: None,
            packed_at: None,
            shipped_at: None,
        };
        shipment.to_record()
    };
    let values: Vec<Vec<u8>> = offsets.map(shipment).collect();
    write(kafka, "shipment", region, None, &values).await;
}

/// Writes records to a topic.
pub(crate) async fn write(kafka: &kafka::Config, topic: &str, region: u16, key: Option<&str>, values: &[Vec<u8>]) {
    let records: Vec<Record<'_>> = values
        .iter()
        .map(|value| Record {
            partition: i32::from(region),
            key,
            value,
            timestamp: TIME,
            headers: &[],
        })
        .collect();
    let mut producer = Producer::new(kafka, "test", topic).expect("a producer");
    for outcome in producer.send_batch(&records).await {
        outcome.expect("delivered");
    }
    producer.close(PATIENCE).await;
}
