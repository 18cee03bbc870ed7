//! Records, each of them acknowledged.

mod batch;
mod client;
mod error;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use self::batch::Batch;
use self::client::Client;
pub use self::error::SendError;
use crate::authorization::refuses_topic;
use crate::connection::Connection;
use crate::{Config, Forbidden};

/// How long a broker may take to answer both clients of a producer.
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);
/// The most records that go to the client that sends at once. With five records of a partition on their way librdkafka
/// keeps the rest back until these are acknowledged (it counts records where it means requests, its pull request 4989),
/// and its thread polls without a pause meanwhile: on a slow broker a core for each producer.
const FEW_RECORDS: usize = 4;
/// How long the other client gathers, so that a batch is one request. A batch is handed over in less than this.
const LINGER: Duration = Duration::from_micros(300);
/// How long a refusal of the authorizer stands: then a record is tried again, with another client where this one is
/// broken by it.
const REFUSAL: Duration = Duration::from_secs(3);
/// A batch is given up after this, and so are the clients. An order may have waited 500 ms before: a client has its answer
/// within 6 s.
const BATCH_TIMEOUT: Duration = Duration::from_millis(4500);

/// An idempotent producer (`acks=all`) for one topic.
#[derive(Debug)]
pub struct Producer(Arc<Shared>);

/// Looks after a [`Producer`], beside the one who sends with it.
#[derive(Clone, Debug)]
pub struct ProducerHealth(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: Config,
    client_id: String,
    topic: String,
    connection: Connection,
    clients: Mutex<Arc<Clients>>,
    /// When the authorizer has last refused to write.
    refused: Mutex<Option<Instant>>,
}

/// Two clients, because a single record is not to wait for others, and many are to share one request.
#[derive(Debug)]
struct Clients {
    prompt: Client,
    gathering: Client,
    /// The outcome of one of their records is unknown, or a broker did not answer. Nothing more is sent with them: when
    /// librdkafka times out a record whose answer is missing, it gives those after it new sequence numbers, and sends
    /// them again. Those that the broker has appended already would be in the log twice (seen with librdkafka 2.12).
    given_up: AtomicBool,
}

/// A record on its way to a partition.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The partition it goes to.
    pub partition: i32,
    /// Its key, if it has one.
    pub key: Option<&'a str>,
    /// Its value.
    pub value: &'a [u8],
    /// Its time, in Unix milliseconds.
    pub timestamp: i64,
    /// Its headers.
    pub headers: &'a [(&'a str, &'a str)],
}

/// The broker has the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Where in the partition it is.
    pub offset: i64,
}

impl Clients {
    fn create(config: &Config, client_id: &str, connection: &Connection) -> Result<Self, KafkaError> {
        let client = |linger| Client::create(&config.producer(client_id, linger), connection);
        Ok(Self {
            prompt: client(Duration::ZERO)?,
            gathering: client(LINGER)?,
            given_up: AtomicBool::new(false),
        })
    }

    fn both(&self) -> [&Client; 2] {
        [&self.prompt, &self.gathering]
    }

    fn fatal_error(&self) -> Option<KafkaError> {
        self.both().into_iter().find_map(Client::fatal_error)
    }
}

impl Shared {
    /// Which right is missing, while a refusal stands.
    fn refusal(&self) -> Option<Forbidden> {
        let refused = *self.refused.lock();
        let stands = refused.is_some_and(|refused| refused.elapsed() < REFUSAL);
        stands.then(|| self.forbidden())
    }

    /// Keeps in mind that the authorizer has refused.
    fn refuse(&self) {
        *self.refused.lock() = Some(Instant::now());
        self.connection.say_forbidden(&self.forbidden());
    }

    fn forbidden(&self) -> Forbidden {
        Forbidden::topic("Write", &self.topic)
    }

    /// The clients to use now: others than before when these will never write again.
    fn clients(&self) -> Arc<Clients> {
        let mut clients = self.clients.lock();
        let broken = clients.fatal_error();
        let forbidden = broken.as_ref().is_some_and(refuses_topic);
        if forbidden && self.refusal().is_some() {
            return Arc::clone(&clients);
        }
        if broken.is_some() || clients.given_up.load(Ordering::Relaxed) || self.connection.needs_renewal() {
            let client = self.client_id.as_str();
            match Clients::create(&self.config, client, &self.connection) {
                Ok(fresh) => {
                    match broken {
                        Some(_) if forbidden => self.refuse(),
                        Some(reason) => tracing::warn!(client, %reason, "the producer is broken and was replaced"),
                        None => {}
                    }
                    *clients = Arc::new(fresh);
                    self.connection.renewed();
                }
                Err(error) => tracing::error!(client, %error, "could not make another producer"),
            }
        }
        Arc::clone(&clients)
    }
}

impl Producer {
    /// Connects in the background.
    ///
    /// # Errors
    /// When librdkafka does not accept the configuration.
    pub fn new(config: &Config, client_id: &str, topic: &str) -> Result<Self, KafkaError> {
        let connection = Connection::new(client_id);
        let clients = Clients::create(config, client_id, &connection)?;
        Ok(Self(Arc::new(Shared {
            config: config.clone(),
            client_id: client_id.to_owned(),
            topic: config.name(topic),
            connection,
            clients: Mutex::new(Arc::new(clients)),
            refused: Mutex::default(),
        })))
    }

