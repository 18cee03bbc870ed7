//! An order on its way: from the gateway to order-N, and the answer.

use serde::{Deserialize, Serialize};

use crate::{Money, Order, OrderId, Partition, Region, UserId};

/// What the gateway posts to order-N.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// What the customer pays.
    pub money: Money,
    /// When the gateway took the order, in Unix seconds.
    pub time: u64,
    /// Who orders.
    pub user_id: UserId,
}

impl Submission {
    /// The order that it becomes with an id.
    pub fn into_order(self, order_id: OrderId) -> Order {
        let Self { money, time, user_id } = self;
        Order {
            money,
            order_id,
            time,
            user_id,
        }
    }
}

/// The reply to an order that is in the log. Its JSON has its keys in alphabetical order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    money: Money,
    /// Where in the partition the order is.
    pub offset: i64,
    /// Its id.
    pub order_id: OrderId,
    /// The partition that it is in.
    pub partition: Partition,
    region: String,
    time: u64,
    user_id: UserId,
}

impl Receipt {
    /// The receipt for an order that the broker has at this offset.
    pub fn new(order: Order, partition: Partition, offset: i64) -> Self {
        let Order {
            money,
            order_id,
            time,
            user_id,
        } = order;
        Self {
            money,
            offset,
            order_id,
            partition,
            region: Region::from(partition).to_string(),
            time,
            user_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Replicas;
    use crate::order::tests::order;

    #[test]
    fn a_receipt_is_the_reply_of_the_contract() {
        let partition = Replicas::THREE.parse_partition("0").expect("a partition");
        let receipt = Receipt::new(order(1_468_136_426_238_382_080), partition, 0);
        let expected = concat!(
            r#"{"money":81,"offset":0,"order_id":"1468136426238382080","partition":0,"region":"陕北","#,
            r#""time":1638865975,"user_id":"1468136425655373824"}"#
        );
        assert_eq!(serde_json::to_string(&receipt).expect("JSON"), expected);
    }
}
