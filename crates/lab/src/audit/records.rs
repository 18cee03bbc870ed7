//! What the checks need of a record: small, so that millions can be passed on.

use domain::{Order, OrderId, Outcome, Shipment, UserId};

/// A record of topic `order`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OrderRecord {
    pub(super) offset: i64,
    /// The order; `None` when the value is none.
    pub(super) order: Option<Ordered>,
}

/// An order in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ordered {
    pub(super) id: OrderId,
    pub(super) money: u32,
    /// The user id as a number, by which a ledger knows the order; 0 when it cannot be one of a ledger's.
    pub(super) user: u64,
}

/// A record of topic `shipment`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ShipmentRecord {
    pub(super) offset: i64,
    /// What it says; `None` when no repository wrote it.
    pub(super) shipment: Option<Shipped>,
}

/// What a repository did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shipped {
    pub(super) order_offset: i64,
    pub(super) order_id: Option<OrderId>,
    pub(super) outcome: Outcome,
}

impl OrderRecord {
    pub(super) fn new(offset: i64, value: &[u8]) -> Self {
        let ordered = |order: Order| Ordered {
            id: order.order_id,
            money: order.money.get(),
            user: number(order.user_id),
        };
        Self {
            offset,
            order: Order::from_record(value).ok().map(ordered),
        }
    }

    pub(super) fn id(&self) -> Option<OrderId> {
        self.order.map(|order| order.id)
    }
}

/// The number of a user. `007` is another user than `7`, and none of a ledger's.
fn number(user_id: UserId) -> u64 {
    if user_id.has_leading_zeros() {
        0
    } else {
        user_id.number()
    }
}

impl ShipmentRecord {
    pub(super) fn new(offset: i64, value: &[u8]) -> Self {
        let shipped = |shipment: Shipment| Shipped {
            order_offset: shipment.order_offset,
            order_id: shipment.order_id,
            outcome: shipment.outcome,
        };
        Self {
            offset,
            shipment: Shipment::from_record(value).ok().map(shipped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_known_by_its_number_unless_it_has_leading_zeros() {
        for (user, expected) in [
            ("42", 42),
            ("042", 0),
            ("0", 0),
            ("9999999999999999999", 9_999_999_999_999_999_999),
        ] {
            let value = format!(r#"{{"money":1,"order_id":"1","time":1,"user_id":"{user}"}}"#);
            let order = OrderRecord::new(0, value.as_bytes()).order.expect("an order");
            assert_eq!(order.user, expected, "{user}");
        }
        assert_eq!(OrderRecord::new(0, b"{").order, None);
    }
}
