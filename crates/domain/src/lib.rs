//! The vocabulary of the mall.
//!
//! A mall serves a province in regions. Each [`Region`] is bound to one [`Partition`] of the topics `order` and
//! `shipment`, and to the replicas of `order` and `repository` that carry its number as their [`Ordinal`].
//! Everything here is parsed once, at the edge, into types that cannot be wrong; nothing here does I/O.

mod detail;
mod headers;
mod idempotency;
mod journey;
pub mod json;
mod mark;
mod order;
mod order_id;
mod partition;
mod region;
mod shipment;
mod submission;
mod text;
mod timestamp;
mod totals;
mod user_id;

pub use detail::Detail;
pub use headers::{
    HeaderError, IDEMPOTENCY_KEY, IDEMPOTENCY_REQUEST, ParseTraceParentError, RecordHeaders, TraceParent, idempotency,
    mark,
};
pub use idempotency::{IdempotencyKey, ParseIdempotencyKeyError, ParseRequestTextError, RequestText};
pub use journey::{Accepted, Journey, Shipped};
pub use mark::{Mark, ParseMarkError};
pub use order::{Money, NotAnOrder, Order, ParseMoneyError};
pub use order_id::{ClockBehind, OrderId, OrderIdGenerator, ParseOrderIdError};
pub use partition::{Ordinal, ParseOrdinalError, ParsePartitionError, Partition, Replicas, ReplicasError};
pub use region::Region;
pub use shipment::{Outcome, Shipment};
pub use submission::{BatchedSubmission, Receipt, Submission, SubmissionError, SubmissionReply};
pub use timestamp::Timestamp;
pub use totals::{LastRecord, Offsets, Position, RegionTotals, Snapshot, SnapshotError, Statistics, Topic, Totals};
pub use user_id::{ParseUserIdError, UserId};
