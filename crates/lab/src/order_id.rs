//! Order ids as the lab reads them. They are decoded here, not by the code that is judged.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Ids count milliseconds from here, in Unix milliseconds.
const EPOCH: u64 = 1_288_834_974_657;
/// Below the time: 10 bits of the ordinal, 4 of the lane, 8 of the sequence.
const TIME_SHIFT: u32 = 22;
const ORDINAL_SHIFT: u32 = 12;
/// Why text is refused.
const EXPECTED: &str = "expected an order id: decimal, in 63 bits";

/// The id of an order: 41 bits of time, 10 bits of the ordinal of its order-N, 12 bits that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "&str", into = "String")]
pub struct OrderId(NonZeroU64);

impl OrderId {
    /// The id of these parts; the counter has 12 bits.
    pub fn new(unix_millis: u64, ordinal: u16, counter: u16) -> Self {
        let time = unix_millis.saturating_sub(EPOCH) << TIME_SHIFT;
        let id = time | u64::from(ordinal & 0x3ff) << ORDINAL_SHIFT | u64::from(counter & 0xfff);
        Self(NonZeroU64::new(id).unwrap_or(NonZeroU64::MIN))
    }

    /// The time at which the id was made, in Unix milliseconds.
    pub fn unix_millis(self) -> u64 {
        EPOCH + (self.0.get() >> TIME_SHIFT)
    }

    /// The ordinal of the order-N that made it.
    pub fn ordinal(self) -> u16 {
        (self.0.get() >> ORDINAL_SHIFT) as u16 & 0x3ff
    }

    /// The id as a number.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// The id with this number; `None` for 0.
    pub fn from_number(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }
}

impl FromStr for OrderId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse::<i64>().ok().filter(|_| is_decimal);
        let number = number.and_then(|number| Self::from_number(number.cast_unsigned()));
        number.ok_or(EXPECTED)
    }
}

impl TryFrom<&str> for OrderId {
    type Error = &'static str;

    fn try_from(text: &str) -> Result<Self, &'static str> {
        text.parse()
    }
}

impl From<OrderId> for String {
    fn from(id: OrderId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_the_id_of_the_seed_interface() {
        let id: OrderId = "1468136426238382080".parse().expect("an id");
        assert_eq!((id.unix_millis(), id.ordinal()), (1_638_865_975_328, 1));
        assert_eq!(OrderId::new(id.unix_millis(), 7, 3).ordinal(), 7);
        assert_eq!(OrderId::new(id.unix_millis(), 0, 0).get() >> 22, id.get() >> 22);
        for text in ["", "0", "-1", "+1", "x", "9223372036854775808"] {
            assert!(text.parse::<OrderId>().is_err(), "{text}");
        }
    }
}
