//! A record in the log.

use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};

/// A record in the log.
#[derive(Debug)]
pub struct ConsumedRecord<'a>(pub(super) BorrowedMessage<'a>);

impl ConsumedRecord<'_> {
    /// Its topic, by the name in the cluster.
    pub fn topic(&self) -> &str {
        self.0.topic()
    }

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

    /// Its headers whose values are text: names and values.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let headers = self.0.headers().into_iter().flat_map(Headers::iter);
        headers.filter_map(|header| Some((header.key, str::from_utf8(header.value?).ok()?)))
    }

    /// Its value; empty for a record without one.
    pub fn value(&self) -> &[u8] {
        self.0.payload().unwrap_or_default()
    }
}
