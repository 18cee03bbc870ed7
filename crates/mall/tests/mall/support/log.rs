//! A look into the log, past the services.

use std::time::{Duration, Instant};

use domain::{IDEMPOTENCY_KEY, IDEMPOTENCY_REQUEST, OrderId, Outcome, Shipment, Timestamp};
use kafka::{Consumer, Delivery, Fetch, Producer, Record, SendError};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::{PATIENCE, eventually};

/// A record.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) offset: i64,
    pub(crate) key: Option<String>,
    pub(crate) value: Vec<u8>,
    pub(crate) timestamp: Option<i64>,
}

/// All records of a partition that a read_committed reader sees.
pub(crate) async fn read(kafka: &kafka::Config, topic: &'static str, partition: u16) -> Vec<Entry> {
    let kafka = kafka.clone();
    let read = move || {
        let reader = Consumer::new(&kafka, "test", "test", topic, Fetch::Live).expect("a reader");
        let partition = i32::from(partition);
        // A client that has only just connected can answer that no broker is up.
        let begun = Instant::now();
        let found = loop {
            match reader.watermarks(partition) {
                Ok(found) => break found,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "no offsets: {error}"),
            }
        };
        let mut entries = Vec::new();
        reader
            .read_all(partition, found.low..found.high, &CancellationToken::new(), |record| {
                entries.push(Entry {
                    offset: record.offset(),
                    key: record.key().map(str::to_owned),
                    value: record.value().to_vec(),
                    timestamp: record.timestamp(),
                });
            })
            .expect("a log");
        entries
    };
    spawn_blocking(read).await.expect("no panic")
}

/// The keys of topic `order`: the ids of the orders, in the order of the log.
pub(crate) async fn order_ids(kafka: &kafka::Config, partition: u16) -> Vec<String> {
    read(kafka, "order", partition)
        .await
        .into_iter()
        .filter_map(|entry| entry.key)
        .collect()
}

/// What is in topic `shipment`.
pub(crate) async fn shipments(kafka: &kafka::Config, partition: u16) -> Vec<Shipment> {
    let parse = |entry: Entry| Shipment::from_record(&entry.value).expect("a shipment");
    read(kafka, "shipment", partition)
        .await
        .into_iter()
        .map(parse)
        .collect()
}

/// Waits until each record of topic `order` has an outcome, and returns what is in topic `shipment` then.
pub(crate) async fn settled_shipments(kafka: &kafka::Config, partition: u16) -> Vec<Shipment> {
    let mut found = Vec::new();
    eventually("every record has an outcome", async || {
        found = shipments(kafka, partition).await;
        found.len() == read(kafka, "order", partition).await.len()
    })
    .await;
    found
}

/// The outcomes alone.
pub(crate) fn outcomes(shipments: &[Shipment]) -> Vec<Outcome> {
    shipments.iter().map(|shipment| shipment.outcome).collect()
}

/// A record for topic `order`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewRecord<'a> {
    pub(crate) key: Option<&'a str>,
    pub(crate) value: &'a [u8],
}

/// Puts records into topic `order` by hand.
pub(crate) async fn append(kafka: &kafka::Config, partition: u16, records: &[NewRecord<'_>]) {
    let mut producer = Producer::new(kafka, "test", "order").expect("a producer");
    for outcome in deliver(&mut producer, partition, records).await {
        outcome.expect("delivered");
    }
    producer.close(PATIENCE).await;
}

/// Writes records together, and waits for what becomes of each.
pub(crate) async fn deliver(
    producer: &mut Producer,
    partition: u16,
    records: &[NewRecord<'_>],
) -> Vec<Result<Delivery, SendError>> {
    let records: Vec<Record<'_>> = records
        .iter()
        .map(|NewRecord { key, value }| Record {
            partition: i32::from(partition),
            key: *key,
            value,
            timestamp: Timestamp::now().unix_millis().cast_signed(),
            headers: &[],
        })
        .collect();
    producer.send_batch(&records).await
}

/// An order with a key, as order-N writes it: each attempt has an id of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) id: u64,
    pub(crate) money: u32,
    /// The key and the request; `None` for an order without a key.
    pub(crate) idempotency: Option<(&'a str, &'a str)>,
}

impl Attempt<'_> {
    /// An id of the replica of a partition that was made so long ago.
    pub(crate) fn id_of(partition: u16, ago: Duration) -> u64 {
        OrderId::smallest_at(Timestamp::now() - ago).get() | (u64::from(partition) << 12)
    }
}

/// Puts orders into topic `order` with the times of their ids.
pub(crate) async fn append_attempts(kafka: &kafka::Config, partition: u16, attempts: &[Attempt<'_>]) {
    let mut producer = Producer::new(kafka, "test", "order").expect("a producer");
    for Attempt { id, money, idempotency } in attempts {
        let (key, id): (String, OrderId) = (id.to_string(), id.to_string().parse().expect("an id"));
        let value = format!(r#"{{"money":{money},"order_id":"{key}","time":1,"user_id":"1"}}"#);
        let headers = idempotency.map(|(key, request)| [(IDEMPOTENCY_KEY, key), (IDEMPOTENCY_REQUEST, request)]);
        let record = Record {
            partition: i32::from(partition),
            key: Some(&key),
            value: value.as_bytes(),
            timestamp: id.time().unix_millis().cast_signed(),
            headers: headers.as_ref().map_or(&[], |headers| headers.as_slice()),
        };
        producer.send_batch(&[record]).await.remove(0).expect("delivered");
    }
    producer.close(PATIENCE).await;
}
