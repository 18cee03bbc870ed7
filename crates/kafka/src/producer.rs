//! Records, each of them acknowledged.

mod client;
mod error;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::task::spawn_blocking;
use tokio::time::{timeout, timeout_at};

use self::client::Client;
pub use self::error::SendError;
use crate::authorization::refuses_topic;
use crate::connection::Connection;
use crate::{Config, Forbidden, Record};

/// Timeout of one request for the partitions of the topic.
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);
/// A refusal of the authorizer stands for this long: then a record is tried again, with another client where this one
/// is broken by it.
const REFUSAL: Duration = Duration::from_secs(3);
/// A batch and its client are given up after this. An order may have waited 500 ms before: its sender has an answer
/// within 6 s.
const BATCH_TIMEOUT: Duration = Duration::from_millis(4500);

/// An idempotent producer (`acks=all`) for one topic.
#[derive(Debug)]
pub struct Producer(Arc<Shared>);

/// Looks after a [`Producer`], beside the one that sends with it.
#[derive(Clone, Debug)]
pub struct ProducerHealth(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: Config,
    client_id: String,
    topic: String,
    connection: Connection,
    client: Mutex<Arc<Client>>,
    /// When the authorizer has last refused to write.
    refused: Mutex<Option<Instant>>,
}

/// The broker has the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The offset of the record in its partition.
    pub offset: i64,
}

impl Shared {
    /// The right that is missing, while a refusal stands.
    fn refusal(&self) -> Option<Forbidden> {
        let refused = *self.refused.lock();
        let stands = refused.is_some_and(|refused| refused.elapsed() < REFUSAL);
        stands.then(|| self.forbidden())
    }

    /// Begins a refusal.
    fn refuse(&self) {
        *self.refused.lock() = Some(Instant::now());
        self.connection.say_forbidden(&self.forbidden());
    }

    fn forbidden(&self) -> Forbidden {
        Forbidden::topic("Write", &self.topic)
    }

    /// The client to use now. Replaces one that will never write again.
    fn client(&self) -> Arc<Client> {
        let mut client = self.client.lock();
        let fatal = client.fatal_error();
        let forbidden = fatal.as_ref().is_some_and(refuses_topic);
        let replace = fatal.is_some() || client.is_given_up() || self.connection.needs_renewal();
        if !replace || (forbidden && self.refusal().is_some()) {
            return Arc::clone(&client);
        }
        let name = self.client_id.as_str();
        match Client::create(&self.config.producer(name), &self.connection) {
            Ok(fresh) => {
                *client = Arc::new(fresh);
                self.connection.renewed();
            }
            Err(error) => {
                tracing::error!(client = name, %error, "could not make another producer");
                return Arc::clone(&client);
            }
        }
        match fatal {
            Some(_) if forbidden => self.refuse(),
            Some(reason) => tracing::warn!(client = name, %reason, "the producer is broken and was replaced"),
            None => {}
        }
        Arc::clone(&client)
    }
}

impl Producer {
    /// Connects in the background.
    ///
    /// # Errors
    /// If librdkafka does not accept the configuration.
    pub fn new(config: &Config, client_id: &str, topic: &str) -> Result<Self, KafkaError> {
        let connection = Connection::new(client_id);
        let client = Client::create(&config.producer(client_id), &connection)?;
        Ok(Self(Arc::new(Shared {
            config: config.clone(),
            client_id: client_id.to_owned(),
            topic: config.name(topic),
            connection,
            client: Mutex::new(Arc::new(client)),
            refused: Mutex::default(),
        })))
    }

    /// Looks after this producer.
    pub fn health(&self) -> ProducerHealth {
        ProducerHealth(Arc::clone(&self.0))
    }

    /// Writes records in one request, and returns the outcome of each, in their order. The records of a batch are in the
    /// log before those of the next one, unless their outcome is unknown. Ends within 4.5 s.
    pub async fn send_batch(&mut self, records: &[Record<'_>]) -> Vec<Result<Delivery, SendError>> {
        let deadline = tokio::time::Instant::now() + BATCH_TIMEOUT;
        let client = self.0.client();
        let reports = match client.send(&self.0.topic, records).await {
            Ok(reports) => reports,
            Err(closed) => return vec![Err(SendError::NotWritten(closed)); records.len()],
        };
        let mut outcomes = Vec::with_capacity(records.len());
        for report in reports {
            outcomes.push(match timeout_at(deadline, report).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) | Err(_) => Err(SendError::timed_out()),
            });
        }
        if outcomes
            .iter()
            .any(|outcome| matches!(outcome, Err(SendError::Unknown(_))))
        {
            // When librdkafka times out a record whose answer is missing, it sends the records after it again under new
            // sequence numbers: a record that the broker had appended is then in the log twice (seen with 2.12).
            client.give_up();
        }
        let failed = outcomes.iter().find_map(|outcome| outcome.as_ref().err());
        if failed.is_some_and(|error| error.is_refused() || client.fatal_error().as_ref().is_some_and(refuses_topic)) {
            self.0.refuse();
        }
        outcomes
    }

    /// Waits until the last batch has its outcomes and the client has closed its connections, for at most `limit`.
    pub async fn close(self, limit: Duration) {
        let client = Arc::clone(&self.0.client.lock());
        // The task can only fail by a panic in rdkafka, which has been logged.
        if timeout(limit, spawn_blocking(move || client.close())).await.is_err() {
            tracing::warn!(
                topic = self.0.topic,
                "the producer was still closing its connections when its time was over"
            );
        }
    }
}

impl ProducerHealth {
    /// Returns `true` if the producer has lost all brokers since the last answer, or a refusal of the authorizer stands.
    pub fn is_doubtful(&self) -> bool {
        self.0.connection.is_down() || self.0.refusal().is_some()
    }

    /// Asks the broker whether records for `partition` can be written. Replaces a client that is broken, that gets no
    /// answer, or that has reached no broker for [`RENEWAL`](crate::RENEWAL). Takes at most four seconds.
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
    fn check(&self, partition: i32) -> Result<(), String> {
        let (client, topic) = (self.client(), &self.topic);
        if let Some(forbidden) = self.refusal() {
            return Err(forbidden.to_string());
        }
        let metadata = match client.metadata(topic, METADATA_TIMEOUT) {
            // After this machine's address has changed, old connections only end by a timeout: try new ones at once.
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::OperationTimedOut) => {
                client.give_up();
                self.client().metadata(topic, METADATA_TIMEOUT)
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
