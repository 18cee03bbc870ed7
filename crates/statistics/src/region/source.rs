//! One of the two partitions of a region: asks for its bounds, and proves where the figures stand in it.

use std::cell::Cell;

use domain::{LastRecord, Partition, Topic};
use kafka::{Consumer, KafkaError, Watermarks};
use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::figures::Figures;
use crate::{GROUP, start};

/// The end offset of a partition that does not answer.
pub(super) const UNKNOWN: i64 = i64::MAX;
/// A partition of which nothing has come when it was asked for its end this often, one question [`DOUBT_INTERVAL`] after
/// another, has a client that has given up. A client that is well needs a second and a half after an outage.
///
/// [`DOUBT_INTERVAL`]: super::DOUBT_INTERVAL
const STALL_DOUBTS: u32 = 3;

/// One of the two partitions of a region.
pub(crate) struct Source {
    pub(super) topic: Topic,
    pub(super) consumer: Consumer,
    /// The offset up to which the records were there before this service began to count the region: it logs no line for
    /// them.
    pub(super) replay_until: i64,
    /// The end offset, as far as it was asked.
    pub(super) end: i64,
    /// The records before that end that were counted.
    pub(super) counted: Cell<u64>,
    /// The position at the last question for the end, and how many in a row found it there, before the end.
    stalled_at: (i64, u32),
}

impl Source {
    pub(crate) fn new(topic: Topic, consumer: Consumer, replay_until: i64) -> Self {
        Self {
            topic,
            consumer,
            replay_until,
            end: UNKNOWN,
            counted: Cell::new(0),
            stalled_at: (0, 0),
        }
    }

    /// Asks for the offsets that the partition holds.
    pub(super) fn bounds(&self, partition: Partition) -> Result<Watermarks, Failure> {
        // Asked first: the question for the offsets would wait for a leader, and look like an outage.
        let topic = || self.consumer.topic().to_owned();
        match self.consumer.leaders()?.get(partition.index()) {
            None => Err(Failure::NoPartition(topic(), partition.id())),
            Some(None) => Err(Failure::NoLeader(topic(), partition.id())),
            Some(Some(_)) => self.consumer.watermarks(partition.id()).map_err(|error| {
                if self.consumer.is_disconnected() {
                    Failure::Silent(topic(), partition.id(), error.to_string())
                } else {
                    error.into()
                }
            }),
        }
    }

    /// Proves the position of the figures by their last record. Figures of another log are discarded.
    pub(super) fn begin(
        &mut self,
        partition: Partition,
        bounds: Watermarks,
        figures: &Figures,
        proofs: &Consumer,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let position = figures.lock().position(self.topic, partition);
        let proof = match start::check(position, bounds) {
            Ok(Some(expected)) => start::compare(expected, self.record_at(partition, expected.offset, proofs, stop)?),
            Ok(None) => Ok(()),
            Err(discard) => Err(discard),
        };
        let topic = self.topic.name();
        if let Err(reason) = &proof {
            let message = "the figures are discarded: counting from the start of the log";
            tracing::warn!(service = GROUP, topic, partition = partition.id(), %reason, message);
        }
        if proof.is_err() || position.last.is_none() {
            figures.lock().begin(self.topic, partition, bounds.low);
            figures.changed.send_replace(());
            if bounds.low > 0 {
                let message = "totals begin at this offset: what was before it had been removed from the log uncounted";
                tracing::warn!(
                    service = GROUP,
                    topic,
                    partition = partition.id(),
                    offset = bounds.low,
                    message
                );
            }
        }
        self.replay_until = self.replay_until.min(bounds.high);
        (self.end, self.stalled_at) = (bounds.high, (0, 0));
        self.counted.set(0);
        Ok(())
    }

    /// Reads the record at an offset, or the one after it where there is none.
    fn record_at(
        &self,
        partition: Partition,
        offset: i64,
        proofs: &Consumer,
        stop: &CancellationToken,
    ) -> Result<Option<LastRecord>, Failure> {
        let mut found = None;
        proofs.read_all(partition.id(), offset..offset + 1, stop, |record| {
            let (offset, timestamp) = (record.offset(), record.timestamp());
            found = Some(LastRecord::new(self.topic, offset, timestamp, record.value()));
        })?;
        Ok(found)
    }

    /// Returns `true` if nothing has come although there are records, since several questions for the end.
    pub(super) fn is_stalled(&mut self, position: i64) -> bool {
        let (before, doubts) = self.stalled_at;
        let doubts = if position == before { doubts } else { 0 };
        let is_behind = self.end != UNKNOWN && position < self.end;
        self.stalled_at = (position, if is_behind { doubts + 1 } else { 0 });
        self.stalled_at.1 >= STALL_DOUBTS
    }
}

/// Replaces the client that these share.
pub(super) fn renew([order, shipment]: &mut [Source; 2], kafka: &kafka::Config) -> Result<(), KafkaError> {
    order.consumer.renew()?;
    shipment.consumer = order.consumer.sharing_client(kafka, shipment.topic.name());
    Ok(())
}
