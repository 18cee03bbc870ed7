//! The records of assigned partitions of one topic, or of several that share a client.
//!
//! Nothing is subscribed, and no position is taken from the broker: the caller says where each partition starts.
//! Aborted and open transactions are not seen. All functions block, for a bounded time.

mod error;
mod queries;
mod range;
mod record;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

pub use self::error::ConsumeError;
use self::error::{ErrorClass, classify};
pub use self::queries::{Committed, Watermarks};
pub use self::range::{RangeProgress, ReadLimits};
pub use self::record::ConsumedRecord;
use crate::closing::BoundedClose;
use crate::connection::{Connection, wait_for_broker};
use crate::{Config, Forbidden};

/// Timeout of a question to the broker.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// The amount that a consumer fetches at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// Records as they come: fetches again when all fetched records have been taken.
    Live,
    /// Many records at once: fetches ahead, and needs some 60 MiB for it.
    Bulk,
    /// A few records here and there: most of what is fetched would be thrown away.
    Sparse,
}

/// Reads partitions of one topic.
pub struct Consumer {
    config: ClientConfig,
    consumer: Arc<BoundedClose<BaseConsumer<Connection>>>,
    connection: Connection,
    topic: String,
}

/// The next thing that a consumer has to tell.
#[derive(Debug)]
pub enum Event<'a> {
    /// A record.
    Record(ConsumedRecord<'a>),
    /// The broker had no more records of this partition. A follower or a new leader can say so too early.
    End(i32),
    /// The broker does not serve a partition, for this reason. The client goes on trying.
    Interrupted(ConsumeError),
    /// Nothing, or an outage that may pass: see [`Consumer::is_disconnected`].
    Idle,
}

impl Consumer {
    /// Connects in the background; nothing is read until [`Self::assign`].
    ///
    /// # Errors
    /// When librdkafka does not accept the configuration.
    pub fn new(config: &Config, client_id: &str, group: &str, topic: &str, fetch: Fetch) -> Result<Self, KafkaError> {
        let client = match fetch {
            Fetch::Live => config.consumer(client_id, group),
            Fetch::Bulk => config.bulk_consumer(client_id, group),
            Fetch::Sparse => config.sparse_consumer(client_id, group),
        };
        let connection = Connection::of_consumer(client_id, &config.name(group));
        Ok(Self {
            consumer: create(&client, &connection)?,
            config: client,
            connection,
            topic: config.name(topic),
        })
    }

    /// Returns a consumer of another topic that shares this one's client: a poll of either returns the events of both,
    /// and [`Self::assign`] of either replaces what both have been assigned.
    #[must_use]
    pub fn sharing_client(&self, config: &Config, topic: &str) -> Self {
        Self {
            consumer: Arc::clone(&self.consumer),
            config: self.config.clone(),
            connection: self.connection.clone(),
            topic: config.name(topic),
        }
    }

    /// Takes the client of another consumer.
    pub fn share_client_of(&mut self, other: &Self) {
        self.consumer = Arc::clone(&other.consumer);
    }

    /// Returns the name of the topic in the cluster.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Replaces the client by one that has nothing assigned: see [`RENEWAL`](crate::RENEWAL). A consumer that shares the
    /// old client keeps it until [`Self::share_client_of`].
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn renew(&mut self) -> Result<(), KafkaError> {
        self.consumer = create(&self.config, &self.connection)?;
        self.connection.renewed();
        Ok(())
    }

    /// Returns `true` if the client has reached no broker for [`RENEWAL`](crate::RENEWAL). It notices only when it is
    /// asked something, so ask while [`Self::is_disconnected`].
    pub fn needs_renewal(&self) -> bool {
        self.connection.needs_renewal()
    }

    /// Waits until a broker is connected. A question to a new client takes up to a second longer without this.
    ///
    /// # Errors
    /// When no broker answers within ten seconds.
    pub fn wait_for_broker(&self) -> Result<(), ConsumeError> {
        wait_for_broker(self.consumer.client(), &self.topic, ASK_TIMEOUT).map_err(self.error("ask for the brokers"))
    }

    fn error(&self, action: &'static str) -> impl FnOnce(KafkaError) -> ConsumeError {
        move |source| {
            let topic = self.topic.clone();
            match source.rdkafka_error_code().map(classify) {
                Some(ErrorClass::TopicForbidden) => self.forbidden(),
                Some(ErrorClass::GroupForbidden) => Forbidden::group("Read", self.connection.group()).into(),
                _ => ConsumeError::Kafka { topic, action, source },
            }
        }
    }

    fn forbidden(&self) -> ConsumeError {
        Forbidden::topic("Read", &self.topic).into()
    }

