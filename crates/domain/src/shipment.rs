//! The outcome of a record of topic `order`.

use serde::{Deserialize, Serialize};

use crate::{Detail, Mark, OrderId, Timestamp};

/// The value of a record of topic `shipment`: one for each record of topic `order`, in the same order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipment {
    /// The order; `None` if the record holds none.
    pub order_id: Option<OrderId>,
    /// The offset of the record of topic `order`.
    pub order_offset: i64,
    /// The result of repository-N's work on the record.
    pub outcome: Outcome,
    /// The identity of the order; `None` if the record holds none.
    pub mark: Option<Mark>,
    /// The order that was shipped instead of this duplicate.
    pub duplicate_of: Option<OrderId>,
    /// Why the order is not shipped.
    pub detail: Option<Detail>,
    /// When packing began, for a shipped order.
    pub packed_at: Option<Timestamp>,
    /// When the order was shipped.
    pub shipped_at: Option<Timestamp>,
}

/// The result of repository-N's work on a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The order was shipped.
    Shipped,
    /// An earlier record of the same order was shipped.
    Duplicate,
    /// The record holds no order, or one that came too late to be judged.
    Rejected,
    /// An operator decided that this record and those before it are passed over.
    Skipped,
}

impl Outcome {
    /// The name that records, metrics and logs have for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shipped => "shipped",
            Self::Duplicate => "duplicate",
            Self::Rejected => "rejected",
            Self::Skipped => "skipped",
        }
    }
}

impl Shipment {
    /// Reads the value of a record of topic `shipment`.
    ///
    /// # Errors
    /// When the value is no shipment: something other than repository-N wrote it.
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
            mark: Some(Mark::of_content(b"{}")),
            duplicate_of: None,
            detail: None,
            packed_at: Some(Timestamp::from_unix_millis(0)),
            shipped_at: Some(Timestamp::from_unix_millis(1)),
        };
        let expected = concat!(
            r#"{"order_id":"7","order_offset":3,"outcome":"shipped","mark":"44136fa355b3678a1146ad16f7e8649e","#,
            r#""duplicate_of":null,"detail":null,"#,
            r#""packed_at":"1970-01-01T00:00:00.000Z","shipped_at":"1970-01-01T00:00:00.001Z"}"#
        );
        assert_eq!(String::from_utf8(shipment.to_record()).expect("JSON"), expected);
    }

    proptest! {
        #[test]
        fn records_round_trip(
            id in prop::option::of(0_u64..1 << 63), order_offset: i64, detail in prop::option::of("(?s).{0,300}"),
            outcome in prop::sample::select(vec![Outcome::Shipped, Outcome::Duplicate, Outcome::Rejected, Outcome::Skipped]),
        ) {
            let order_id = id.map(|id| id.to_string().parse().expect("an id"));
            let detail = detail.map(Detail::new);
            let shipment = Shipment {
                order_id, order_offset, outcome, mark: None, duplicate_of: order_id, detail, packed_at: None, shipped_at: None
            };
            prop_assert_eq!(Shipment::from_record(&shipment.to_record()).expect("own JSON"), shipment);
        }

        #[test]
        fn no_bytes_panic(value in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Shipment::from_record(&value);
        }
    }
}
