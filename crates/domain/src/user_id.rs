//! The customer of an order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::detail::abbreviate;
use crate::text;

/// The customer of an order: 1 to 19 decimal digits. `007` is another user than `7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserId {
    number: u64,
    digits: u8,
}

/// Text that is no user id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a user id of 1 to {} decimal digits, found {found:?}", UserId::MAX_DIGITS, found = .0)]
pub struct ParseUserIdError(String);

impl UserId {
    /// The most digits that an id has.
    pub const MAX_DIGITS: usize = 19;

    /// A user with a number.
    pub fn from_number(number: u32) -> Self {
        let digits = number.checked_ilog10().map_or(1, |power| power as u8 + 1);
        Self {
            number: number.into(),
            digits,
        }
    }
}

impl FromStr for UserId {
    type Err = ParseUserIdError;

    fn from_str(text: &str) -> Result<Self, ParseUserIdError> {
        let is_id = (1..=Self::MAX_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if is_id => Ok(Self {
                number,
                digits: text.len() as u8,
            }),
            _ => Err(ParseUserIdError(abbreviate(text))),
        }
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits.into();
        write!(formatter, "{:0digits$}", self.number)
    }
}

impl Serialize for UserId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = text.parse::<UserId>();
        }

        #[test]
        fn a_user_is_the_text_that_it_was(text in "[0-9]{0,21}") {
            match text.parse::<UserId>() {
                Ok(user) => prop_assert_eq!(user.to_string(), text),
                Err(_) => prop_assert!(text.is_empty() || text.len() > 19),
            }
        }

        #[test]
        fn a_number_is_the_user_with_its_digits(number: u32) {
            prop_assert_eq!(UserId::from_number(number).to_string(), number.to_string());
        }
    }
}
