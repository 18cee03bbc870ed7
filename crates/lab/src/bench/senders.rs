//! The three ways for an order to the log that are compared.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use domain::{Money, Order as LoggedOrder, OrderId, Partition, Submission, Timestamp, UserId};
use futures_util::future::join_all;
use hdrhistogram::Histogram;
use kafka::{Producer, Record};
use serde::Serialize;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::ServiceUrl;
use crate::client::{Client, Order};
use crate::ledger::{Answer, Ledger, Line, Run};
use crate::load::now;

/// The most records of the bare producer in one batch, as in order-N.
const BATCH: usize = 1000;
/// The topic of the bare producer: what it writes is no order.
pub(super) const TOPIC: &str = "bench";

/// A way for an order to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Path {
    /// A producer in this process, which waits for the broker's acknowledgement of each record: what Kafka costs.
    Produce,
    /// HTTP to order-N, without a gateway.
    Order,
    /// HTTP to the gateway, as clients do it.
    Gateway,
}

impl Path {
    pub(super) const ALL: [Self; 3] = [Self::Produce, Self::Order, Self::Gateway];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Produce => "bare producer",
            Self::Order => "order-N alone",
            Self::Gateway => "whole chain",
        }
    }
}

/// What some connections have done in a while.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) acknowledged: u64,
    pub(super) failed: u64,
    pub(super) elapsed: Duration,
    /// In microseconds.
    pub(super) latencies: Histogram<u64>,
}

impl Sent {
    fn new() -> Self {
        Self {
            acknowledged: 0,
            failed: 0,
            elapsed: Duration::ZERO,
            latencies: Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds that are in order"),
        }
    }

    fn count(&mut self, acknowledged: bool, took: Duration) {
        if acknowledged {
            self.acknowledged += 1;
            self.latencies
                .saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        } else {
            self.failed += 1;
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.failed += other.failed;
        self.elapsed += other.elapsed;
        self.latencies.add(&other.latencies).expect("the same bounds");
    }
}

/// Sends on all three ways.
pub(super) struct Senders {
    pub(super) partitions: Vec<Partition>,
    pub(super) gateway: ServiceUrl,
    pub(super) orders: BTreeMap<Partition, ServiceUrl>,
    producer: Mutex<Producer>,
    pub(super) ledger: RefCell<Ledger>,
    run: Run,
    number: std::cell::Cell<u64>,
}

impl Senders {
    pub(super) fn new(
        partitions: Vec<Partition>,
        gateway: ServiceUrl,
        orders: BTreeMap<Partition, ServiceUrl>,
        producer: Producer,
        mut ledger: Ledger,
    ) -> anyhow::Result<Self> {
        let run = Run::draw();
        ledger.write(&Line::Run {
            at: now(),
            run,
            gateway: gateway.to_string(),
        })?;
        Ok(Self {
            partitions,
            gateway,
            orders,
            producer: Mutex::new(producer),
            ledger: RefCell::new(ledger),
            run,
            number: std::cell::Cell::new(0),
        })
    }

    /// Sends over so many connections for a while, each with one order at a time (a closed loop).
    pub(super) async fn send(
        &self,
        path: Path,
        connections: usize,
        duration: Duration,
        stop: &CancellationToken,
    ) -> anyhow::Result<Sent> {
        let began = Instant::now();
        let sent = RefCell::new(Sent::new());
        let (queue, jobs) = mpsc::channel(BATCH);
        let connections = (0..connections)
            .map(|index| (index, queue.clone()))
            .map(async |(index, queue)| {
                let partition = self.partitions[index % self.partitions.len()];
                let mut connection = self.connect(path, partition, queue)?;
                while began.elapsed() < duration && !stop.is_cancelled() {
                    let begun = Instant::now();
                    let acknowledged = connection.send(self, partition).await?;
                    sent.borrow_mut().count(acknowledged, begun.elapsed());
                }
                anyhow::Ok(())
            });
        let connections = join_all(connections);
        // The producer ends with the last connection.
        drop(queue);
        let (ended, ()) = tokio::join!(connections, self.produce(jobs));
        ended.into_iter().collect::<anyhow::Result<()>>()?;
        let mut sent = sent.into_inner();
        sent.elapsed = began.elapsed();
        Ok(sent)
    }

