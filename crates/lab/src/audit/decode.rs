//! Reads the values of records. It knows the contract of the topics alone, and shares no code with what writes them.

use std::hash::{DefaultHasher, Hasher as _};
use std::time::UNIX_EPOCH;

use serde::Deserialize;

use super::evidence::{Kind, Outcome, Record};
use crate::OrderId;

/// The largest amount that an order can be worth.
const MAX_MONEY: u32 = 1_000_000;
/// Digits of a user id.
const MAX_USER_DIGITS: usize = 19;

/// The value of a record of topic `order`. Fields that are not known are passed over.
#[derive(Deserialize)]
struct OrderValue<'a> {
    money: u32,
    order_id: OrderId,
    #[serde(rename = "time")]
    _time: u64,
    user_id: &'a str,
}

/// The value of a record of topic `shipment`.
#[derive(Deserialize)]
struct ShipmentValue<'a> {
    order_id: Option<OrderId>,
    order_offset: i64,
    outcome: &'a str,
    mark: Option<&'a str>,
    duplicate_of: Option<OrderId>,
    shipped_at: Option<&'a str>,
}

/// The headers of a record of topic `order` that say which order it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Headers<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) request: Option<&'a [u8]>,
}

impl Headers<'_> {
    /// Returns `true` if it has a key, and not what the key is for.
    pub(super) fn is_incomplete(self) -> bool {
        self.key.is_some() && self.request.is_none()
    }
}

/// Reads a record of topic `order`.
pub(super) fn order(value: &[u8], headers: Headers<'_>) -> Record {
    let identity = match (headers.key, headers.request) {
        (Some(key), Some(request)) => hash128(&[b"key", key, request]),
        _ => hash128(&[b"value", value]),
    };
    let key = headers.key.map_or(0, hash_of_key);
    let Some((id, money, user)) = order_fields(value) else {
        return Record {
            identity,
            key,
            ..Record::default()
        };
    };
    Record {
        id: Some(id),
        user,
        identity,
        money,
        key,
    }
}

fn order_fields(value: &[u8]) -> Option<(OrderId, u32, u64)> {
    // serde would also take an array of the four values.
    value
        .iter()
        .find(|byte| !byte.is_ascii_whitespace())
        .filter(|byte| **byte == b'{')?;
    let order: OrderValue<'_> = serde_json::from_slice(value).ok()?;
    Some((order.order_id, order.money, user(order.user_id)?)).filter(|_| order.money <= MAX_MONEY)
}

