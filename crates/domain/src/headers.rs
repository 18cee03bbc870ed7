//! Headers of a request that become headers of the order's record.

use serde::{Deserialize, Serialize};

use crate::{IdempotencyKey, Mark, ParseIdempotencyKeyError, RequestText};

/// The header with the client's key, in a request and in a record.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The header of a record with the fields that the client has set.
pub const IDEMPOTENCY_REQUEST: &str = "idempotency-request";
const TRACEPARENT: &str = "traceparent";

/// Headers of a request that become headers of the order's record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RecordHeaders {
    /// The client's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<IdempotencyKey>,
    /// The fields that the client has set, for an order with a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_request: Option<RequestText>,
    /// The trace that the request belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<TraceParent>,
}

/// A header of a request cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The key is malformed.
    #[error(transparent)]
    Key(#[from] ParseIdempotencyKeyError),
    /// A second key would be ignored.
    #[error("expected one Idempotency-Key, found more")]
    RepeatedKey,
}

impl RecordHeaders {
    /// Reads the headers of a request. `headers` finds all values of a name in lower case.
    ///
    /// # Errors
    /// When there is more than one idempotency key, or one that is malformed. A malformed `traceparent` is dropped, as its
    /// standard says.
    pub fn read<'a, V>(headers: impl Fn(&'static str) -> V) -> Result<Self, HeaderError>
    where
        V: Iterator<Item = &'a [u8]>,
    {
        let mut keys = headers(IDEMPOTENCY_KEY);
        let key = keys.next().map(IdempotencyKey::parse).transpose()?;
        if keys.next().is_some() {
            return Err(HeaderError::RepeatedKey);
        }
        Ok(Self {
            idempotency_key: key,
            idempotency_request: None,
            traceparent: headers(TRACEPARENT).next().and_then(TraceParent::parse),
        })
    }

    /// The headers of the record, by name.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let key = self.idempotency_key.as_ref().map(|key| (IDEMPOTENCY_KEY, key.as_str()));
        let request = self.idempotency_request.as_ref();
        let request = request.map(|request| (IDEMPOTENCY_REQUEST, request.as_str()));
        let traceparent = self.traceparent.as_ref().map(|trace| (TRACEPARENT, trace.0.as_str()));
        key.into_iter().chain(request).chain(traceparent)
    }
}

/// The key and the request in the headers of a record; `None` without a valid one of each.
pub fn idempotency<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<(IdempotencyKey, RequestText)> {
    let (mut key, mut request) = (None, None);
    for (name, value) in headers {
        match name {
            IDEMPOTENCY_KEY if key.is_none() => key = Some(value),
            IDEMPOTENCY_REQUEST if request.is_none() => request = Some(value),
            _ => {}
        }
    }
    Some((key?.to_owned().try_into().ok()?, request?.to_owned().try_into().ok()?))
}

/// The mark of an order's record.
pub fn mark<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>, value: &[u8]) -> Mark {
    match idempotency(headers) {
        Some((key, request)) => Mark::of_request(&key, &request),
        None => Mark::of_content(value),
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

    fn read(keys: &[&'static str], trace: &'static str) -> Result<RecordHeaders, HeaderError> {
        RecordHeaders::read(|name| {
            let values = if name == IDEMPOTENCY_KEY {
                keys.to_vec()
            } else {
                vec![trace]
            };
            values.into_iter().map(str::as_bytes)
        })
    }

    #[test]
    fn a_bad_key_or_a_second_one_is_an_error_and_a_bad_trace_is_dropped() {
        let headers = read(&["k"], TRACE).expect("valid headers");
        let pairs: Vec<_> = headers.pairs().collect();
        assert_eq!(pairs, [("idempotency-key", "k"), ("traceparent", TRACE)]);
        assert_eq!(read(&["k"], "x").expect("a valid key").traceparent, None);
        assert_eq!(read(&["a b"], TRACE), Err(ParseIdempotencyKeyError.into()));
        assert_eq!(read(&["a", "a"], TRACE), Err(HeaderError::RepeatedKey));
        assert_eq!(read(&[], "x").expect("none is fine").pairs().count(), 0);
    }

    #[test]
    fn a_record_has_the_mark_of_its_key_and_request_or_of_its_content() {
        let (key, request) = ((IDEMPOTENCY_KEY, "k"), (IDEMPOTENCY_REQUEST, ""));
        let keyed = mark([key, request], b"{}");
        assert_eq!(keyed, mark([(TRACEPARENT, TRACE), key, request], b"{\"money\":1}"));
        assert_ne!(keyed, mark([key, (IDEMPOTENCY_REQUEST, "money=1")], b"{}"));
        let content = mark([], b"{}");
        for headers in [vec![key], vec![request], vec![(IDEMPOTENCY_KEY, "a b"), request]] {
            assert_eq!(mark(headers, b"{}"), content);
        }
    }

    proptest! {
        #[test]
        fn no_header_panics_and_none_is_longer_than_its_kind(header in prop::collection::vec(any::<u8>(), 0..80)) {
            let headers = RecordHeaders::read(|_| std::iter::once(header.as_slice())).unwrap_or_default();
            for (_, value) in headers.pairs() {
                prop_assert!(value.len() <= 64);
            }
        }
    }
}