    /// The same producer for another sender. There is no order between batches of different senders.
    #[must_use]
    pub fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// Looks after this producer.
    pub fn health(&self) -> ProducerHealth {
        ProducerHealth(Arc::clone(&self.0))
    }

    /// Writes records, and says for each of them, in their order, where it is. The records of a batch are in the log
    /// before those of the next one, unless their outcome is unknown. Ends within 4.5 s.
    pub async fn send_batch(&mut self, records: &[Record<'_>]) -> Vec<Result<Delivery, SendError>> {
        let clients = self.0.clients();
        let client = if records.len() <= FEW_RECORDS {
            &clients.prompt
        } else {
            &clients.gathering
        };
        let (batch, complete) = Batch::new(records.len());
        for (index, record) in records.iter().enumerate() {
            if let Err(error) = client.send(&self.0.topic, record, batch.report(index)) {
                batch.settle(index, Err(SendError::NotWritten(error)));
            }
        }
        client.serve_reports();
        // Neither end is an error: what was not reported in time is unknown.
        let _ = timeout(BATCH_TIMEOUT, complete).await;
        let outcomes = batch.into_outcomes();
        if outcomes
            .iter()
            .any(|outcome| matches!(outcome, Err(SendError::Unknown(_))))
        {
            clients.given_up.store(true, Ordering::Relaxed);
        }
        let failed = outcomes.iter().find_map(|outcome| outcome.as_ref().err());
        if failed.is_some_and(|error| error.is_refused() || clients.fatal_error().as_ref().is_some_and(refuses_topic)) {
            self.0.refuse();
        }
        outcomes
    }

    /// Waits until everything that was sent has its answer, and takes both clients down. Takes at most `timeout` and
    /// two seconds.
    pub async fn close(self, timeout: Duration) {
        let clients = self.0.clients();
        let topic = self.0.topic.clone();
        let close = move || {
            let deadline = Instant::now() + timeout;
            for client in clients.both() {
                if let Err(error) = client.close(deadline.saturating_duration_since(Instant::now())) {
                    tracing::warn!(topic, %error, "records were still on their way when the producer was closed");
                }
            }
        };
        // The task can only fail by a panic in librdkafka's wrapper, which has been logged.
        let _ = spawn_blocking(close).await;
    }
}

impl ProducerHealth {
    /// Whether the producer has lost all brokers since the last answer, or was lately not allowed to write.
    pub fn is_doubtful(&self) -> bool {
        self.0.connection.is_down() || self.0.refusal().is_some()
    }

    /// Asks the broker whether records for `partition` can be written. Replaces clients that are broken, that get no
    /// answer, or that have reached no broker for [`RENEWAL`](crate::RENEWAL). Takes at most four seconds.
    ///
    /// # Errors
    /// The reason why not, as a sentence for an operator.
    pub async fn check(&self, partition: i32) -> Result<(), String> {
        let shared = Arc::clone(&self.0);
        spawn_blocking(move || shared.check(partition))
            .await
            .unwrap_or_else(|panicked| Err(panicked.to_string()))
    }
}

impl Shared {
    /// Asks over the connections of both clients.
    fn metadata(&self, clients: &Clients) -> Result<Metadata, KafkaError> {
        let deadline = Instant::now() + METADATA_TIMEOUT;
        clients.gathering.metadata(&self.topic, METADATA_TIMEOUT)?;
        let rest = deadline.saturating_duration_since(Instant::now());
        clients.prompt.metadata(&self.topic, rest)
    }

    fn check(&self, partition: i32) -> Result<(), String> {
        let (clients, topic) = (self.clients(), &self.topic);
        if let Some(forbidden) = self.refusal() {
            return Err(forbidden.to_string());
        }
        let metadata = match self.metadata(&clients) {
            // After the own address has changed, connections of before end only by a timeout: new ones are tried at once.
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::OperationTimedOut) => {
                clients.given_up.store(true, Ordering::Relaxed);
                self.metadata(&self.clients())
            }
            answer => answer,
        };
        let metadata = metadata.map_err(|error| {
            self.connection.down(&error.to_string());
            self.connection.outage(&error)
        })?;
        self.connection.up();
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let partitions = match found.map(|found| (found.partitions(), found.error())) {
            Some((partitions @ [_, ..], _)) => partitions,
            Some((_, Some(error))) if RDKafkaErrorCode::from(error) == RDKafkaErrorCode::TopicAuthorizationFailed => {
                return Err(self.forbidden().to_string());
            }
            _ => return Err(format!("topic {topic:?} does not exist: run mall topics")),
        };
        match partitions.iter().find(|found| found.id() == partition) {
            None => Err(format!(
                "topic {topic:?} has {} partitions, none with the number {partition}: run mall topics --grow",
                partitions.len()
            )),
            Some(found) if found.leader() < 0 => Err(format!("partition {partition} of topic {topic:?} has no leader")),
            Some(_) => Ok(()),
        }
    }
}
