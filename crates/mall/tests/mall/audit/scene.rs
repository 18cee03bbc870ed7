//! A mall as logs, figures and a ledger show it.

use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;

use domain::{Money, Order, OrderId, OrderIdGenerator, Outcome, Shipment, Timestamp};
use kafka::{Consumer, Fetch, Record, TransactionalProducer};
use lab::ServiceUrl;
use lab::audit::Report;
use lab::ledger::{Answer, Ledger, Line, Phase, Run};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::support::{create_topics, eventually, fold, partition, real_kafka, write};

/// The region under test.
pub(super) const NUMBER: u16 = 1;
/// When it all begins, in Unix milliseconds.
const BEGUN: u64 = 1_790_000_000_000;
/// In microseconds.
pub(super) const SECOND: u64 = 1_000_000;

/// A mall as its topics, its statistics and a ledger show it. It is damaged before it is written.
pub(super) struct Scene {
    pub(super) run: Run,
    /// The values of topic `order`.
    pub(super) orders: Vec<Vec<u8>>,
    pub(super) shipments: Vec<Shipment>,
    /// An order that is written in a transaction, whose end takes an offset.
    pub(super) transaction: Option<usize>,
    pub(super) committed: i64,
    pub(super) ledger: Vec<Line>,
    /// Changes the figures of statistics.
    pub(super) adjust: fn(&mut Value),
    pub(super) at: u64,
}

impl Scene {
    /// Six orders that were acknowledged and shipped, one that was refused, and one of which nothing is known.
    pub(super) fn healthy() -> Self {
        let (run, at) = (Run::draw(), BEGUN * 1000);
        let begin = Line::Run {
            at,
            run,
            gateway: "http://gateway".to_owned(),
        };
        let mut scene = Self {
            run,
            orders: Vec::new(),
            shipments: Vec::new(),
            transaction: None,
            committed: 0,
            ledger: vec![begin],
            adjust: |_| {},
            at,
        };
        (0..6).for_each(|number| scene.order(number));
        scene.attempt(6);
        scene.answer(6, Answer::Refused { status: Some(503) });
        scene.attempt(7);
        scene.answer(
            7,
            Answer::Unknown {
                status: None,
                order_id: None,
            },
        );
        scene
    }

    pub(super) fn pass(&mut self, microseconds: u64) -> u64 {
        self.at += microseconds;
        self.at
    }

    /// An order on its whole way.
    pub(super) fn order(&mut self, number: u64) {
        self.attempt(number);
        let offset = self.accept(number, id(NUMBER, number));
        self.acknowledge(number, offset);
    }

    pub(super) fn attempt(&mut self, order: u64) {
        let at = self.pass(1000);
        self.ledger.push(Line::Attempt {
            at,
            order,
            partition: NUMBER,
            money: money(),
        });
    }

    pub(super) fn answer(&mut self, order: u64, answer: Answer) {
        let at = self.pass(1000);
        self.ledger.push(Line::Answer { at, order, answer });
    }

    pub(super) fn acknowledge(&mut self, number: u64, offset: i64) {
        let receipt = Answer::Acknowledged {
            order_id: id(NUMBER, number),
            partition: NUMBER,
            offset,
            replayed: false,
        };
        self.answer(number, receipt);
    }

    pub(super) fn fault(&mut self, phase: Phase) {
        let at = self.pass(SECOND * 2);
        self.ledger.push(Line::Fault {
            at,
            name: "kill-kafka".to_owned(),
            subjects: vec!["kafka".to_owned()],
            phase,
        });
    }

    /// An order in both topics.
    pub(super) fn accept(&mut self, number: u64, order_id: OrderId) -> i64 {
        let offset = self.orders.len() as i64;
        let order = Order {
            money: money(),
            order_id,
            time: BEGUN / 1000,
            user_id: self.run.user_id(number).to_string().parse().expect("a user"),
        };
        self.orders.push(order.to_record());
        self.shipments.push(shipped(Some(order_id), offset, Outcome::Shipped));
        self.committed = offset + 1;
        offset
    }

