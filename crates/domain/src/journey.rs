//! The journey of one order, from the records of both topics.

use serde::{Deserialize, Serialize};

use crate::{Detail, Order, OrderId, Outcome, Partition, Region, Shipment, Timestamp};

/// The journey of one order: the answer to `GET /orders/{order_id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journey {
    /// The order.
    pub order: Order,
    /// Its record in topic `order`.
    pub accepted: Accepted,
    /// Its outcome; `None` while there is none.
    pub shipment: Option<Shipped>,
}

/// The place and the time of an order's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The partition.
    pub partition: Partition,
    /// The offset in topic `order`.
    pub offset: i64,
    /// The region's name.
    pub region: String,
    /// The replica that has written it.
    pub service: String,
    /// The time in the order's id.
    pub time: Timestamp,
}

/// The outcome of an order, and where it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipped {
    /// The outcome.
    pub outcome: Outcome,
    /// The offset in topic `shipment`.
    pub offset: i64,
    /// The replica that did it.
    pub service: String,
    /// The order that was shipped instead of this duplicate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate_of: Option<OrderId>,
    /// Why the order was not shipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Detail>,
    /// When packing began, for what was shipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packed: Option<Timestamp>,
    /// When it was shipped; `None` for what was not.
    pub time: Option<Timestamp>,
}

impl Accepted {
    /// An order that is at an offset of a partition.
    pub fn new(order: &Order, partition: Partition, offset: i64) -> Self {
        Self {
            partition,
            offset,
            region: Region::from(partition).to_string(),
            service: format!("order-{partition}"),
            time: order.order_id.time(),
        }
    }
}

impl Shipped {
    /// An outcome that is at an offset of a partition.
    pub fn new(shipment: Shipment, partition: Partition, offset: i64) -> Self {
        Self {
            outcome: shipment.outcome,
            offset,
            service: format!("repository-{partition}"),
            duplicate_of: shipment.duplicate_of,
            detail: shipment.detail,
            packed: shipment.packed_at,
            time: shipment.shipped_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Replicas;
    use crate::order::tests::order;

    #[test]
    fn a_journey_is_the_answer_of_the_contract() {
        let partition = Replicas::THREE.parse_partition("0").expect("a partition");
        let order = order(1_468_136_426_238_382_080);
        let waiting = Journey {
            order,
            accepted: Accepted::new(&order, partition, 4),
            shipment: None,
        };
        let expected = concat!(
            r#"{"order":{"money":81,"order_id":"1468136426238382080","time":1638865975,"user_id":"1468136425655373824"},"#,
            r#""accepted":{"partition":0,"offset":4,"region":"陕北","service":"order-0","time":"2021-12-07T08:32:55.328Z"},"#,
            r#""shipment":null}"#
        );
        assert_eq!(serde_json::to_string(&waiting).expect("JSON"), expected);
        let shipment = Shipment {
            order_id: Some(order.order_id),
            order_offset: 4,
            outcome: Outcome::Shipped,
            mark: None,
            duplicate_of: None,
            detail: None,
            packed_at: None,
            shipped_at: Some(Timestamp::from_unix_millis(1)),
        };
        let done = Journey {
            shipment: Some(Shipped::new(shipment, partition, 5)),
            ..waiting
        };
        let json = serde_json::to_string(&done).expect("JSON");
        assert!(
            json.ends_with(
                r#""shipment":{"outcome":"shipped","offset":5,"service":"repository-0","time":"1970-01-01T00:00:00.001Z"}}"#
            ),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<Journey>(&json).expect("own JSON"), done);
    }
}
