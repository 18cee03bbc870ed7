//! Records to write.

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::util::IntoOpaque;

/// A record to write to a partition.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The partition it goes to.
    pub partition: i32,
    /// Its key, if it has one.
    pub key: Option<&'a str>,
    /// Its value.
    pub value: &'a [u8],
    /// Its time, in Unix milliseconds.
    pub timestamp: i64,
    /// Its headers.
    pub headers: &'a [(&'a str, &'a str)],
}

impl<'a> Record<'a> {
    /// The record as rdkafka takes it. The delivery report comes with `opaque`.
    pub(crate) fn message<O: IntoOpaque>(&self, topic: &'a str, opaque: O) -> BaseRecord<'a, str, [u8], O> {
        let mut message = BaseRecord::with_opaque_to(topic, opaque)
            .partition(self.partition)
            .payload(self.value)
            .timestamp(self.timestamp);
        message.key = self.key;
        if !self.headers.is_empty() {
            let mut headers = OwnedHeaders::new_with_capacity(self.headers.len());
            for (key, value) in self.headers {
                let value = Some(*value);
                headers = headers.insert(Header { key, value });
            }
            message.headers = Some(headers);
        }
        message
    }
}
