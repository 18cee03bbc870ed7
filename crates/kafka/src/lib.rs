//! The only crate that talks to a broker.
//!
//! * [`Config`]: where the broker is, and every librdkafka property that the mall depends on.
//! * [`topics`]: creates topics and compares existing ones with what they should be.
//! * [`Producer`]: batches of records, each record acknowledged, with errors sorted into *not written* and *unknown*.
//! * [`Consumer`]: the records of assigned partitions, from positions that the caller decides.
//! * [`TransactionalProducer`]: batches of records in transactions, fenced by a transactional id.
//!
//! The functions of `Consumer` and `TransactionalProducer` block: they belong on a thread of their own.

mod authorization;
mod closing;
mod config;
mod connection;
mod consumer;
mod flushing;
mod producer;
mod properties;
mod record;
pub mod topics;
mod transactional_producer;

use std::time::Duration;

pub use authorization::Forbidden;
pub use config::{Config, ConfigError};
pub use consumer::{Committed, ConsumeError, ConsumedRecord, Consumer, Event, Fetch, RangeProgress, Watermarks};
pub use producer::{Delivery, Producer, ProducerHealth, SendError};
pub use properties::Properties;
pub use rdkafka::error::KafkaError;
pub use record::Record;
pub use transactional_producer::{TransactionError, TransactionalProducer};

/// A client that has not reached a broker for this long is to be replaced. librdkafka may have given up for good: a
/// broker that has just started can answer with topics and no brokers, then librdkafka forgets all that it knows, and
/// may stop the timer with which it would begin anew (its issue 5301, open; seen in one of 25 hard kills of Kafka).
/// Longer than a record waits for its acknowledgement: a replaced producer loses those that are under way. The wait doubles
/// with each replacement in the same outage, up to a minute.
pub const RENEWAL: Duration = Duration::from_secs(10);