    fn list(&self, positions: impl IntoIterator<Item = (i32, Offset)>) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in positions {
            list.add_partition_offset(&self.topic, partition, offset)?;
        }
        Ok(list)
    }

    /// Reads these partitions from these positions, instead of what was assigned before.
    ///
    /// # Errors
    /// When the client refuses.
    pub fn assign(&self, positions: impl IntoIterator<Item = (i32, i64)>) -> Result<(), ConsumeError> {
        let positions = positions
            .into_iter()
            .map(|(partition, offset)| (partition, Offset::Offset(offset)));
        self.list(positions)
            .and_then(|list| self.replace_assignment(&list))
            .map_err(self.error("assign partitions"))
    }

    /// Assigns, and waits until the partitions that were assigned before have stopped. If one of them left the next
    /// assignment before it has stopped, librdkafka would abort the process
    /// (<https://github.com/confluentinc/librdkafka/issues/5573>). Its main thread stops them before it answers a question.
    fn replace_assignment(&self, list: &TopicPartitionList) -> Result<(), KafkaError> {
        self.consumer.assign(list)?;
        self.consumer.assignment().map(|_| ())
    }

    /// Reads a partition of this topic and of others that share the client, from these positions, instead of what was
    /// assigned before. All at once: a partition that is added waits until the fetch of the others has been answered.
    ///
    /// # Errors
    /// When the client refuses.
    pub fn assign_shared<'a>(
        &self,
        partition: i32,
        positions: impl IntoIterator<Item = (&'a Self, i64)>,
    ) -> Result<(), ConsumeError> {
        let mut list = TopicPartitionList::new();
        let mut positions = positions.into_iter();
        positions
            .try_for_each(|(other, offset)| list.add_partition_offset(&other.topic, partition, Offset::Offset(offset)))
            .and_then(|()| self.replace_assignment(&list))
            .map_err(self.error("assign partitions"))
    }

    /// Waits for the next event, for at most `timeout`.
    ///
    /// # Errors
    /// When the position is lost, records are damaged, or the client is broken. An outage is no error: it may pass.
    pub fn poll(&self, timeout: Duration) -> Result<Event<'_>, ConsumeError> {
        let error = match self.consumer.poll(timeout) {
            None => return Ok(Event::Idle),
            Some(Ok(message)) => {
                self.connection.up();
                return Ok(Event::Record(ConsumedRecord(message)));
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                self.connection.up();
                return Ok(Event::End(partition));
            }
            Some(Err(error)) => error,
        };
        let code = match error {
            KafkaError::MessageConsumptionFatal(_) => return Err(self.error("read partitions")(error)),
            _ => error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown),
        };
        let topic = self.assigned_topics();
        match classify(code) {
            ErrorClass::PositionLost => Err(ConsumeError::PositionLost { topic }),
            ErrorClass::Damage => Err(ConsumeError::Damaged {
                topic,
                reason: code.to_string(),
            }),
            ErrorClass::Outage => Ok(Event::Idle),
            ErrorClass::GroupForbidden => {
                self.connection.say_group_forbidden();
                Ok(Event::Idle)
            }
            ErrorClass::TopicForbidden => Ok(Event::Interrupted(self.forbidden())),
            ErrorClass::Interruption => Ok(Event::Interrupted(ConsumeError::NotServed { topic, code })),
        }
    }

    /// Returns the topics that an error can be about: the client does not say which one it is.
    fn assigned_topics(&self) -> String {
        let list = self.consumer.assignment();
        let elements = list.as_ref().map(TopicPartitionList::elements).unwrap_or_default();
        let topics: BTreeSet<&str> = elements.iter().map(|element| element.topic()).collect();
        if topics.is_empty() {
            return self.topic.clone();
        }
        topics.into_iter().collect::<Vec<_>>().join(" or ")
    }

    /// Returns `true` if the client has lost all brokers since the last answer.
    pub fn is_disconnected(&self) -> bool {
        self.connection.is_down()
    }

    /// Describes an error for an operator: if no broker answered, with the reason of the last attempt to connect.
    pub fn outage(&self, error: &ConsumeError) -> String {
        match error {
            ConsumeError::Forbidden(forbidden) => forbidden.to_string(),
            error => self.connection.outage(error),
        }
    }
}

fn create(
    config: &ClientConfig,
    connection: &Connection,
) -> Result<Arc<BoundedClose<BaseConsumer<Connection>>>, KafkaError> {
    let client = config.create_with_context(connection.clone())?;
    Ok(Arc::new(BoundedClose::new(client)))
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Consumer")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}