    /// The receipts from an offset on are for the next one.
    pub(super) fn move_receipts(&mut self, from: i64) {
        for line in &mut self.ledger {
            if let Line::Answer {
                answer: Answer::Acknowledged { offset, .. },
                ..
            } = line
                && *offset >= from
            {
                *offset += 1;
            }
        }
        self.committed += 1;
    }

    /// Writes it all to the broker.
    pub(super) async fn open(self) -> Opened {
        let kafka = real_kafka();
        create_topics(&kafka, 3).await;
        match self.transaction {
            None => write(&kafka, "order", NUMBER, None, &self.orders).await,
            Some(index) => {
                write(&kafka, "order", NUMBER, None, &self.orders[..index]).await;
                write_transaction(&kafka, self.orders[index].clone()).await;
                write(&kafka, "order", NUMBER, None, &self.orders[index + 1..]).await;
            }
        }
        let shipments: Vec<Vec<u8>> = self.shipments.iter().map(Shipment::to_record).collect();
        write(&kafka, "shipment", NUMBER, None, &shipments).await;
        commit(&kafka, self.committed).await;
        let mut figures = fold(&kafka).await;
        (self.adjust)(&mut figures);
        let directory = tempfile::tempdir().expect("a directory");
        let mut ledger = Ledger::open(&directory.path().join("ledger")).expect("a ledger");
        self.ledger.iter().for_each(|line| ledger.write(line).expect("written"));
        Opened {
            kafka,
            statistics: serve(figures.to_string()),
            directory,
        }
    }
}

pub(super) fn money() -> Money {
    "5".parse().expect("money")
}

/// An id of a replica, some milliseconds after all began.
pub(super) fn id(ordinal: u16, number: u64) -> OrderId {
    let mut ids = OrderIdGenerator::new(partition(ordinal).into(), None);
    ids.next(Timestamp::from_unix_millis(BEGUN + number)).expect("an id")
}

fn shipped(order_id: Option<OrderId>, order_offset: i64, outcome: Outcome) -> Shipment {
    Shipment {
        order_id,
        order_offset,
        outcome,
        mark: None,
        duplicate_of: None,
        detail: None,
        packed_at: None,
        shipped_at: None,
    }
}

async fn write_transaction(kafka: &kafka::Config, value: Vec<u8>) {
    let kafka = kafka.clone();
    let write = move || {
        let producer = TransactionalProducer::open(&kafka, "test", "test", "order", &CancellationToken::new(), |_| {});
        let record = Record {
            partition: i32::from(NUMBER),
            key: None,
            value: &value,
            timestamp: BEGUN.cast_signed(),
            headers: &[],
        };
        producer.expect("a producer").write([record]).expect("written");
    };
    spawn_blocking(write).await.expect("no panic");
}

/// Commits an offset for group `repository`.
async fn commit(kafka: &kafka::Config, offset: i64) {
    let consumer = Consumer::new(kafka, "test", "repository", "order", Fetch::Live).expect("a consumer");
    let metadata = String::new();
    consumer.commit(i32::from(NUMBER), &kafka::Committed { offset, metadata });
    eventually("the offset is committed", async || {
        let committed = consumer.committed(i32::from(NUMBER)).expect("an answer");
        committed.is_some_and(|committed| committed.offset == offset)
    })
    .await;
}

/// A statistics that has these figures, for as long as the test runs.
fn serve(figures: String) -> ServiceUrl {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.expect("a connection");
            let mut line = String::new();
            let mut reader = BufReader::new(connection.try_clone().expect("a socket"));
            while reader.read_line(&mut line).expect("a head") > 2 {
                line.clear();
            }
            // A failed write means that the audit has ended.
            let _ = write!(connection, "HTTP/1.0 200 OK\r\n\r\n{figures}");
        }
    });
    format!("http://{address}").parse().expect("a URL")
}

pub(super) struct Opened {
    pub(super) kafka: kafka::Config,
    pub(super) statistics: ServiceUrl,
    pub(super) directory: TempDir,
}

impl Opened {
    pub(super) fn ledger(&self) -> PathBuf {
        self.directory.path().join("ledger")
    }

    pub(super) async fn audit(&self) -> Report {
        super::audit(&self.kafka, Some(self.statistics.clone()), vec![self.ledger()]).await
    }
}
