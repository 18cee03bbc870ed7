//! The records of assigned partitions of one topic.
//!
//! Nothing is subscribed and no position is taken from the broker by itself: the caller says where each partition
//! starts. Aborted and open transactions are not seen. All functions block, for a bounded time.

mod error;

use std::fmt::Display;
use std::ops::Range;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

pub use self::error::ConsumeError;
use crate::Config;
use crate::connection::{Connection, wait_for_broker};

/// A question to the broker.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// A replay in which nothing comes for this long has failed.
const REPLAY_PATIENCE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(100);

/// Reads partitions of one topic.
pub struct Consumer {
    config: ClientConfig,
    consumer: BaseConsumer<Connection>,
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
    /// Nothing, or an outage that may pass: see [`Consumer::is_disconnected`].
    Idle,
}

/// A record in the log.
#[derive(Debug)]
pub struct ConsumedRecord<'a>(BorrowedMessage<'a>);

impl ConsumedRecord<'_> {
    /// Its partition.
    pub fn partition(&self) -> i32 {
        self.0.partition()
    }

    /// Its offset.
    pub fn offset(&self) -> i64 {
        self.0.offset()
    }

    /// Its time in Unix milliseconds, if it has one.
    pub fn timestamp(&self) -> Option<i64> {
        self.0.timestamp().to_millis()
    }

    /// Its key, if it has one that is text.
    pub fn key(&self) -> Option<&str> {
        self.0.key().and_then(|key| str::from_utf8(key).ok())
    }

    /// Its value; empty for a record without one.
    pub fn value(&self) -> &[u8] {
        self.0.payload().unwrap_or_default()
    }
}

/// The offsets that a partition holds: `low` up to, but not including, `high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// The first offset.
    pub low: i64,
    /// The offset that the next record gets.
    pub high: i64,
}

impl Consumer {
    /// Connects in the background; nothing is read until [`Self::assign`].
    ///
    /// # Errors
    /// When librdkafka does not accept the configuration.
    pub fn new(config: &Config, client_id: &str, group: &str, topic: &str) -> Result<Self, KafkaError> {
        let connection = Connection::new(client_id);
        let topic = config.name(topic);
        let config = config.consumer(client_id, group);
        let consumer = config.create_with_context(connection.clone())?;
        Ok(Self {
            config,
            consumer,
            connection,
            topic,
        })
    }

    /// Begins anew with a client that has nothing assigned: see [`RENEWAL`](crate::RENEWAL).
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn renew(&mut self) -> Result<(), KafkaError> {
        tracing::debug!(topic = self.topic, "reading goes on with another client");
        self.consumer = self.config.create_with_context(self.connection.clone())?;
        Ok(())
    }

    /// Waits until a broker is connected: what a new client is asked before that takes up to a second longer.
    ///
    /// # Errors
    /// When no broker answers within ten seconds.
    pub fn wait_for_broker(&self) -> Result<(), ConsumeError> {
        wait_for_broker(self.consumer.client(), ASK_TIMEOUT).map_err(self.error("ask for the brokers"))
    }