/// The number of a user; 0 for one with leading zeros, which is no user of a ledger.
fn user(text: &str) -> Option<u64> {
    let is_user = (1..=MAX_USER_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_user.then(|| text.parse().ok()).flatten()?;
    Some(if text.starts_with('0') { 0 } else { number })
}

/// Reads a record of topic `shipment`, and the order of which it is a duplicate.
pub(super) fn outcome(value: &[u8], index: u32) -> (Outcome, Option<OrderId>) {
    let unreadable = Outcome {
        order_offset: -1,
        order_id: None,
        mark: 0,
        index,
        after: Outcome::NO_TIME,
        kind: Kind::Unreadable,
    };
    read_outcome(value, index).unwrap_or((unreadable, None))
}

fn read_outcome(value: &[u8], index: u32) -> Option<(Outcome, Option<OrderId>)> {
    let shipment: ShipmentValue<'_> = serde_json::from_slice(value).ok()?;
    let kind = match shipment.outcome {
        "shipped" => Kind::Shipped,
        "duplicate" => Kind::Duplicate,
        "rejected" => Kind::Rejected,
        "skipped" => Kind::Skipped,
        _ => return None,
    };
    let shipped_at = shipment.shipped_at.and_then(unix_millis);
    let after = shipped_at
        .zip(shipment.order_id)
        .map(|(at, id)| at.saturating_sub(id.unix_millis()) / 100);
    let outcome = Outcome {
        order_offset: shipment.order_offset,
        order_id: shipment.order_id,
        mark: shipment.mark.map_or(0, |mark| hash128(&[mark.as_bytes()])[0].max(1)),
        index,
        after: after.map_or(Outcome::NO_TIME, |after| {
            after.min(u64::from(Outcome::NO_TIME - 1)) as u16
        }),
        kind,
    };
    Some((outcome, shipment.duplicate_of))
}

/// A time like 2026-11-30T10:49:46.123Z in Unix milliseconds; `None` for another form.
fn unix_millis(text: &str) -> Option<u64> {
    let time = humantime::parse_rfc3339(text).ok()?;
    let millis = time.duration_since(UNIX_EPOCH).ok()?.as_millis();
    u64::try_from(millis).ok()
}

/// A hash of an `Idempotency-Key`, never 0.
pub(super) fn hash_of_key(key: &[u8]) -> u32 {
    (hash128(&[key])[0] as u32).max(1)
}

/// Two hashes of these parts, independent of each other.
fn hash128(parts: &[&[u8]]) -> [u64; 2] {
    [0, 1].map(|seed| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(seed);
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        hasher.finish()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &str = r#"{"money":81,"order_id":"1468136426238382080","time":1638865975,"user_id":"77"}"#;

    #[test]
    fn reads_an_order() {
        let record = order(ORDER.as_bytes(), Headers::default());
        assert_eq!(
            (record.id.map(OrderId::get), record.money, record.user),
            (Some(1_468_136_426_238_382_080), 81, 77)
        );
        for (from, to, user) in [
            ("77", "042", 0),
            ("77", "0", 0),
            ("77", "9999999999999999999", 9_999_999_999_999_999_999),
        ] {
            let record = order(ORDER.replace(from, to).as_bytes(), Headers::default());
            assert_eq!(record.user, user, "{to}");
        }
    }

    #[test]
    fn what_breaks_the_contract_is_no_order() {
        let array = r#"[81,"1468136426238382080",1638865975,"77"]"#;
        for value in [
            "",
            "null",
            array,
            &ORDER.replace("81,", "1000001,"),
            &ORDER.replace("81,", "-1,"),
            &ORDER.replace("\"77\"", "77"),
            &ORDER.replace("\"77\"", "\"x\""),
            &ORDER.replace("\"77\"", "\"12345678901234567890\""),
            &format!("{ORDER}{ORDER}"),
        ] {
            assert_eq!(order(value.as_bytes(), Headers::default()).id, None, "{value}");
        }
    }

    #[test]
    fn an_order_is_known_by_its_key_and_request_or_by_its_bytes() {
        let identity = |value: &str, key: Option<&'static [u8]>, request: &'static [u8]| {
            let request = key.map(|_| request);
            order(value.as_bytes(), Headers { key, request }).identity
        };
        let other = ORDER.replace("81", "82");
        assert_eq!(
            identity(ORDER, Some(b"k"), b"money=1"),
            identity(&other, Some(b"k"), b"money=1")
        );
        assert_ne!(
            identity(ORDER, Some(b"k"), b"money=1"),
            identity(ORDER, Some(b"k"), b"money=2")
        );
        assert_ne!(
            identity(ORDER, Some(b"km"), b"oney=1"),
            identity(ORDER, Some(b"k"), b"money=1")
        );
        assert_eq!(identity(ORDER, None, b""), identity(ORDER, None, b""));
        assert_ne!(identity(ORDER, None, b""), identity(&other, None, b""));
    }

    #[test]
    fn reads_an_outcome() {
        let value = r#"{"order_id":"1468136426238382080","order_offset":7,"outcome":"duplicate","mark":"0a",
            "duplicate_of":"5","detail":null,"packed_at":null,"shipped_at":"2021-12-07T08:32:57.201Z"}"#;
        let (outcome, original) = outcome(value.as_bytes(), 3);
        assert_eq!(
            (outcome.order_offset, outcome.kind, outcome.index),
            (7, Kind::Duplicate, 3)
        );
        assert_eq!((outcome.after, original.map(OrderId::get)), (18, Some(5)));
        assert_ne!(outcome.mark, 0);
        assert_eq!(super::outcome(b"{}", 0).0.kind, Kind::Unreadable);
        let old = r#"{"order_id":null,"order_offset":7,"outcome":"rejected","detail":"x"}"#;
        assert_eq!(super::outcome(old.as_bytes(), 0).0.mark, 0);
    }

    #[test]
    fn reads_a_time() {
        assert_eq!(unix_millis("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(unix_millis("2024-02-29T12:00:00.5Z"), Some(1_709_208_000_500));
        assert_eq!(unix_millis("soon"), None);
    }
}
