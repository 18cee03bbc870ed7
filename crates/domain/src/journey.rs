//! What became of one order, from the logs.

use serde::{Deserialize, Serialize};

use crate::{Detail, Order, Outcome, Partition, Region, Shipment, Timestamp};

/// The journey of one order: the answer to `GET /orders/{order_id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journey {
    /// The order.
    pub order: Order,
    /// Its record in topic `order`.
    pub accepted: Accepted,
    /// Its outcome; `None` while it waits for one.
    pub shipment: Option<Shipped>,
    /// Further records with the same id: attempts to write it whose outcome was unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub duplicates: Vec<Duplicate>,
}

/// What a repository knows of an order without looking into the logs: one element of its answer to
/// `GET /orders?ids=ID,ID,…`. Who only passes journeys on has another type for `J`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Known<J = Box<Journey>> {
    /// All of it.
    Shipped(J),
    /// There is no such order.
    NotThere,
    /// It is older than all that are remembered, or not shipped yet: the logs know.
    Nothing,
}

impl Known {
    /// The most orders that are asked for together. With their ids, the head of the request is a third of what a service
    /// accepts.
    pub const MAX_TOGETHER: usize = 256;
}

/// Where and when an order was written.
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

/// What a repository did with an order, and where that is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipped {
    /// What was done.
    pub outcome: Outcome,
    /// The offset in topic `shipment`.
    pub offset: i64,
    /// The replica that did it.
    pub service: String,
    /// Why the order was not shipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Detail>,
    /// When packing began, for what was shipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packed: Option<Timestamp>,
    /// When it was shipped; `None` for what was not.
    pub time: Option<Timestamp>,
}

/// Another record with the same id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duplicate {
    /// The record in topic `order`.
    pub accepted: Accepted,
    /// Its outcome; `None` while it waits for one.
    pub shipment: Option<Shipped>,
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
            detail: shipment.detail,
            packed: shipment.packed_at,
            time: shipment.shipped_at,
        }
    }
}

impl Journey {
    /// The journey of an order with these records, in the order of the log; `None` without any. The record that was
    /// shipped is the order, the others are its duplicates.
    pub fn new(mut records: Vec<(Order, Accepted, Option<Shipped>)>) -> Option<Self> {
        let is_shipped = |(_, _, shipment): &(Order, Accepted, Option<Shipped>)| {
            shipment
                .as_ref()
                .is_some_and(|shipped| shipped.outcome == Outcome::Shipped)
        };
        if records.is_empty() {
            return None;
        }
        let (order, accepted, shipment) = records.remove(records.iter().position(is_shipped).unwrap_or(0));
        let duplicate = |(_, accepted, shipment)| Duplicate { accepted, shipment };
        Some(Self {
            order,
            accepted,
            shipment,
            duplicates: records.into_iter().map(duplicate).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Replicas;
    use crate::order::tests::order;

    fn shipped(outcome: Outcome, offset: i64) -> Shipped {
        Shipped {
            outcome,
            offset,
            service: "repository-0".to_owned(),
            detail: None,
            packed: None,
            time: Some(Timestamp::from_unix_millis(1)),
        }
    }

    fn record(offset: i64, shipment: Option<Shipped>) -> (Order, Accepted, Option<Shipped>) {
        let partition = Replicas::THREE.parse_partition("0").expect("a partition");
        let order = order(1_468_136_426_238_382_080);
        let accepted = Accepted::new(&order, partition, offset);
        (order, accepted, shipment)
    }

    #[test]
    fn a_journey_is_the_answer_of_the_contract() {
        let waiting = Journey::new(vec![record(4, None)]).expect("a journey");
        let expected = concat!(
            r#"{"order":{"money":81,"order_id":"1468136426238382080","time":1638865975,"user_id":"1468136425655373824"},"#,
            r#""accepted":{"partition":0,"offset":4,"region":"陕北","service":"order-0","time":"2021-12-07T08:32:55.328Z"},"#,
            r#""shipment":null}"#
        );
        assert_eq!(serde_json::to_string(&waiting).expect("JSON"), expected);
        let done = Journey::new(vec![record(4, Some(shipped(Outcome::Shipped, 5)))]).expect("a journey");
        let json = serde_json::to_string(&done).expect("JSON");
        assert!(
            json.ends_with(
                r#""shipment":{"outcome":"shipped","offset":5,"service":"repository-0","time":"1970-01-01T00:00:00.001Z"}}"#
            ),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<Journey>(&json).expect("own JSON"), done);
    }

    #[test]
    fn of_several_records_the_one_that_was_shipped_is_the_order() {
        let records = vec![
            record(4, Some(shipped(Outcome::Duplicate, 6))),
            record(9, Some(shipped(Outcome::Shipped, 11))),
            record(12, None),
        ];
        let journey = Journey::new(records).expect("a journey");
        assert_eq!(journey.accepted.offset, 9);
        let others: Vec<i64> = journey.duplicates.iter().map(|other| other.accepted.offset).collect();
        assert_eq!(others, [4, 12]);
        assert_eq!(Journey::new(Vec::new()), None);
    }
}
