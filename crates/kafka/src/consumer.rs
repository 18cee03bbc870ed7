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
pub use self::range::RangeProgress;
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
#[derive(Debug)]
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
        let client = config.consumer(client_id, group, fetch);
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

    /// Returns the name of the topic in the cluster.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Replaces the client by one that has nothing assigned: see [`RENEWAL`](crate::RENEWAL). A consumer that shares the
    /// old client keeps it.
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

    fn list(&self, partition: i32, offset: Offset) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, partition, offset)?;
        Ok(list)
    }

    /// Reads a partition from a position, instead of what was assigned before.
    ///
    /// # Errors
    /// When the client refuses.
    pub fn assign(&self, partition: i32, offset: i64) -> Result<(), ConsumeError> {
        self.assign_shared(partition, [(self, offset)])
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
            .and_then(|()| self.consumer.assign(&list))
            // Waits until what was assigned before has stopped, which the client's main thread does before it answers.
            // If a partition left the next assignment before that, librdkafka would abort the process:
            // https://github.com/confluentinc/librdkafka/issues/5573
            .and_then(|()| self.consumer.assignment().map(|_| ()))
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
