//! Partitions, the ordinals of the replicas that serve them, and how many there are of each.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::detail::abbreviate;

/// The largest number of regions, partitions and replicas: more do not fit on a dashboard.
const MAX_REPLICAS: u16 = 32;
/// The largest ordinal: it has 10 bits in an order id.
const MAX_ORDINAL: u16 = (1 << 10) - 1;

/// The number of regions: of replicas of `order` and of `repository`, and of partitions of their topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i64")]
pub struct Replicas(u16);

/// A number of replicas that cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a number of replicas from 1 to {MAX_REPLICAS}, found {0}")]
pub struct ReplicasError(i64);

impl Replicas {
    /// The three regions that the mall is named for.
    pub const THREE: Self = Self(3);

    /// Every partition, in order.
    pub fn partitions(self) -> impl Iterator<Item = Partition> {
        (0..self.0).map(Partition)
    }

    /// The number itself.
    pub fn get(self) -> u16 {
        self.0
    }

    /// Reads a partition that one of these replicas serves.
    ///
    /// # Errors
    /// When the text is not a decimal integer, or the integer is not smaller than the number of replicas.
    pub fn parse_partition(self, text: &str) -> Result<Partition, ParsePartitionError> {
        let error = || ParsePartitionError {
            max: self.0 - 1,
            found: abbreviate(text),
        };
        // `u16::from_str` would take a leading plus sign.
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(error());
        }
        let number = text.parse().map_err(|_| error())?;
        if number < self.0 {
            Ok(Partition(number))
        } else {
            Err(error())
        }
    }
}

impl TryFrom<i64> for Replicas {
    type Error = ReplicasError;

    fn try_from(number: i64) -> Result<Self, ReplicasError> {
        match u16::try_from(number) {
            Ok(count @ 1..=MAX_REPLICAS) => Ok(Self(count)),
            _ => Err(ReplicasError(number)),
        }
    }
}

/// A zero-based partition of the topics `order` and `shipment`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Ordinal")]
pub struct Partition(u16);

/// Text that names no partition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a partition from 0 to {max}, found {found:?}")]
pub struct ParsePartitionError {
    max: u16,
    found: String,
}

impl Partition {
    /// The number as Kafka counts partitions.
    pub fn id(self) -> i32 {
        i32::from(self.0)
    }

    /// The number as an index into a list with one entry for each partition.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl From<Ordinal> for Partition {
    /// The replica with ordinal N serves partition N.
    fn from(ordinal: Ordinal) -> Self {
        Self(ordinal.0)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The zero-based number of a replica, as a StatefulSet counts its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64")]
pub struct Ordinal(u16);

/// Text or a number that holds no ordinal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseOrdinalError {
    /// The host name does not end in a number that a StatefulSet would give.
    #[error("expected a host name that ends in an ordinal from 0 to {}, like order-1, found {found:?}", MAX_ORDINAL, found = .0)]
    HostName(String),
    /// The number is out of range.
    #[error("expected an ordinal from 0 to {}, found {found}", MAX_ORDINAL, found = .0)]
    Number(i64),
}

impl Ordinal {
    /// Reads the ordinal from a host name's trailing `-N`: `order-12` is 12.
    ///
    /// # Errors
    /// When there is no such number, it has leading zeros, or it is too large.
    pub fn from_host_name(host_name: &str) -> Result<Self, ParseOrdinalError> {
        let error = || ParseOrdinalError::HostName(abbreviate(host_name));
        let (set, digits) = host_name.rsplit_once('-').ok_or_else(error)?;
        let canonical = digits == "0" || !digits.starts_with('0');
        if set.is_empty() || !canonical || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(error());
        }
        let number = digits.parse::<u16>().map_err(|_| error())?;
        Self::try_from(i64::from(number)).map_err(|_| error())
    }

    /// The number itself.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<i64> for Ordinal {
    type Error = ParseOrdinalError;

    fn try_from(number: i64) -> Result<Self, ParseOrdinalError> {
        match u16::try_from(number) {
            Ok(ordinal) if ordinal <= MAX_ORDINAL => Ok(Self(ordinal)),
            _ => Err(ParseOrdinalError::Number(number)),
        }
    }
}

impl From<Partition> for Ordinal {
    /// Partition N is served by the replica with ordinal N.
    fn from(partition: Partition) -> Self {
        Self(partition.0)
    }
}

impl fmt::Display for Ordinal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_ordinal_is_the_trailing_number_of_a_host_name() {
        for (host_name, ordinal) in [("order-0", 0), ("order-12", 12), ("my-order-1023", 1023)] {
            assert_eq!(Ordinal::from_host_name(host_name), Ok(Ordinal(ordinal)), "{host_name}");
        }
    }

    #[test]
    fn a_host_name_without_an_ordinal_is_an_error_that_says_what_was_expected() {
        for host_name in [
            "order",
            "order-",
            "3f2a9b1c0d4e",
            "order-99999999999",
            "order-1024",
            "order-01",
            "-1",
            "",
            "order-1.x",
        ] {
            let error = Ordinal::from_host_name(host_name).expect_err(host_name).to_string();
            assert!(error.contains("like order-1, found"), "{error}");
        }
    }

    #[test]
    fn only_decimal_integers_below_the_number_of_replicas_are_partitions() {
        assert_eq!(Replicas::THREE.parse_partition("2"), Ok(Partition(2)));
        for text in [
            "3",
            "-1",
            "+1",
            "１",
            "1e0",
            "1.0",
            " 1",
            "",
            "0x1",
            "0.evil.example/x?",
            "99999999999999999999",
        ] {
            let error = Replicas::THREE.parse_partition(text).expect_err(text).to_string();
            assert!(error.starts_with("expected a partition from 0 to 2, found"), "{error}");
        }
    }

    #[test]
    fn an_error_shows_only_the_start_of_a_long_text() {
        let error = Replicas::THREE
            .parse_partition(&"é".repeat(1000))
            .expect_err("no partition")
            .to_string();
        assert!(error.len() < 150, "{error}");
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in ".*") {
            let _ = Ordinal::from_host_name(&text);
            let _ = Replicas::THREE.parse_partition(&text);
        }

        #[test]
        fn ordinals_and_partitions_survive_a_round_trip(number in 0..MAX_REPLICAS) {
            let ordinal = Ordinal::from_host_name(&format!("repository-{number}")).expect("a valid host name");
            prop_assert_eq!(ordinal.get(), number);
            let replicas = Replicas::try_from(i64::from(MAX_REPLICAS)).expect("the largest number");
            prop_assert_eq!(replicas.parse_partition(&number.to_string()), Ok(Partition::from(ordinal)));
        }
    }
}
