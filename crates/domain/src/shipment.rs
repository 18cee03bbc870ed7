//! What a repository did with a record of topic `order`.

use serde::{Deserialize, Serialize};

use crate::{Detail, OrderId, Timestamp};

/// The value of a record of topic `shipment`: one for each record of topic `order`, in the same order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipment {
    /// The order; `None` when the record holds none.
    pub order_id: Option<OrderId>,
    /// The offset of the record of topic `order`.
    pub order_offset: i64,
    /// What was done.
    pub outcome: Outcome,
    /// Why the order is not shipped; `None` for what is shipped.
    pub detail: Option<Detail>,
    /// When packing began; `None` for what is not shipped.
    pub packed_at: Option<Timestamp>,
    /// When it was shipped; `None` for what is not.
    pub shipped_at: Option<Timestamp>,
}

/// What a repository did with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Shipped.
    Shipped,
    /// An order with this id was shipped before.
    Duplicate,
    /// Not an order.
    Rejected,
}

impl Outcome {
    /// The name that records, metrics and logs have for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shipped => "shipped",
            Self::Duplicate => "duplicate",
            Self::Rejected => "rejected",
        }
    }
}

impl Shipment {
    /// Reads the value of a record of topic `shipment`.
    ///
    /// # Errors
    /// When it is not a shipment: something else than a repository wrote it.
    pub fn from_record(value: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(value)
    }

    /// The value of its record.
    pub fn to_record(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("integers and strings are JSON")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_has_the_keys_of_the_contract() {
        let shipment = Shipment {
            order_id: Some("7".parse().expect("an id")),
            order_offset: 3,
            outcome: Outcome::Shipped,
            detail: None,
            packed_at: Some(Timestamp::from_unix_millis(0)),
            shipped_at: Some(Timestamp::from_unix_millis(1)),
        };
        let expected = concat!(
            r#"{"order_id":"7","order_offset":3,"outcome":"shipped","detail":null,"#,
            r#""packed_at":"1970-01-01T00:00:00.000Z","shipped_at":"1970-01-01T00:00:00.001Z"}"#
        );
        assert_eq!(String::from_utf8(shipment.to_record()).expect("JSON"), expected);
    }

    proptest! {
        #[test]
        fn records_round_trip(
            id in prop::option::of(0_u64..1 << 63), order_offset: i64, detail in prop::option::of("(?s).{0,300}"),
            outcome in prop::sample::select(vec![Outcome::Shipped, Outcome::Duplicate, Outcome::Rejected]),
        ) {
            let order_id = id.map(|id| id.to_string().parse().expect("an id"));
            let detail = detail.map(Detail::new);
            let shipment = Shipment { order_id, order_offset, outcome, detail, packed_at: None, shipped_at: None };
            prop_assert_eq!(Shipment::from_record(&shipment.to_record()).expect("own JSON"), shipment);
        }

        #[test]
        fn no_bytes_panic(value in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Shipment::from_record(&value);
        }
    }
}
