//! Sends a whole batch at once.
//!
//! librdkafka allows five *messages* of a partition in flight where it means five requests (its pull request 4989,
//! unreleased). A batch that leaves in parts waits for the answer to its first part, and librdkafka's thread polls
//! without a pause meanwhile: on a busy machine it starves the broker that it waits for. So a producer lingers for
//! [`LINGER`], hands over all records of a batch that fits one request, and then calls [`flush`].

use std::time::Duration;

use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};

/// `linger.ms` of a producer that flushes each batch: longer than the hand-over of a batch takes on a busy machine.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// Sends the records that were handed over. Returns when `producer` has no record left without a served report, or after
/// `timeout`. Records that are handed over meanwhile do not linger either.
///
/// The `flush` of rdkafka passes a timeout of 0, and so ends before the thread that sends has seen it.
#[expect(unsafe_code, reason = "rdkafka has no flush that lasts")]
pub(crate) fn flush<C: ProducerContext>(producer: &BaseProducer<C>, timeout: Duration) {
    let milliseconds = timeout.as_millis().try_into().unwrap_or(i32::MAX);
    // SAFETY: the pointer is valid as long as `producer` is borrowed, and librdkafka may be called from any thread.
    // Both results, flushed and timed out, are seen in the reports.
    let _ = unsafe { rdkafka::bindings::rd_kafka_flush(producer.client().native_ptr(), milliseconds) };
}
