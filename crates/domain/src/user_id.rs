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
    pub const MAX_DIGITS: u8 = 19;

    /// A user with a number.
    pub fn from_number(number: u32) -> Self {
        let number = u64::from(number);
        Self {
            number,
            digits: digits(number),
        }
    }

    /// The number that the digits are.
    pub fn number(self) -> u64 {
        self.number
    }

    /// The number of digits, with leading zeros.
    pub fn digits(self) -> u8 {
        self.digits
    }

    /// Returns `true` if it has leading zeros: then another user has the same number.
    pub fn has_leading_zeros(self) -> bool {
        self.digits > digits(self.number)
    }

    /// A user with a number and so many digits; `None` when there is none.
    pub fn with_digits(number: u64, digits: u8) -> Option<Self> {
        let fits = 10_u64.checked_pow(digits.into()).is_some_and(|beyond| number < beyond);
        (fits && (1..=Self::MAX_DIGITS).contains(&digits)).then_some(Self { number, digits })
    }
}

/// The number of digits of a number: 20 at most.
fn digits(number: u64) -> u8 {
    number.checked_ilog10().map_or(1, |power| power as u8 + 1)
}

impl FromStr for UserId {
    type Err = ParseUserIdError;

    fn from_str(text: &str) -> Result<Self, ParseUserIdError> {
        let error = || ParseUserIdError(abbreviate(text));
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(error());
        }
        let digits = u8::try_from(text.len()).map_err(|_| error())?;
        let number = text.parse().map_err(|_| error())?;
        Self::with_digits(number, digits).ok_or_else(error)
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
                Ok(user) => {
                    prop_assert_eq!(user.to_string(), text.clone());
                    prop_assert_eq!(UserId::with_digits(user.number(), user.digits()), Some(user));
                    prop_assert_eq!(user.has_leading_zeros(), text.len() > 1 && text.starts_with('0'));
                }
                Err(_) => prop_assert!(text.is_empty() || text.len() > 19),
            }
        }

        #[test]
        fn a_number_is_the_user_with_its_digits(number: u32) {
            prop_assert_eq!(UserId::from_number(number).to_string(), number.to_string());
        }
    }
}
