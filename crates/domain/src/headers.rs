//! Headers of a request that become headers of the order's record.

use serde::{Deserialize, Serialize};

use crate::{Drawn, IdempotencyKey, ParseIdempotencyKeyError};

/// The header with the key that a client has given to its submission.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The header with what the gateway drew of that submission. No client can send it.
pub const IDEMPOTENCY_DRAWN: &str = "idempotency-drawn";
const TRACEPARENT: &str = "traceparent";

/// Headers of a request that become headers of the order's record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RecordHeaders {
    /// Marks requests that are the same order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<IdempotencyKey>,
    /// What the gateway drew of a submission that has a key. A gateway of an earlier version does not say it: then the
    /// key cannot tell whether two requests are the same, and is only kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_drawn: Option<Drawn>,
    /// The trace that the request is part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<TraceParent>,
}

impl RecordHeaders {
    /// Reads them from a request, whose headers `header` finds by their names in lower case.
    ///
    /// # Errors
    /// When there is an idempotency key that is none. A `traceparent` that is none is dropped, as its standard says.
    pub fn read<'a>(header: impl Fn(&'static str) -> Option<&'a [u8]>) -> Result<Self, ParseIdempotencyKeyError> {
        Ok(Self {
            idempotency_key: header(IDEMPOTENCY_KEY).map(IdempotencyKey::parse).transpose()?,
            idempotency_drawn: None,
            traceparent: header(TRACEPARENT).and_then(TraceParent::parse),
        })
    }

    /// Those that are there, by name.
    pub fn into_pairs(self) -> Vec<(&'static str, String)> {
        let key = self.idempotency_key.map(|key| (IDEMPOTENCY_KEY, String::from(key)));
        let drawn = self
            .idempotency_drawn
            .map(|drawn| (IDEMPOTENCY_DRAWN, drawn.to_string()));
        let traceparent = self.traceparent.map(|traceparent| (TRACEPARENT, traceparent.0));
        key.into_iter().chain(drawn).chain(traceparent).collect()
    }
}

/// A `traceparent` of W3C Trace Context, version 00: `00-TRACE_ID-PARENT_ID-FLAGS`, 55 characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct TraceParent(String);

/// Text that is no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a traceparent like 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01, found another")]
pub struct ParseTraceParentError;

impl TraceParent {
    /// Reads a header. One of a later version is read as one of version 00, which has to be a prefix of it.
    fn parse(header: &[u8]) -> Option<Self> {
        const LENGTH: usize = 55;
        let (known, rest) = header.split_at_checked(LENGTH)?;
        let text = std::str::from_utf8(known).ok()?;
        let fields: Vec<&str> = text.split('-').collect();
        let &[version, trace_id, parent_id, flags] = fields.as_slice() else {
            return None;
        };
        let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let lengths = [version, trace_id, parent_id, flags].map(str::len) == [2, 32, 16, 2];
        let digits = fields.iter().all(|field| field.bytes().all(hexadecimal));
        let zero = |id: &str| id.bytes().all(|byte| byte == b'0');
        let end = rest.is_empty() || (version != "00" && rest[0] == b'-');
        let valid = lengths && digits && end && version != "ff" && !zero(trace_id) && !zero(parent_id);
        valid.then(|| Self(format!("00-{trace_id}-{parent_id}-{flags}")))
    }
}

impl TryFrom<String> for TraceParent {
    type Error = ParseTraceParentError;

    fn try_from(header: String) -> Result<Self, ParseTraceParentError> {
        Self::parse(header.as_bytes()).ok_or(ParseTraceParentError)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn traceparent(header: &str) -> Option<String> {
        TraceParent::parse(header.as_bytes()).map(|traceparent| traceparent.0)
    }

    #[test]
    fn a_traceparent_is_passed_on_as_it_is() {
        assert_eq!(traceparent(TRACE).as_deref(), Some(TRACE));
    }

    #[test]
    fn a_traceparent_of_a_later_version_is_read_as_version_00() {
        for later in [TRACE.replacen("00", "cc", 1), TRACE.replacen("00", "01", 1) + "-more"] {
            assert_eq!(traceparent(&later).as_deref(), Some(TRACE), "{later}");
        }
    }

    #[test]
    fn what_is_no_traceparent_is_dropped() {
        let long = TRACE.to_owned() + &"0".repeat(300_000);
        for header in [
            "",
            "00",
            &long,
            &TRACE.to_uppercase(),
            &TRACE[..54],
            &format!("{TRACE}-more"),
            &TRACE.replacen("00", "ff", 1),
            &TRACE.replacen("00", "0x", 1),
            &TRACE.replacen("00", "cc", 1).replace("-01", "-010"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        ] {
            assert_eq!(traceparent(header), None, "{}", &header[..header.len().min(80)]);
        }
    }

    #[test]
    fn a_bad_key_is_an_error_and_a_bad_trace_is_dropped() {
        let read = |key: &'static str, trace: &'static str| {
            RecordHeaders::read(move |name| match name {
                "idempotency-key" => Some(key.as_bytes()),
                _ => Some(trace.as_bytes()),
            })
        };
        let pairs = read("k", TRACE).expect("valid headers").into_pairs();
        assert_eq!(
            pairs,
            [("idempotency-key", "k".to_owned()), ("traceparent", TRACE.to_owned())]
        );
        assert_eq!(read("k", "x").expect("a valid key").traceparent, None);
        assert_eq!(read("a b", TRACE), Err(ParseIdempotencyKeyError));
        assert_eq!(RecordHeaders::read(|_| None).expect("none is fine").into_pairs(), []);
    }

    proptest! {
        #[test]
        fn no_header_panics_and_none_is_longer_than_its_kind(header in prop::collection::vec(any::<u8>(), 0..80)) {
            let headers = RecordHeaders::read(|_| Some(&header));
            for (_, value) in headers.unwrap_or_default().into_pairs() {
                prop_assert!(value.len() <= 64);
            }
        }
    }
}
