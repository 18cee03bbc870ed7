//! The identity by which two records are recognised as the same order.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::{IdempotencyKey, OrderId, RequestText, text};

/// The identity of an order: records with one mark whose ids are close in time ([`Mark::is_same_order`]) are one order.
///
/// It is the start of a SHA-256, which every language has: over the key, a zero byte and the request of an order with an
/// idempotency key, over the value of the record otherwise. A record's JSON holds no zero byte, so the two never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark([u8; 16]);

/// Text that is no mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a mark of 32 hexadecimal digits, found another")]
pub struct ParseMarkError;

impl Mark {
    /// The most time between the ids of two records that are the same order.
    pub const SPAN: Duration = Duration::from_secs(10 * 60);

    /// The mark of an order that its client gave a key.
    pub fn of_request(key: &IdempotencyKey, request: &RequestText) -> Self {
        let hash = Sha256::new()
            .chain_update(key.as_str())
            .chain_update([0])
            .chain_update(request.as_str());
        Self::from_hash(hash)
    }

    /// The mark of an order without a key, from the value of its record.
    pub fn of_content(value: &[u8]) -> Self {
        Self::from_hash(Sha256::new().chain_update(value))
    }

    fn from_hash(hash: Sha256) -> Self {
        let mut mark = [0; 16];
        mark.copy_from_slice(&hash.finalize()[..16]);
        Self(mark)
    }

    /// Returns `true` if two records with one mark and these ids are the same order. Only the times in the ids count.
    pub fn is_same_order(one: OrderId, other: OrderId) -> bool {
        let millis = one.time().unix_millis().abs_diff(other.time().unix_millis());
        Duration::from_millis(millis) <= Self::SPAN
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl FromStr for Mark {
    type Err = ParseMarkError;

    fn from_str(text: &str) -> Result<Self, ParseMarkError> {
        let is_canonical = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = u128::from_str_radix(text, 16).ok().filter(|_| is_canonical);
        number.map(|number| Self(number.to_be_bytes())).ok_or(ParseMarkError)
    }
}

impl Serialize for Mark {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mark {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Timestamp;

    fn key(key: &str) -> IdempotencyKey {
        key.to_owned().try_into().expect("a key")
    }

    fn request(text: &str) -> RequestText {
        text.to_owned().try_into().expect("a request")
    }

    #[test]
    fn a_mark_is_the_start_of_a_sha_256() {
        let keyed = Mark::of_request(&key("k"), &request("money=81"));
        // printf 'k\0money=81' | sha256sum; printf '{}' | sha256sum
        assert_eq!(keyed.to_string(), "d0d398f071bfc7dbb10c24c665f683b2");
        assert_eq!(Mark::of_content(b"{}").to_string(), "44136fa355b3678a1146ad16f7e8649e");
        assert_eq!(keyed.to_string().parse(), Ok(keyed));
        for text in [
            "",
            "44136fa355b3678a1146ad16f7e8649",
            "44136FA355B3678A1146AD16F7E8649E",
            "+4136fa355b3678a1146ad16f7e8649e",
        ] {
            assert_eq!(text.parse::<Mark>(), Err(ParseMarkError), "{text}");
        }
    }

    #[test]
    fn another_key_or_another_request_is_another_mark() {
        let mark = |name, text| Mark::of_request(&key(name), &request(text));
        assert_eq!(mark("a", "b"), mark("a", "b"));
        for (name, text) in [("a", ""), ("a", "c"), ("b", "b"), ("ab", "")] {
            assert_ne!(mark("a", "b"), mark(name, text));
        }
    }

    #[test]
    fn ids_that_are_ten_minutes_apart_are_the_same_order_and_not_beyond() {
        let at = |millis: u64| OrderId::smallest_at(Timestamp::from_unix_millis(1_800_000_000_000 + millis));
        assert!(Mark::is_same_order(at(0), at(600_000)) && Mark::is_same_order(at(600_000), at(0)));
        assert!(!Mark::is_same_order(at(0), at(600_001)));
    }

    proptest! {
        #[test]
        fn text_round_trips(bytes: [u8; 16]) {
            prop_assert_eq!(Mark(bytes).to_string().parse(), Ok(Mark(bytes)));
        }
    }
}
