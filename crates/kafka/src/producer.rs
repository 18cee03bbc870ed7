//! Records, each of them acknowledged.

use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};

use crate::Config;
use crate::connection::Connection;

/// How long a look at the cluster may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// The most records that go to the client that sends at once. With five records of a partition on their way librdkafka
/// keeps the rest back until these are acknowledged (it counts records where it means requests, its pull request 4989),
/// and its thread spins meanwhile: on a slow broker a core for each producer.
const FEW: usize = 4;
/// How long more records than that are gathered, so that all of them are in one request. Records that come meanwhile
/// are in the next, which is larger for it: a request and the threads that it wakes cost as much as the records in it.
const GATHERING: Duration = Duration::from_millis(3);

/// An idempotent producer (`acks=all`) for one topic.
pub struct Producer {
    config: Config,
    client_id: String,
    /// Sends what it gets at once.
    prompt: FutureProducer<Connection>,
    /// Gathers what it gets.
    patient: FutureProducer<Connection>,
    connection: Connection,
    topic: String,
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
    Rejected(KafkaError),
    /// It may or may not be in the log.
    #[error("it is unknown whether the record was written: {0}")]
    Unknown(KafkaError),
}

impl SendError {
    /// Sorts what a delivery report says. Only errors that come before the first attempt to write, or that a broker
    /// gives instead of writing, say that the record is not in the log. A purged record may be waiting for a retry.
    fn from_report(error: KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidRecord
                | RDKafkaErrorCode::TopicAuthorizationFailed,
            ) => Self::Rejected(error),
            _ => Self::Unknown(error),
        }
    }
}

impl Producer {
    /// Connects in the background.
    ///
    /// # Errors
    /// When librdkafka does not accept the configuration.
    pub fn new(config: &Config, client_id: &str, topic: &str) -> Result<Self, KafkaError> {
        let connection = Connection::new(client_id);
        Self::connect(config.clone(), client_id.to_owned(), config.name(topic), connection)
    }

    /// Another producer to use instead of this one: see [`RENEWAL`](crate::RENEWAL).
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn renewed(&self) -> Result<Self, KafkaError> {
        tracing::debug!(topic = self.topic, "writing goes on with another client");
        Self::connect(
            self.config.clone(),
            self.client_id.clone(),
            self.topic.clone(),
            self.connection.clone(),
        )
    }

    fn connect(config: Config, client_id: String, topic: String, connection: Connection) -> Result<Self, KafkaError> {
        let client = |linger| {
            config
                .producer(&client_id, linger)
                .create_with_context(connection.clone())
        };
        Ok(Self {
            prompt: client(Duration::ZERO)?,
            patient: client(GATHERING)?,
            config,
            client_id,
            connection,
            topic,
        })
    }

    /// Hands a record to the client; the returned future is the broker's word on it. The record is sent whether or
    /// not the future is awaited, and the future ends within `message.timeout.ms` and a bit. `together` is how many
    /// records are handed over before the first is awaited. They stay in order when all are awaited before the next.
    ///
    /// # Errors
    /// Rejected when it cannot be handed over: the queue is full, the partition unknown, the producer broken.
    pub fn send(
        &self,
        record: &Record<'_>,
        together: usize,
    ) -> Result<impl Future<Output = Result<Delivery, SendError>> + Send + use<>, SendError> {
        let mut message = FutureRecord::<str, [u8]>::to(&self.topic)
            .partition(record.partition)
            .payload(record.value)
            .timestamp(record.timestamp);
        message.key = record.key;
        if !record.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            let insert = |headers: OwnedHeaders, (key, value): &(&str, &str)| {
                headers.insert(Header {
                    key,
                    value: Some(*value),
                })
            };
            message = message.headers(record.headers.iter().fold(headers, insert));
        }
        let client = if together <= FEW { &self.prompt } else { &self.patient };
        let report = client
            .send_result(message)
            .map_err(|(error, _)| SendError::Rejected(error))?;
        Ok(Self::delivery(report, self.connection.clone()))
    }

    async fn delivery(report: DeliveryFuture, connection: Connection) -> Result<Delivery, SendError> {
        match report.await {
            Ok(Ok(delivery)) if delivery.offset >= 0 => {
                connection.up();
                Ok(Delivery {
                    offset: delivery.offset,
                })
            }
            // The broker had it already, from an earlier attempt, and no longer knows where.
            Ok(Ok(_)) => Err(SendError::Unknown(KafkaError::MessageProduction(
                RDKafkaErrorCode::DuplicateSequenceNumber,
            ))),
            Ok(Err((error, _))) => Err(SendError::from_report(error)),
            // The producer was dropped.
            Err(_) => Err(SendError::Unknown(KafkaError::Canceled)),
        }
    }

    /// Why this producer will never write again, if so: then a new one is needed.
    pub fn fatal_error(&self) -> Option<String> {
        let fatal = [&self.prompt, &self.patient].map(|client| client.client().fatal_error());
        let (code, reason) = fatal.into_iter().flatten().next()?;
        Some(format!("{code}: {reason}"))
    }

    /// Whether the client has lost all brokers since the last answer.
    pub fn is_disconnected(&self) -> bool {
        self.connection.is_down()
    }

    /// Looks whether records for `partition` can be written. Blocks for at most four seconds.
    ///
    /// # Errors
    /// The reason why not, as a sentence for an operator.
    pub fn probe(&self, partition: i32) -> Result<(), String> {
        // Of all topics: asking for one by name would create it where the broker allows that.
        let ask = |client: &FutureProducer<Connection>| client.client().fetch_metadata(None, PROBE_TIMEOUT);
        let metadata = match ask(&self.patient).and_then(|_| ask(&self.prompt)) {
            Ok(metadata) => metadata,
            Err(error) => {
                self.connection.down(&error.to_string());
                return Err(self.connection.outage(&error));
            }
        };
        self.connection.up();
        let topic = &self.topic;
        let partitions = match metadata.topics().iter().find(|found| found.name() == topic) {
            Some(found) => found.partitions(),
            None => return Err(format!("topic {topic:?} does not exist: run mall topics")),
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

    /// Waits until everything that was sent has its answer, and takes the clients down. Takes at most `timeout` and
    /// half a second.
    pub async fn close(self, timeout: Duration) {
        let close = move || {
            let begun = Instant::now();
            for client in [&self.prompt, &self.patient] {
                if let Err(error) = client.flush(timeout.saturating_sub(begun.elapsed())) {
                    tracing::warn!(topic = self.topic, %error, "records were still on their way when the producer closed");
                }
            }
        };
        // The task can only fail by a panic in librdkafka's wrapper, which has been logged.
        let _ = tokio::task::spawn_blocking(close).await;
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Producer")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_be_in_the_log_is_rejected() {
        let sort = |code| SendError::from_report(KafkaError::MessageProduction(code));
        for code in [
            RDKafkaErrorCode::UnknownPartition,
            RDKafkaErrorCode::MessageSizeTooLarge,
        ] {
            assert!(matches!(sort(code), SendError::Rejected(_)), "{code}");
        }
        let unknown = [
            RDKafkaErrorCode::MessageTimedOut,
            RDKafkaErrorCode::PurgeInflight,
            RDKafkaErrorCode::PurgeQueue,
            RDKafkaErrorCode::NotEnoughReplicasAfterAppend,
            RDKafkaErrorCode::Fatal,
        ];
        for code in unknown {
            assert!(matches!(sort(code), SendError::Unknown(_)), "{code}");
        }
    }
}
