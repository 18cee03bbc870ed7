//! What makes a submission that comes again the same order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a client calls a submission, so that it can hand it in again: 1 to 64 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct IdempotencyKey(String);

/// Bytes that are no idempotency key. They are not quoted: any byte may be among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected an Idempotency-Key of 1 to {} visible ASCII characters, found another",
    IdempotencyKey::MAX_LENGTH
)]
pub struct ParseIdempotencyKeyError;

impl IdempotencyKey {
    /// The most characters that a key has.
    pub const MAX_LENGTH: usize = 64;

    /// Reads a header. The draft of the IETF (`draft-ietf-httpapi-idempotency-key-header`, section 2.1) has the key in
    /// double quotes, many clients send it without: both are the same key.
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

impl From<IdempotencyKey> for String {
    fn from(key: IdempotencyKey) -> Self {
        key.0
    }
}

/// Which fields of a submission the gateway drew at random, because its client left them open. Two submissions are the
/// same request when the client left the same fields open and said the same in the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Drawn {
    /// The money.
    pub money: bool,
    /// The user.
    pub user_id: bool,
}

/// Text that names no set of fields that a gateway draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected none, money, user_id or money,user_id, found another")]
pub struct ParseDrawnError;

impl Drawn {
    const NAMES: [(Self, &'static str); 4] = [
        (Self::new(false, false), "none"),
        (Self::new(true, false), "money"),
        (Self::new(false, true), "user_id"),
        (Self::new(true, true), "money,user_id"),
    ];

    const fn new(money: bool, user_id: bool) -> Self {
        Self { money, user_id }
    }
}

impl fmt::Display for Drawn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(drawn, _)| drawn == self);
        formatter.write_str(name.expect("all four are named").1)
    }
}

impl FromStr for Drawn {
    type Err = ParseDrawnError;

    fn from_str(text: &str) -> Result<Self, ParseDrawnError> {
        let found = Self::NAMES.iter().find(|(_, name)| *name == text);
        found.map(|(drawn, _)| *drawn).ok_or(ParseDrawnError)
    }
}

impl TryFrom<String> for Drawn {
    type Error = ParseDrawnError;

    fn try_from(text: String) -> Result<Self, ParseDrawnError> {
        text.parse()
    }
}

impl From<Drawn> for String {
    fn from(drawn: Drawn) -> Self {
        drawn.to_string()
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
    fn what_was_drawn_is_read_back_from_its_text() {
        for (drawn, name) in Drawn::NAMES {
            assert_eq!(drawn.to_string(), name);
            assert_eq!(name.parse(), Ok(drawn));
        }
        for text in ["", "user_id,money", "time"] {
            assert_eq!(text.parse::<Drawn>(), Err(ParseDrawnError), "{text}");
        }
    }
}