    /// Writes in one batch what has gathered while the batch before was in flight, as order-N does.
    async fn produce(&self, mut jobs: mpsc::Receiver<Job>) {
        let mut producer = self.producer.lock().await;
        let mut gathered = Vec::with_capacity(BATCH);
        while jobs.recv_many(&mut gathered, BATCH).await > 0 {
            let records: Vec<Record<'_>> = gathered.iter().map(Job::record).collect();
            let outcomes = producer.send_batch(&records).await;
            for (job, outcome) in gathered.drain(..).zip(outcomes) {
                // Its connection has ended.
                let _ = job.acknowledged.send(outcome.is_ok());
            }
        }
    }

    fn connect(&self, path: Path, partition: Partition, queue: mpsc::Sender<Job>) -> anyhow::Result<Connection> {
        Ok(match path {
            Path::Produce => Connection::Producer(queue),
            Path::Order => Connection::Order(Client::new(
                self.orders
                    .get(&partition)
                    .context("an order service for each partition")?,
            )),
            Path::Gateway => Connection::Gateway(Client::new(&self.gateway)),
        })
    }
}

/// One of the connections.
enum Connection {
    Producer(mpsc::Sender<Job>),
    Order(Client),
    Gateway(Client),
}

impl Connection {
    /// Sends an order and waits for its acknowledgement. Whether it came.
    async fn send(&mut self, senders: &Senders, partition: Partition) -> anyhow::Result<bool> {
        let number = senders.number.replace(senders.number.get() + 1);
        let money = Money::try_from((number % 1000).cast_signed()).expect("less than a million");
        let user_id = senders.run.user_id(number);
        if let Self::Producer(queue) = self {
            let (job, acknowledged) = Job::new(partition, money, user_id);
            queue.send(job).await?;
            return Ok(acknowledged.await?);
        }
        let ledger = |line: Line| senders.ledger.borrow_mut().write(&line);
        ledger(Line::Attempt {
            at: now(),
            order: number,
            partition: u16::try_from(partition.index()).expect("an index of a partition"),
            money,
        })?;
        let answer = match self {
            Self::Order(client) => {
                let submission = Submission {
                    money,
                    partition,
                    time: Timestamp::now().unix_seconds(),
                    user_id: user(user_id),
                };
                let json = serde_json::to_string(&submission).context("a submission is JSON")?;
                client.post(Order::Submission(&json)).await
            }
            Self::Gateway(client) => {
                let form = format!("partition={partition}&money={money}&user_id={user_id}");
                client.post(Order::Form { form: &form, key: None }).await
            }
            Self::Producer(_) => unreachable!("it has no client"),
        };
        let acknowledged = matches!(answer, Answer::Acknowledged { .. });
        ledger(Line::Answer {
            at: now(),
            order: number,
            answer,
        })?;
        Ok(acknowledged)
    }
}

fn user(number: u64) -> UserId {
    number
        .to_string()
        .parse()
        .expect("a run's user ids have 19 digits at most")
}

/// A record as order-N writes it, of the same size.
struct Job {
    partition: Partition,
    time: Timestamp,
    key: String,
    value: Vec<u8>,
    acknowledged: oneshot::Sender<bool>,
}

impl Job {
    fn new(partition: Partition, money: Money, user_id: u64) -> (Self, oneshot::Receiver<bool>) {
        let time = Timestamp::now();
        let order_id = OrderId::smallest_at(time);
        let order = LoggedOrder {
            money,
            order_id,
            time: time.unix_seconds(),
            user_id: user(user_id),
        };
        let (acknowledged, outcome) = oneshot::channel();
        let job = Self {
            partition,
            time,
            key: order_id.to_string(),
            value: order.to_record(),
            acknowledged,
        };
        (job, outcome)
    }

    fn record(&self) -> Record<'_> {
        Record {
            partition: self.partition.id(),
            key: Some(&self.key),
            value: &self.value,
            timestamp: self.time.unix_millis().cast_signed(),
            headers: &[],
        }
    }
}