    fn error(&self, action: &'static str) -> impl FnOnce(KafkaError) -> ConsumeError {
        let topic = self.topic.clone();
        move |source| ConsumeError::Kafka { topic, action, source }
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

    /// Reads these partitions too, from these positions; `None` is the start of the log.
    ///
    /// # Errors
    /// When the client refuses.
    pub fn assign_more(&self, positions: impl IntoIterator<Item = (i32, Option<i64>)>) -> Result<(), ConsumeError> {
        let positions = positions
            .into_iter()
            .map(|(partition, offset)| (partition, offset.map_or(Offset::Beginning, Offset::Offset)));
        self.list(positions)
            .and_then(|list| self.consumer.incremental_assign(&list))
            .map_err(self.error("assign partitions"))
    }

    /// Waits for the next event, for at most `timeout`.
    ///
    /// # Errors
    /// When the position is lost or the client is broken. An outage is no error: it may pass.
    pub fn poll(&self, timeout: Duration) -> Result<Event<'_>, ConsumeError> {
        match self.consumer.poll(timeout) {
            None => Ok(Event::Idle),
            Some(Ok(message)) => {
                self.connection.up();
                Ok(Event::Record(ConsumedRecord(message)))
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                self.connection.up();
                Ok(Event::End(partition))
            }
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange,
            ))) => Err(ConsumeError::PositionLost {
                topic: self.topic.clone(),
            }),
            Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => Err(self.error("read partitions")(error)),
            Some(Err(error)) => {
                tracing::debug!(topic = self.topic, %error, "reading is interrupted");
                Ok(Event::Idle)
            }
        }
    }

    /// Reads a part of a partition. Its last offsets need not be records: transactions end in offsets of their own.
    ///
    /// # Errors
    /// When nothing comes for a while, the position does not exist, or `stop` is cancelled.
    pub fn replay(
        &self,
        partition: i32,
        offsets: Range<i64>,
        stop: &CancellationToken,
        mut visit: impl FnMut(&ConsumedRecord<'_>),
    ) -> Result<(), ConsumeError> {
        self.assign([(partition, offsets.start)])?;
        let mut last = Instant::now();
        let mut next = offsets.start;
        // While others write there is always more, and the end of the partition may never be seen.
        while next < offsets.end {
            match self.poll(POLL)? {
                Event::Record(record) => {
                    visit(&record);
                    next = record.offset() + 1;
                }
                Event::End(_) => break,
                Event::Idle if stop.is_cancelled() => {
                    return Err(ConsumeError::Stopped {
                        topic: self.topic.clone(),
                    });
                }
                Event::Idle if last.elapsed() > REPLAY_PATIENCE => {
                    return Err(ConsumeError::Stalled {
                        topic: self.topic.clone(),
                        partition,
                    });
                }
                Event::Idle => continue,
            }
            last = Instant::now();
        }
        self.consumer.unassign().map_err(self.error("leave partitions"))
    }

    /// Asks the broker for the offsets that a partition holds.
    ///
    /// # Errors
    /// When the broker does not answer, or has no such partition.
    pub fn watermarks(&self, partition: i32) -> Result<Watermarks, ConsumeError> {
        let (low, high) = self
            .consumer
            .fetch_watermarks(&self.topic, partition, ASK_TIMEOUT)
            .map_err(self.error("ask for the offsets"))?;
        self.connection.up();
        Ok(Watermarks { low, high })
    }

    /// How many partitions the topic has; 0 when it does not exist.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn partitions(&self) -> Result<usize, ConsumeError> {
        let metadata = self
            .consumer
            .fetch_metadata(Some(&self.topic), ASK_TIMEOUT)
            .map_err(self.error("ask for the partitions"))?;
        self.connection.up();
        Ok(metadata
            .topics()
            .iter()
            .find(|topic| topic.name() == self.topic)
            .map_or(0, |topic| topic.partitions().len()))
    }

    /// The offset that the group has committed for a partition, if it has.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn committed(&self, partition: i32) -> Result<Option<i64>, ConsumeError> {
        let list = self
            .list([(partition, Offset::Invalid)])
            .and_then(|list| self.consumer.committed_offsets(list, ASK_TIMEOUT))
            .map_err(self.error("ask for the committed offsets"))?;
        self.connection.up();
        Ok(list.elements().first().and_then(|element| match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }))
    }

    /// Commits an offset for the group, for whoever displays the lag. It is on its way when this returns.
    pub fn commit(&self, partition: i32, offset: i64) {
        let committed = self
            .list([(partition, Offset::Offset(offset))])
            .and_then(|list| self.consumer.commit(&list, CommitMode::Async));
        if let Err(error) = committed {
            tracing::debug!(topic = self.topic, partition, offset, %error, "the offset was not committed");
        }
    }

    /// Whether the client has lost all brokers since the last answer.
    pub fn is_disconnected(&self) -> bool {
        self.connection.is_down()
    }

    /// Why there was no answer but this error, as a sentence for an operator.
    pub fn outage(&self, error: &impl Display) -> String {
        self.connection.outage(error)
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
