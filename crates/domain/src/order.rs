//! An order, and its form as the value of a record of topic `order`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::detail::abbreviate;
use crate::{Detail, OrderId, UserId, json};

/// An order as it stands in the log. Its JSON has its keys in alphabetical order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The price.
    pub money: Money,
    /// The id that order-N gave it.
    pub order_id: OrderId,
    /// When the gateway received it, in Unix seconds.
    pub time: u64,
    /// The customer.
    pub user_id: UserId,
}

/// Why the value of a record is not an order: what was found, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAnOrder(Detail);

impl Order {
    /// Reads the value of a record, which may be any bytes.
    ///
    /// # Errors
    /// When they are not a JSON object with the fields of an order.
    pub fn from_record(value: &[u8]) -> Result<Self, NotAnOrder> {
        json::from_object(value).map_err(|error| {
            // A character takes at most four bytes: these are more characters than are shown.
            let start = String::from_utf8_lossy(&value[..value.len().min(200)]);
            let found = abbreviate(start.escape_debug());
            NotAnOrder(Detail::new(format_args!(
                "expected an order as a JSON object, found \"{found}\": {error}"
            )))
        })
    }

    /// The value of the order's record.
    pub fn to_record(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("integers and strings are JSON")
    }
}

/// An amount of money, 0 to 1,000,000. There is one unit, without a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i64")]
pub struct Money(u32);

/// Text or a number that is no amount of money.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected money from 0 to {}, found {found:?}", Money::MAX, found = .0)]
pub struct ParseMoneyError(String);

impl Money {
    /// The largest amount.
    pub const MAX: u32 = 1_000_000;

    /// The amount itself.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<i64> for Money {
    type Error = ParseMoneyError;

    fn try_from(amount: i64) -> Result<Self, ParseMoneyError> {
        match u32::try_from(amount) {
            Ok(money @ 0..=Self::MAX) => Ok(Self(money)),
            _ => Err(ParseMoneyError(amount.to_string())),
        }
    }
}

impl FromStr for Money {
    type Err = ParseMoneyError;

    fn from_str(text: &str) -> Result<Self, ParseMoneyError> {
        let error = || ParseMoneyError(abbreviate(text));
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(error());
        }
        Self::try_from(text.parse::<i64>().map_err(|_| error())?)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn order(id: u64) -> Order {
        Order {
            money: Money(81),
            order_id: id.to_string().parse().expect("an id"),
            time: 1_638_865_975,
            user_id: "1468136425655373824".parse().expect("a user"),
        }
    }

    #[test]
    fn a_record_has_the_keys_of_the_seed_interface_in_alphabetical_order() {
        let value = String::from_utf8(order(1_468_136_426_238_382_080).to_record()).expect("JSON");
        let expected =
            r#"{"money":81,"order_id":"1468136426238382080","time":1638865975,"user_id":"1468136425655373824"}"#;
        assert_eq!(value, expected);
    }

    #[test]
    fn what_is_not_an_order_is_named() {
        let valid = r#"{"money":1,"order_id":"1","time":1,"user_id":"1"}"#;
        assert!(Order::from_record(valid.as_bytes()).is_ok());
        for (value, reason) in [
            ("", "it is no object"),
            ("null", "it is no object"),
            (r#"[81,"7",1795991362,"42"]"#, "it is no object"),
            ("{}", "missing field `money`"),
            (
                &valid.replace(":1,\"order", ":-1,\"order"),
                "expected money from 0 to 1000000",
            ),
            (
                &valid.replace(":1,\"order", ":1.5,\"order"),
                "invalid type: floating point",
            ),
            (&valid.replace("\"1\",\"time", "1,\"time"), "invalid type: integer"),
            (
                &valid.replace("\"user_id\":\"1\"", "\"user_id\":\"x\""),
                "expected a user id",
            ),
            (&format!("{valid}{valid}"), "trailing characters"),
        ] {
            let error = Order::from_record(value.as_bytes()).expect_err(value).to_string();
            assert!(error.contains(reason), "{value}: {error}");
        }
    }

    #[test]
    fn a_field_of_880_kb_is_an_error_of_200_characters() {
        for text in ["\\\"", "\\u0001", "\\ud83d\\ude00", "x"] {
            let value = format!("{{\"money\":\"{}\"}}", text.repeat(880_000 / text.len()));
            let error = Order::from_record(value.as_bytes()).expect_err("no order").to_string();
            assert!(error.chars().count() <= Detail::MAX_CHARS, "{} bytes", error.len());
            assert!(
                error.contains("found \"{") && error.contains(": invalid type: string"),
                "{error}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_are_quoted_at_length(value in prop::collection::vec(any::<u8>(), 0..300)) {
            let error = Order::from_record(&value).expect_err("no order").to_string();
            prop_assert!(error.chars().count() <= Detail::MAX_CHARS);
        }

        #[test]
        fn records_round_trip(
            money in 0..=Money::MAX, id in 0_u64..=i64::MAX.cast_unsigned(), time: u64, user in "[0-9]{1,19}"
        ) {
            let order = Order { money: Money(money), time, user_id: user.parse().expect("a user"), ..order(id) };
            prop_assert_eq!(Order::from_record(&order.to_record()), Ok(order));
        }

        #[test]
        fn money_parses_what_it_prints_and_never_panics(text in ".*", money in 0..=Money::MAX) {
            prop_assert_eq!(money.to_string().parse::<Money>(), Ok(Money(money)));
            if let Ok(money) = text.parse::<Money>() {
                prop_assert!(money.get() <= Money::MAX);
            }
        }
    }
}
