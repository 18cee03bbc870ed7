//! Orders that flow while a test does something to the mall.

use std::net::SocketAddr;
use std::time::Duration;

use domain::{OrderIdGenerator, Timestamp};
use kafka::{Producer, SendError};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::log::{NewRecord, deliver};
use super::{Client, PATIENCE, Written, partition};

/// Orders that are written to the log together.
const BATCH: usize = 5;
/// What a client waits before it tries again after a refusal.
const PAUSE: Duration = Duration::from_millis(1);

/// Orders on their way until they are told to stop.
pub(crate) struct Load {
    stop: CancellationToken,
    clients: JoinSet<Written>,
}

impl Load {
    /// Orders of some clients for the regions `0..regions` in turn. Each client has one order in flight.
    pub(crate) fn to_gateway(gateway: SocketAddr, clients: u16, regions: u16) -> Self {
        let mut load = Self::new();
        for first in 0..clients {
            let stop = load.stop.clone();
            load.clients.spawn(async move {
                let (client, mut written) = (Client::new(), Written::default());
                for number in (0..regions).cycle().skip(usize::from(first % regions)) {
                    if stop.is_cancelled() {
                        break;
                    }
                    let taken = written.add(number, client.try_order(gateway, number).await);
                    if !taken {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                written
            });
        }
        load
    }

    /// Orders that are written into one partition without a gateway, a few at a time with a pause between.
    pub(crate) fn to_log(kafka: &kafka::Config, number: u16, pause: Duration) -> Self {
        let mut load = Self::new();
        let (kafka, stop) = (kafka.clone(), load.stop.clone());
        load.clients.spawn(write(kafka, number, pause, stop));
        load
    }

    fn new() -> Self {
        Self {
            stop: CancellationToken::new(),
            clients: JoinSet::new(),
        }
    }

    /// Stops, and says what became of the orders.
    pub(crate) async fn stop(self) -> Written {
        self.stop.cancel();
        let mut all = Written::default();
        self.clients
            .join_all()
            .await
            .into_iter()
            .for_each(|written| all.merge(written));
        all
    }
}

async fn write(kafka: kafka::Config, number: u16, pause: Duration, stop: CancellationToken) -> Written {
    let mut producer = Producer::new(&kafka, "load", "order").expect("a producer");
    let mut ids = OrderIdGenerator::new(partition(number).into(), None);
    let mut written = Written::default();
    while !stop.is_cancelled() {
        let batch: Vec<(String, Vec<u8>)> = (0..BATCH)
            .map(|_| {
                let id = ids.next(Timestamp::now(), 0).expect("a steady clock").to_string();
                let value = format!(r#"{{"money":1,"order_id":"{id}","time":1,"user_id":"1"}}"#);
                (id, value.into_bytes())
            })
            .collect();
        let record = |(id, value)| NewRecord { key: Some(id), value };
        let records: Vec<_> = batch
            .iter()
            .map(|(id, value)| record((id.as_str(), value.as_slice())))
            .collect();
        for ((id, _), outcome) in batch.iter().zip(deliver(&mut producer, number, &records).await) {
            match outcome {
                Ok(_) => written.acknowledged.entry(number).or_default().push(id.clone()),
                Err(SendError::Unknown(_)) => written.unknown.push(id.clone()),
                Err(SendError::NotWritten(_)) => {}
            }
        }
        tokio::time::sleep(pause).await;
    }
    producer.close(PATIENCE).await;
    written
}
