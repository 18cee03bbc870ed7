//! A mall as logs, figures and a ledger show it. Records are written as the contract has them, not by the code of the mall.

use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;

use kafka::{Producer, Record, TransactionalProducer};
use lab::audit::Report;
use lab::ledger::{Answer, Ledger, Line, Phase, Run};
use lab::{OrderId, ServiceUrl};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::support::{PATIENCE, create_topics, real_kafka, run_audit, write};

/// The region under test.
pub(super) const NUMBER: u16 = 1;
/// When it all begins, in Unix milliseconds.
const BEGUN: u64 = 1_790_000_000_000;
const MONEY: u32 = 5;

/// A mall as its topics, its statistics and a ledger show it. It is damaged before it is written.
pub(super) struct Scene {
    orders: Vec<Order>,
    pub(super) shipments: Vec<Value>,
    /// The last order is written in a transaction, whose end takes an offset.
    transaction: bool,
    ledger: Vec<Line>,
    at: u64,
}

/// A record of topic `order`.
#[derive(Clone)]
struct Order {
    value: Vec<u8>,
    key: Option<String>,
    request: String,
}

impl Scene {
    /// Six orders that were acknowledged, one of them twice in the log, and one that was refused.
    pub(super) fn sound() -> Self {
        let (run, at) = (Run::draw(), BEGUN * 1000);
        let begin = Line::Run {
            at,
            run,
            gateway: "http://gateway".to_owned(),
        };
        let mut scene = Self {
            orders: Vec::new(),
            shipments: Vec::new(),
            transaction: false,
            ledger: vec![begin],
            at,
        };
        scene.beat(0);
        (0..5).for_each(|number| {
            scene.attempt(number, None);
            scene.write(run.user_id(number), None, None);
            scene.acknowledge(number);
        });
        let key = format!("load-{}", run.user_id(5));
        scene.attempt(5, Some(&key));
        let first = scene.write(run.user_id(5), Some(&key), None);
        // The connection broke; the retry has an id of its own.
        let unknown = Answer::Unknown {
            status: None,
            order_id: None,
        };
        scene.answer(5, unknown);
        scene.attempt(5, Some(&key));
        scene.write(run.user_id(5), Some(&key), Some(first));
        scene.acknowledge(5);
        scene.attempt(6, None);
        scene.answer(6, Answer::Refused { status: Some(503) });
        scene.beat(7);
        // What is not acknowledged needs a fault that explains it.
        for (phase, after) in [(Phase::Begun, 10_500), (Phase::Seen, 10_500), (Phase::Healed, 20_000)] {
            let (name, subjects) = ("kill-order".to_owned(), vec!["order-1".to_owned()]);
            let at = BEGUN * 1000 + after;
            scene.ledger.push(Line::Fault {
                at,
                name,
                subjects,
                phase,
            });
        }
        scene
    }

    fn pass(&mut self) -> u64 {
        self.at += 1000;
        self.at
    }

    fn beat(&mut self, sent: u64) {
        let at = self.pass();
        self.ledger.push(Line::Beat { at, due: sent, sent });
    }

    fn attempt(&mut self, order: u64, key: Option<&str>) {
        let at = self.pass();
        self.ledger.push(Line::Attempt {
            at,
            order,
            partition: NUMBER,
            money: MONEY,
            key: key.map(str::to_owned),
        });
    }

    fn answer(&mut self, order: u64, answer: Answer) {
        let at = self.pass();
        self.ledger.push(Line::Answer { at, order, answer });
    }

    /// Acknowledges the last record.
    fn acknowledge(&mut self, number: u64) {
        let offset = self.orders.len() as i64 - 1;
        let receipt = Answer::Acknowledged {
            order_id: self.id(offset),
            partition: NUMBER,
            offset,
            replayed: false,
        };
        self.answer(number, receipt);
    }

    fn id(&self, offset: i64) -> OrderId {
        OrderId::new(BEGUN + offset.cast_unsigned(), NUMBER, 0)
    }

