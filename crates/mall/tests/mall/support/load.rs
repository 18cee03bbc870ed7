//! Orders that flow while a test does something to the mall.

use std::net::SocketAddr;
use std::time::Duration;

use domain::{OrderIdGenerator, Timestamp};
use kafka::{Producer, SendError};
use lab::ledger::Answer;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::log::{NewRecord, deliver};
use super::{Child, PATIENCE, Told, partition};

/// Orders that are written to the log together.
const BATCH: usize = 5;
/// Orders a second that `mall load` sends.
const RATE: &str = "1000";

/// Orders on their way until they are told to stop.
pub(crate) enum Load {
    /// `mall load`.
    Gateway(Child, Told),
    /// A task that writes into one partition, without a gateway.
    Log(CancellationToken, JoinHandle<Told>),
}

impl Load {
    /// Orders over some connections for the regions `0..regions` in turn.
    pub(crate) fn to_gateway(gateway: SocketAddr, connections: u16, regions: u16) -> Self {
        let told = Told::new();
        let (url, path) = (format!("http://{gateway}"), told.path());
        let (connections, regions) = (connections.to_string(), regions.to_string());
        let arguments = [
            "load",
            "--seconds",
            "3600",
            "--rate",
            RATE,
            "--gateway",
            &url,
            "--connections",
            &connections,
            "--replicas",
            &regions,
            "--ledger",
            path.to_str().expect("UTF-8"),
        ];
        Self::Gateway(Child::start(&arguments, &[]), told)
    }

    /// Orders that are written into one partition without a gateway, a few at a time with a pause between.
    pub(crate) fn to_log(kafka: &kafka::Config, number: u16, pause: Duration) -> Self {
        let stop = CancellationToken::new();
        Self::Log(stop.clone(), tokio::spawn(write(kafka.clone(), number, pause, stop)))
    }

    /// Stops, and says what became of the orders.
    pub(crate) async fn stop(self) -> Told {
        match self {
            Self::Gateway(mut child, told) => {
                child.signal("INT");
                let code = child.ended(PATIENCE).await.code();
                assert_eq!(code, Some(0), "{}", child.printed());
                told
            }
            Self::Log(stop, task) => {
                stop.cancel();
                task.await.expect("no panic")
            }
        }
    }
}

async fn write(kafka: kafka::Config, number: u16, pause: Duration, stop: CancellationToken) -> Told {
    let mut producer = Producer::new(&kafka, "load", "order").expect("a producer");
    let mut ids = OrderIdGenerator::new(partition(number).into(), None);
    let mut told = Told::new();
    while !stop.is_cancelled() {
        let batch: Vec<_> = (0..BATCH)
            .map(|_| {
                let asked = told.ask(number);
                let id = ids.next(Timestamp::now()).expect("a steady clock");
                let (money, user_id) = (asked.money, asked.user_id);
                let value = format!(r#"{{"money":{money},"order_id":"{id}","time":1,"user_id":"{user_id}"}}"#);
                (asked, id, id.to_string(), value.into_bytes())
            })
            .collect();
        let record = |key, value| NewRecord { key: Some(key), value };
        let records: Vec<_> = batch
            .iter()
            .map(|(_, _, key, value)| record(key.as_str(), value.as_slice()))
            .collect();
        for ((asked, order_id, ..), outcome) in batch.iter().zip(deliver(&mut producer, number, &records).await) {
            let (status, order_id) = (None, order_id.to_string().parse().expect("an id"));
            told.answer(
                *asked,
                match outcome {
                    Ok(delivery) => Answer::Acknowledged {
                        order_id,
                        partition: number,
                        offset: delivery.offset,
                        replayed: false,
                    },
                    Err(SendError::Unknown(_)) => Answer::Unknown {
                        status,
                        order_id: Some(order_id),
                    },
                    Err(SendError::NotWritten(_)) => Answer::Refused { status },
                },
            );
        }
        tokio::time::sleep(pause).await;
    }
    producer.close(PATIENCE).await;
    told
}
