//! The records of assigned partitions of one topic.
//!
//! Nothing is subscribed and no position is taken from the broker by itself: the caller says where each partition
//! starts. Aborted and open transactions are not seen. All functions block, for a bounded time.

mod error;
mod queries;
mod record;
mod replay;
mod scan;

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

pub use self::error::ConsumeError;
use self::error::{Meaning, meaning};
pub use self::queries::{Committed, Watermarks};
pub use self::record::ConsumedRecord;
pub use self::replay::Replay;
use crate::closing::BoundedClose;
use crate::connection::{Connection, wait_for_broker};
use crate::{Config, Forbidden};

/// A question to the broker.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);

/// Reads partitions of one topic.
pub struct Consumer {
    config: ClientConfig,
    consumer: BoundedClose<BaseConsumer<Connection>>,
    connection: Connection,
    topic: String,
}

/// What happened next.
#[derive(Debug)]
pub enum Event<'a> {
    /// A record.
    Record(ConsumedRecord<'a>),
    /// Everything in this partition has been read.
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
    pub fn new(config: &Config, client_id: &str, group: &str, topic: &str) -> Result<Self, KafkaError> {
        Self::create(config, config.consumer(client_id, group), client_id, group, topic)
    }

    /// The same for reading much at once with [`Self::replay`]: it asks for the next records before these are taken.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn for_replay(config: &Config, client_id: &str, group: &str, topic: &str) -> Result<Self, KafkaError> {
        Self::create(
            config,
            config.replaying_consumer(client_id, group),
            client_id,
            group,
            topic,
        )
    }

    fn create(
        names: &Config,
        config: ClientConfig,
        client_id: &str,
        group: &str,
        topic: &str,
    ) -> Result<Self, KafkaError> {
        let connection = Connection::of_consumer(client_id, &names.name(group));
        let consumer = BoundedClose::new(config.create_with_context(connection.clone())?);
        Ok(Self {
            config,
            consumer,
            connection,
            topic: names.name(topic),
        })
    }

    /// Begins anew with a client that has nothing assigned: see [`RENEWAL`](crate::RENEWAL).
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn renew(&mut self) -> Result<(), KafkaError> {
        self.consumer = BoundedClose::new(self.config.create_with_context(self.connection.clone())?);
        self.connection.renewed();
        Ok(())
    }

    /// Whether the client has reached no broker for [`RENEWAL`](crate::RENEWAL). It knows only when it was asked
    /// something: so ask while [`Self::is_disconnected`].
    pub fn needs_renewal(&self) -> bool {
        self.connection.needs_renewal()
    }

    /// Waits until a broker is connected: what a new client is asked before that takes up to a second longer.
    ///
    /// # Errors
    /// When no broker answers within ten seconds.
    pub fn wait_for_broker(&self) -> Result<(), ConsumeError> {
        wait_for_broker(self.consumer.client(), &self.topic, ASK_TIMEOUT).map_err(self.error("ask for the brokers"))
    }

    fn error(&self, action: &'static str) -> impl FnOnce(KafkaError) -> ConsumeError {
        move |source| {
            let topic = self.topic.clone();
            match source.rdkafka_error_code().map(meaning) {
                Some(Meaning::TopicForbidden) => self.forbidden(),
                Some(Meaning::GroupForbidden) => Forbidden::group("Read", self.connection.group()).into(),
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
            .and_then(|list| self.consumer.assign(&list))
            .map_err(self.error("assign partitions"))
    }

    /// Reads these partitions too, from these positions.
    ///
    /// # Errors
    /// When the client refuses.
    pub fn assign_more(&self, positions: impl IntoIterator<Item = (i32, i64)>) -> Result<(), ConsumeError> {
        let positions = positions
            .into_iter()
            .map(|(partition, offset)| (partition, Offset::Offset(offset)));
        self.list(positions)
            .and_then(|list| self.consumer.incremental_assign(&list))
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
        let topic = self.topic.clone();
        match meaning(code) {
            Meaning::PositionLost => Err(ConsumeError::PositionLost { topic }),
            Meaning::Damage => Err(ConsumeError::Damaged {
                topic,
                reason: code.to_string(),
            }),
            Meaning::Outage => Ok(Event::Idle),
            Meaning::GroupForbidden => {
                self.connection.say_group_forbidden();
                Ok(Event::Idle)
            }
            Meaning::TopicForbidden => Ok(Event::Interrupted(self.forbidden())),
            Meaning::Interruption => Ok(Event::Interrupted(ConsumeError::NotServed { topic, code })),
        }
    }

    /// Whether the client has lost all brokers since the last answer.
    pub fn is_disconnected(&self) -> bool {
        self.connection.is_down()
    }

    /// Why there was no answer but this error, as a sentence for an operator.
    pub fn outage(&self, error: &ConsumeError) -> String {
        match error {
            ConsumeError::Forbidden(forbidden) => forbidden.to_string(),
            error => self.connection.outage(error),
        }
    }
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Consumer")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}
