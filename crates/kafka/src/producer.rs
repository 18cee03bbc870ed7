//! Records, each of them acknowledged.

mod batch;
mod client;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use self::batch::Batch;
use self::client::Client;
use crate::Config;
use crate::connection::Connection;

/// How long a request for metadata may take.
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);
/// The most records that go to the client that sends at once. With five records of a partition on their way librdkafka
/// keeps the rest back until these are acknowledged (it counts records where it means requests, its pull request 4989),
/// and its thread polls without a pause meanwhile: on a slow broker a core for each producer.
const FEW_RECORDS: usize = 4;
/// How long the other client gathers, so that a batch is one request. A batch is handed over in less than this.
const LINGER: Duration = Duration::from_micros(300);
/// A batch is given up after this: `message.timeout.ms` and the half second that librdkafka may notice it late.
const BATCH_TIMEOUT: Duration = Duration::from_millis(5200);

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
}

/// Two clients, because a single record is not to wait for others, and many are to share one request.
#[derive(Debug)]
struct Clients {
    prompt: Client,
    gathering: Client,
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

/// A record was not acknowledged.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SendError {
    /// It is not in the log and will not be.
    #[error("the record was not written: {0}")]
    NotWritten(KafkaError),
    /// It may or may not be in the log.
    #[error("it is unknown whether the record was written: {0}")]
    Unknown(KafkaError),
}

impl SendError {
    /// Sorts the error of a delivery report. Only these two are certain: the broker has looked at the record and refused
    /// it. Any other error, that of a missing topic too, can come after an earlier attempt that was appended and whose
    /// acknowledgement was lost.
    fn from_report(error: KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidRecord) => Self::NotWritten(error),
            _ => Self::Unknown(error),
        }
    }
}

impl Clients {
    fn create(config: &Config, client_id: &str, connection: &Connection) -> Result<Self, KafkaError> {
        let client = |linger| Client::create(&config.producer(client_id, linger), connection);
        Ok(Self {
            prompt: client(Duration::ZERO)?,
            gathering: client(LINGER)?,
        })
    }

    fn both(&self) -> [&Client; 2] {
        [&self.prompt, &self.gathering]
    }
}

impl Shared {
    /// The clients to use now: others than before when these will never write again.
    fn clients(&self) -> Arc<Clients> {
        let mut clients = self.clients.lock();
        let broken = clients.both().into_iter().find_map(Client::fatal_error);
        if broken.is_some() || self.connection.needs_renewal() {
            let client = self.client_id.as_str();
            match Clients::create(&self.config, client, &self.connection) {
                Ok(fresh) => {
                    if let Some(reason) = broken {
                        tracing::warn!(client, reason, "the producer is broken and was replaced");
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
        })))
    }

    /// Looks after this producer.
    pub fn health(&self) -> ProducerHealth {
        ProducerHealth(Arc::clone(&self.0))
    }

    /// Writes records, and says for each of them, in their order, where it is. The records of a batch are in the log
    /// before those of the next one, unless their outcome is unknown. Ends within 5.2 s.
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
        batch.into_outcomes()
    }

    /// Waits until everything that was sent has its answer, and takes the clients down. Takes at most `timeout` and a
    /// second.
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
    /// Whether the producer has lost all brokers since the last answer.
    pub fn is_disconnected(&self) -> bool {
        self.0.connection.is_down()
    }

    /// Asks the broker whether records for `partition` can be written. Replaces clients that are broken, or that have
    /// reached no broker for [`RENEWAL`](crate::RENEWAL). Takes at most four seconds.
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
        let (clients, topic) = (self.clients(), &self.topic);
        // Both: each has connections of its own.
        let metadata = clients
            .gathering
            .metadata(topic, METADATA_TIMEOUT)
            .and_then(|_| clients.prompt.metadata(topic, METADATA_TIMEOUT));
        let metadata = metadata.map_err(|error| {
            self.connection.down(&error.to_string());
            self.connection.outage(&error)
        })?;
        self.connection.up();
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let partitions = match found.map(|found| (found.partitions(), found.error())) {
            Some((partitions @ [_, ..], _)) => partitions,
            Some((_, Some(error))) if RDKafkaErrorCode::from(error) == RDKafkaErrorCode::TopicAuthorizationFailed => {
                return Err(format!(
                    "kafka does not allow access to topic {topic:?}: grant Describe and Write"
                ));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_record_that_the_broker_refused_is_certainly_not_written() {
        let sort = |code| SendError::from_report(KafkaError::MessageProduction(code));
        for code in [RDKafkaErrorCode::MessageSizeTooLarge, RDKafkaErrorCode::InvalidRecord] {
            assert!(matches!(sort(code), SendError::NotWritten(_)), "{code}");
        }
        for code in [
            RDKafkaErrorCode::UnknownTopic,
            RDKafkaErrorCode::UnknownPartition,
            RDKafkaErrorCode::UnknownTopicOrPartition,
            RDKafkaErrorCode::TopicAuthorizationFailed,
            RDKafkaErrorCode::MessageTimedOut,
            RDKafkaErrorCode::PurgeInflight,
            RDKafkaErrorCode::PurgeQueue,
            RDKafkaErrorCode::NotEnoughReplicasAfterAppend,
            RDKafkaErrorCode::Fatal,
        ] {
            assert!(matches!(sort(code), SendError::Unknown(_)), "{code}");
        }
    }
}
