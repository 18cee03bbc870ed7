//! What a test has asked of the mall and was told, in a ledger, and whether it is true: that is what `mall audit` says.

use std::net::SocketAddr;
use std::path::PathBuf;

use domain::Money;
use hyper::StatusCode;
use lab::ServiceUrl;
use lab::audit::{self, Kafka, Options, Report, Verdict};
use lab::ledger::{self, Answer, Ledger, Line, Phase, Run};
use lab::load::now;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::client::NoReply;
use super::{Client, Reply, eventually, order_ids, shipments};

/// What a test has asked and was told.
pub(crate) struct Told {
    directory: TempDir,
    run: Run,
    orders: u64,
}

/// How many orders came to what in the end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) acknowledged: usize,
    pub(crate) refused: usize,
    pub(crate) unknown: usize,
}

/// An order that was written down and is about to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    number: u64,
    pub(crate) partition: u16,
    pub(crate) money: Money,
    pub(crate) user_id: u64,
}

impl Asked {
    /// As a client posts it to the gateway.
    pub(crate) fn form(self) -> String {
        let Self {
            partition,
            money,
            user_id,
            ..
        } = self;
        format!("partition={partition}&money={money}&user_id={user_id}")
    }
}

impl Told {
    /// Nothing was asked.
    pub(crate) fn new() -> Self {
        let told = Self {
            directory: tempfile::tempdir().expect("a directory"),
            run: Run::draw(),
            orders: 0,
        };
        told.write(&Line::Run {
            at: now(),
            run: told.run,
            gateway: String::new(),
        });
        // What a test does to the mall has no lines of its own: none of its time counts as untouched.
        told.write(&Line::Fault {
            at: now(),
            name: "test".to_owned(),
            subjects: Vec::new(),
            phase: Phase::Begun,
        });
        told
    }

    /// The ledger, for `mall load` to go on with.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("ledger")
    }

    fn write(&self, line: &Line) {
        let ledger = Ledger::open(&self.path());
        ledger.and_then(|mut ledger| ledger.write(line)).expect("a ledger");
    }

    /// Writes down that an order is about to be sent.
    pub(crate) fn ask(&mut self, partition: u16) -> Asked {
        let number = self.orders;
        self.orders += 1;
        let asked = Asked {
            number,
            partition,
            money: Money::try_from((number % 1000).cast_signed()).expect("an amount"),
            user_id: self.run.user_id(number),
        };
        self.write(&Line::Attempt {
            at: now(),
            order: number,
            partition,
            money: asked.money.get(),
            key: None,
        });
        asked
    }

    /// Writes down what became of it.
    pub(crate) fn answer(&self, asked: Asked, answer: Answer) {
        self.write(&Line::Answer {
            at: now(),
            order: asked.number,
            answer,
        });
    }

    /// Writes down the reply to it. Returns whether it was taken.
    pub(crate) fn reply(&self, asked: Asked, reply: &Result<Reply, NoReply>) -> bool {
        let answer = answer(reply);
        let taken = matches!(answer, Answer::Acknowledged { .. });
        self.answer(asked, answer);
        taken
    }

    /// Orders something. Returns whether it was taken.
    pub(crate) async fn order(&mut self, client: &Client, gateway: SocketAddr, partition: u16) -> bool {
        let asked = self.ask(partition);
        let reply = client.try_order(gateway, &asked.form()).await;
        self.reply(asked, &reply)
    }

    /// What the orders came to.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        let mut pending = 0;
        ledger::read(&self.path(), |line| {
            match line {
                Line::Attempt { .. } => pending += 1,
                Line::Answer { answer, .. } => {
                    pending -= 1;
                    match answer {
                        Answer::Acknowledged { .. } => counts.acknowledged += 1,
                        Answer::Refused { .. } => counts.refused += 1,
                        Answer::Unknown { .. } => counts.unknown += 1,
                    }
                }
                Line::Run { .. } | Line::Beat { .. } | Line::Fault { .. } => {}
            }
            Ok(())
        })
        .expect("a ledger");
        counts.unknown += pending;
        counts
    }

    /// Waits until each order in the log has an outcome, and audits everything.
    pub(crate) async fn verify(&self, kafka: &kafka::Config) {
        for partition in 0..3 {
            let orders = order_ids(kafka, partition).await.len();
            let what = format!("every order of partition {partition} has an outcome");
            eventually(&what, async || shipments(kafka, partition).await.len() >= orders).await;
        }
        let report = run_audit(kafka, None, vec![self.path()]).await;
        assert_ne!(report.verdict, Verdict::Broken, "{}", report.render());
    }
}

/// Audits a mall of three regions.
pub(crate) async fn run_audit(kafka: &kafka::Config, statistics: Option<ServiceUrl>, ledgers: Vec<PathBuf>) -> Report {
    let kafka = Kafka {
        bootstrap_servers: kafka.bootstrap_servers.clone(),
        prefix: kafka.prefix.clone(),
        properties: Vec::new(),
    };
    let options = Options {
        kafka,
        regions: 3,
        statistics,
        ledgers,
    };
    let report = audit::run(&options, &CancellationToken::new(), |_| {}).await;
    report.expect("a mall that can be read")
}

fn answer(reply: &Result<Reply, NoReply>) -> Answer {
    let unknown = |status| Answer::Unknown { status, order_id: None };
    let reply = match reply {
        Ok(reply) => reply,
        Err(NoReply::NotSent(_)) => return Answer::Refused { status: None },
        Err(NoReply::Broken(_)) => return unknown(None),
    };
    let status = Some(reply.status.as_u16());
    match reply.status {
        StatusCode::OK => {
            let receipt = reply.json();
            let number = |name: &str| receipt[name].as_i64().expect("a number");
            Answer::Acknowledged {
                order_id: reply.order_id().parse().expect("an id"),
                partition: u16::try_from(number("partition")).expect("a partition"),
                offset: number("offset"),
                replayed: false,
            }
        }
        StatusCode::SERVICE_UNAVAILABLE => Answer::Refused { status },
        StatusCode::GATEWAY_TIMEOUT => unknown(status),
        status => panic!("{status}: {}", reply.text),
    }
}
