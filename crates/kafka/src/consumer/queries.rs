//! The questions of a consumer to the broker, beside those for records. Every question is bounded by five seconds.

use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::error::{ErrorClass, classify};
use super::{ASK_TIMEOUT, ConsumeError, Consumer};
use crate::Forbidden;

/// The offsets that a partition holds: `low` up to, but not including, `high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// The first offset.
    pub low: i64,
    /// The offset that the next record gets.
    pub high: i64,
}

/// The offset that a group has committed for a partition. Any client can commit one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The offset of the next record to consume.
    pub offset: i64,
    /// Text that was committed with it.
    pub metadata: String,
}

/// The cluster tells its id with the first metadata: this is only waited for when there is none.
const CLUSTER_ID_TIMEOUT: Duration = Duration::from_secs(1);
/// Timeout of polling for the errors of connections, which wait in a queue among the lines of librdkafka's log.
const ERROR_POLL: Duration = Duration::from_millis(20);

impl Consumer {
    /// Keeps account of whether the broker has answered.
    fn answered<T>(&self, action: &'static str, answer: Result<T, KafkaError>) -> Result<T, ConsumeError> {
        let outage = |error: &KafkaError| error.rdkafka_error_code().map(classify) == Some(ErrorClass::Outage);
        match &answer {
            Err(error) if outage(error) => {
                self.poll_errors();
                self.connection.down(&error.to_string());
            }
            _ => self.connection.up(),
        }
        answer.map_err(self.error(action))
    }

    /// Takes the errors of connections from the queue, as polling for records would: an answer does not say why a
    /// connection failed, and a consumer that only asks never polls.
    fn poll_errors(&self) {
        let Ok(assigned) = self.consumer.assignment() else {
            return;
        };
        // With partitions assigned there would be records among them.
        if assigned.count() == 0 {
            let end = Instant::now() + ERROR_POLL;
            while Instant::now() < end {
                drop(self.consumer.poll(end.saturating_duration_since(Instant::now())));
            }
        }
    }

    /// Asks the broker for the offsets that a partition holds.
    ///
    /// # Errors
    /// When the broker does not answer, or has no such partition.
    pub fn watermarks(&self, partition: i32) -> Result<Watermarks, ConsumeError> {
        let answer = self.consumer.fetch_watermarks(&self.topic, partition, ASK_TIMEOUT);
        // librdkafka does not know the partitions of a topic that may not be described, and does not say why.
        if let Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownPartition | RDKafkaErrorCode::UnknownTopic)) =
            answer
        {
            self.leaders()?;
        }
        let (low, high) = self.answered("ask for the offsets", answer)?;
        Ok(Watermarks { low, high })
    }

    /// The leader of each partition of the topic, where it has one; none at all when the topic does not exist.
    ///
    /// # Errors
    /// When the broker does not answer, or does not allow to ask.
    pub fn leaders(&self) -> Result<Vec<Option<i32>>, ConsumeError> {
        self.leaders_within(ASK_TIMEOUT)
    }

    /// The same with less patience than five seconds.
    ///
    /// # Errors
    /// As [`Self::leaders`].
    pub fn leaders_within(&self, timeout: Duration) -> Result<Vec<Option<i32>>, ConsumeError> {
        let answer = self
            .consumer
            .fetch_metadata(Some(&self.topic), timeout.min(ASK_TIMEOUT));
        let metadata = self.answered("ask for the partitions", answer)?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        let code = topic.and_then(|topic| topic.error()).map(RDKafkaErrorCode::from);
        if code.map(classify) == Some(ErrorClass::TopicForbidden) {
            return Err(self.forbidden());
        }
        let partitions = topic.map_or(&[][..], |topic| topic.partitions());
        let mut leaders = vec![None; partitions.len()];
        for partition in partitions {
            let index = usize::try_from(partition.id()).ok();
            if let Some(leader) = index.and_then(|index| leaders.get_mut(index)) {
                *leader = Some(partition.leader()).filter(|leader| *leader >= 0);
            }
        }
        Ok(leaders)
    }

    /// The id of the cluster, if it has told one. A question, when nothing else has been asked before.
    pub fn cluster_id(&self) -> Option<String> {
        self.consumer.client().fetch_cluster_id(CLUSTER_ID_TIMEOUT)
    }

    /// The offset after all of a partition that has been polled: its records, and the ends of transactions, which are
    /// none. `None` before the first of them. Makes no request.
    pub fn position(&self, partition: i32) -> Option<i64> {
        let positions = self.consumer.position().ok()?;
        match positions.find_partition(&self.topic, partition)?.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }

    /// The first offset whose record has this time (Unix milliseconds) or a later one; the end of the partition when all
    /// are older, and its start when the broker keeps no index of times, as librdkafka's mock.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn offset_at(&self, partition: i32, time: i64) -> Result<i64, ConsumeError> {
        if let Some(offset) = self.indexed_offset(partition, time)? {
            return Ok(offset);
        }
        let Watermarks { low, high } = self.watermarks(partition)?;
        // Every record is later than the start of time: a broker that finds none has no index.
        let indexed = low == high || self.indexed_offset(partition, 0)?.is_some();
        Ok(if indexed { high } else { low })
    }

    fn indexed_offset(&self, partition: i32, time: i64) -> Result<Option<i64>, ConsumeError> {
        let action = "look up a time";
        // A time stands where offsets do.
        let list = self.list(partition, Offset::Offset(time));
        let answer = list.and_then(|list| self.consumer.offsets_for_times(list, ASK_TIMEOUT));
        let list = self.answered(action, answer)?;
        let Some(found) = list.elements().first().map(|found| (found.offset(), found.error())) else {
            return Ok(None);
        };
        match found {
            (_, Err(error)) => Err(self.error(action)(error)),
            (Offset::Offset(offset), Ok(())) => Ok(Some(offset)),
            (_, Ok(())) => Ok(None),
        }
    }

    /// The group's committed offset of a partition, if there is one.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn committed(&self, partition: i32) -> Result<Option<Committed>, ConsumeError> {
        let answer = self
            .list(partition, Offset::Invalid)
            .and_then(|list| self.consumer.committed_offsets(list, ASK_TIMEOUT));
        // Without a coordinator there is no answer, and the reason comes as an event.
        let list = self.answered("ask for the committed offsets", answer);
        if self.connection.take_group_refused() && list.is_err() {
            return Err(Forbidden::group("Read", self.connection.group()).into());
        }
        let list = list?;
        let elements = list.elements();
        Ok(elements.first().and_then(|element| match element.offset() {
            Offset::Offset(offset) => Some(Committed {
                offset,
                metadata: element.metadata().to_owned(),
            }),
            _ => None,
        }))
    }

    /// Commits an offset for the group, for displays of the lag. The commit is under way when this returns.
    pub fn commit(&self, partition: i32, committed: &Committed) {
        let Committed { offset, metadata } = committed;
        let list = self.list(partition, Offset::Offset(*offset)).inspect(|list| {
            if let Some(mut element) = list.find_partition(&self.topic, partition) {
                element.set_metadata(metadata);
            }
        });
        if let Err(error) = list.and_then(|list| self.consumer.commit(&list, CommitMode::Async)) {
            tracing::debug!(topic = self.topic, partition, offset, %error, "the offset was not committed");
        }
    }
}
