//! The key of a submission that its client may repeat.

use serde::{Deserialize, Serialize};

use crate::{Money, UserId};

/// A client's name for a submission that it may repeat: 1 to 64 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct IdempotencyKey(String);

/// Bytes that are no idempotency key. The error does not quote them: they can be any bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected an Idempotency-Key of 1 to {} visible ASCII characters, found another",
    IdempotencyKey::MAX_LENGTH
)]
pub struct ParseIdempotencyKeyError;

impl IdempotencyKey {
    /// The most characters that a key has.
    pub const MAX_LENGTH: usize = 64;

    /// Reads a header. The IETF draft (`draft-ietf-httpapi-idempotency-key-header`, section 2.1) puts the key in double
    /// quotes, many clients send it without them: both are the same key.
    ///
    /// # Errors
    /// When it is no key.
    pub fn parse(header: &[u8]) -> Result<Self, ParseIdempotencyKeyError> {
        let unquoted = header.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        let key = String::from_utf8(unquoted.unwrap_or(header).to_vec());
        key.map_err(|_| ParseIdempotencyKeyError)?.try_into()
    }

    /// The key itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for IdempotencyKey {
    type Error = ParseIdempotencyKeyError;

    fn try_from(key: String) -> Result<Self, ParseIdempotencyKeyError> {
        let valid = (1..=Self::MAX_LENGTH).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        valid.then_some(Self(key)).ok_or(ParseIdempotencyKeyError)
    }
}

/// The fields of an order that its client has set, like `money=81&user_id=007`; empty if it has set none. A submission
/// with a known key is the same request only if this text is the same. At most 64 visible ASCII characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct RequestText(String);

/// Text that describes no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a request like money=81&user_id=007, of at most {} visible ASCII characters, found another",
    RequestText::MAX_LENGTH
)]
pub struct ParseRequestTextError;

impl RequestText {
    /// The most characters that a text has.
    pub const MAX_LENGTH: usize = 64;

    /// Describes the fields that the client has set.
    pub fn new(money: Option<Money>, user_id: Option<UserId>) -> Self {
        let money = money.map(|money| format!("money={money}"));
        let user_id = user_id.map(|user_id| format!("user_id={user_id}"));
        Self(money.into_iter().chain(user_id).collect::<Vec<_>>().join("&"))
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RequestText {
    type Error = ParseRequestTextError;

    fn try_from(text: String) -> Result<Self, ParseRequestTextError> {
        let valid = text.len() <= Self::MAX_LENGTH && text.bytes().all(|byte| byte.is_ascii_graphic());
        valid.then_some(Self(text)).ok_or(ParseRequestTextError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_1_to_64_visible_characters() {
        assert!(IdempotencyKey::parse(&[b'~'; 64]).is_ok());
        for key in [&b""[..], b"\"\"", &[b'a'; 65], b"a b", b"\xc3\xa9", b"a\n", b"\x7f"] {
            assert_eq!(IdempotencyKey::parse(key), Err(ParseIdempotencyKeyError));
        }
    }

    #[test]
    fn a_key_is_the_same_with_and_without_the_quotes_of_the_draft() {
        let key = |header: &str| IdempotencyKey::parse(header.as_bytes()).map(|key| key.0);
        assert_eq!(key("\"8e03978e\""), Ok("8e03978e".to_owned()));
        assert_eq!(key("8e03978e"), Ok("8e03978e".to_owned()));
        // One quote is a character like others.
        assert_eq!(key("\"x"), Ok("\"x".to_owned()));
        assert_eq!(key("\""), Ok("\"".to_owned()));
        // Those within the quotes belong to the key, also when it is passed on.
        let quoted = IdempotencyKey::parse(b"\"\"x\"\"").expect("a key");
        let json = serde_json::to_string(&quoted).expect("JSON");
        assert_eq!(
            serde_json::from_str::<IdempotencyKey>(&json)
                .expect("own JSON")
                .as_str(),
            "\"x\""
        );
    }

    #[test]
    fn a_request_names_the_fields_that_the_client_has_set() {
        let money = || Some("81".parse().expect("money"));
        let user = || Some("007".parse().expect("a user"));
        for (request, expected) in [
            (RequestText::new(None, None), ""),
            (RequestText::new(money(), None), "money=81"),
            (RequestText::new(None, user()), "user_id=007"),
            (RequestText::new(money(), user()), "money=81&user_id=007"),
        ] {
            assert_eq!(request.as_str(), expected);
            assert_eq!(RequestText::try_from(expected.to_owned()), Ok(request));
        }
        let longest = RequestText::new("1000000".parse().ok(), "9".repeat(19).parse().ok());
        assert!(longest.as_str().len() <= RequestText::MAX_LENGTH);
        for text in ["a b", "é", "\n", &"x".repeat(65)] {
            assert_eq!(RequestText::try_from(text.to_owned()), Err(ParseRequestTextError));
        }
    }
}