    /// An order in both topics; a duplicate of another, if there is one. Returns its offset.
    fn write(&mut self, user: u64, key: Option<&str>, duplicate_of: Option<i64>) -> i64 {
        let offset = self.orders.len() as i64;
        let (id, user) = (self.id(offset).to_string(), user.to_string());
        let value = json!({"money": MONEY, "order_id": id, "time": BEGUN / 1000, "user_id": user});
        self.orders.push(Order {
            value: value.to_string().into_bytes(),
            key: key.map(str::to_owned),
            request: format!("money={MONEY}&user_id={user}"),
        });
        let mark = duplicate_of.unwrap_or(offset);
        self.shipments.push(json!({
            "order_id": id,
            "order_offset": offset,
            "outcome": if duplicate_of.is_some() { "duplicate" } else { "shipped" },
            "mark": format!("{mark:032x}"),
            "duplicate_of": duplicate_of.map(|of| self.id(of).to_string()),
            "detail": null,
            "packed_at": null,
            "shipped_at": null,
        }));
        offset
    }

    /// An order that is not of the ledger, in a transaction.
    pub(super) fn write_in_transaction(&mut self) {
        self.write(5, None, None);
        self.transaction = true;
    }

    /// Writes it all to the broker.
    pub(super) async fn open(self) -> Opened {
        let kafka = real_kafka();
        create_topics(&kafka, 3).await;
        let first = self.orders.len() - usize::from(self.transaction);
        write_orders(&kafka, &self.orders[..first]).await;
        if first < self.orders.len() {
            write_transaction(&kafka, self.orders[first..].to_vec()).await;
        }
        let shipments: Vec<Vec<u8>> = self
            .shipments
            .iter()
            .map(|shipment| shipment.to_string().into_bytes())
            .collect();
        write(&kafka, "shipment", NUMBER, None, &shipments).await;
        let directory = tempfile::tempdir().expect("a directory");
        let mut ledger = Ledger::open(&directory.path().join("ledger")).expect("a ledger");
        self.ledger.iter().for_each(|line| ledger.write(line).expect("written"));
        Opened {
            kafka,
            statistics: serve(self.figures().to_string()),
            directory,
        }
    }

    /// What statistics shows.
    fn figures(&self) -> Value {
        let of = |outcome: &str| {
            self.shipments
                .iter()
                .filter(|shipment| shipment["outcome"] == outcome)
                .count()
        };
        let orders = self.orders.len();
        let own = json!({
            "orders": orders,
            "money": orders * MONEY as usize,
            "shipped": of("shipped"),
            "duplicates": of("duplicate"),
            "rejected": 0,
        });
        let none = json!({"orders": 0, "money": 0, "shipped": 0, "duplicates": 0, "rejected": 0});
        let end = orders + usize::from(self.transaction);
        json!({
            "regions": [none, own, none],
            "total": own,
            "offsets": {"order": [0, end, 0], "shipment": [0, self.shipments.len(), 0]},
        })
    }
}

fn headers(order: &Order) -> Vec<(&str, &str)> {
    let request = ("idempotency-request", order.request.as_str());
    order
        .key
        .iter()
        .flat_map(|key| [("idempotency-key", key.as_str()), request])
        .collect()
}

async fn write_orders(kafka: &kafka::Config, orders: &[Order]) {
    let headers: Vec<_> = orders.iter().map(headers).collect();
    let records: Vec<Record<'_>> = orders
        .iter()
        .zip(&headers)
        .map(|(order, headers)| Record {
            partition: i32::from(NUMBER),
            key: None,
            value: &order.value,
            timestamp: BEGUN.cast_signed(),
            headers,
        })
        .collect();
    let mut producer = Producer::new(kafka, "test", "order").expect("a producer");
    for outcome in producer.send_batch(&records).await {
        outcome.expect("delivered");
    }
    producer.close(PATIENCE).await;
}

async fn write_transaction(kafka: &kafka::Config, orders: Vec<Order>) {
    let kafka = kafka.clone();
    let write = move || {
        let producer = TransactionalProducer::open(&kafka, "test", "test", "order", &CancellationToken::new(), |_| {});
        let headers: Vec<_> = orders.iter().map(headers).collect();
        let records = orders.iter().zip(&headers).map(|(order, headers)| Record {
            partition: i32::from(NUMBER),
            key: None,
            value: &order.value,
            timestamp: BEGUN.cast_signed(),
            headers,
        });
        producer.expect("a producer").write(records).expect("written");
    };
    spawn_blocking(write).await.expect("no panic");
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
    directory: TempDir,
}

impl Opened {
    pub(super) fn ledger(&self) -> PathBuf {
        self.directory.path().join("ledger")
    }

    pub(super) async fn audit(&self) -> Report {
        run_audit(&self.kafka, Some(self.statistics.clone()), vec![self.ledger()]).await
    }
}
