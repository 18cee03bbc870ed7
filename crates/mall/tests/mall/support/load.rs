//! Orders that are written to the log without a gateway: as many as the broker takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::{OrderIdGenerator, Timestamp};
use kafka::{Producer, Record, SendError};
use tokio::task::JoinHandle;

use super::{PATIENCE, partition};

/// Orders that are written before the first of them is awaited.
const TOGETHER: usize = 5;

/// Orders on their way into one partition.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Written>,
}

/// The ids of what was written.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) acknowledged: Vec<String>,
    /// They may be in the log.
    pub(crate) unknown: Vec<String>,
}

impl Load {
    /// Writes orders, a few at a time with a pause between, until it is told to stop.
    pub(crate) fn start(kafka: &kafka::Config, number: u16, pause: Duration) -> Self {
        let (kafka, stop) = (kafka.clone(), Arc::new(AtomicBool::new(false)));
        let task = tokio::spawn(write(kafka, number, pause, Arc::clone(&stop)));
        Self { stop, task }
    }

    /// Stops, and says what was written.
    pub(crate) async fn stop(self) -> Written {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("no panic")
    }
}

async fn write(kafka: kafka::Config, number: u16, pause: Duration, stop: Arc<AtomicBool>) -> Written {
    let producer = Producer::new(&kafka, "load", "order").expect("a producer");
    let partition = partition(number);
    let mut ids = OrderIdGenerator::new(partition.into(), None);
    let mut written = Written::default();
    while !stop.load(Ordering::Relaxed) {
        let mut sent = Vec::new();
        for _ in 0..TOGETHER {
            let id = ids.next(Timestamp::now(), 0).expect("a steady clock").to_string();
            let value = format!(r#"{{"money":1,"order_id":"{id}","time":1,"user_id":"1"}}"#);
            let timestamp = Timestamp::now().unix_millis().cast_signed();
            let record = Record {
                partition: partition.id(),
                key: Some(&id),
                value: value.as_bytes(),
                timestamp,
                headers: &[],
            };
            if let Ok(delivery) = producer.send(&record, TOGETHER) {
                sent.push((id, delivery));
            }
        }
        for (id, delivery) in sent {
            match delivery.await {
                Ok(_) => written.acknowledged.push(id),
                Err(SendError::Unknown(_)) => written.unknown.push(id),
                Err(SendError::Rejected(_)) => {}
            }
        }
        tokio::time::sleep(pause).await;
    }
    producer.close(PATIENCE).await;
    written
}
