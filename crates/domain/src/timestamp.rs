//! Points in time, in the two forms that the contract has.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in time with a resolution of one millisecond. In JSON it is RFC 3339 text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The time of the machine's clock; 1970 for a clock that is set before that.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// The time `milliseconds` after the start of 1970, the unit of Kafka's record timestamps.
    pub const fn from_unix_millis(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// Milliseconds since the start of 1970.
    pub fn unix_millis(self) -> u64 {
        self.0
    }

    /// The time that has passed since `earlier`; zero if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Whole seconds since the start of 1970.
    pub fn unix_seconds(self) -> u64 {
        self.0 / 1000
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let elapsed = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A later time.
impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}

/// An earlier time, not before the start of 1970.
impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The end of what RFC 3339 can say: later times would be a formatting error.
        const END_OF_YEAR_9999: u64 = 253_402_300_799_999;
        let time = UNIX_EPOCH + Duration::from_millis(self.0.min(END_OF_YEAR_9999));
        humantime::format_rfc3339_millis(time).fmt(formatter)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_rfc3339(&text)
            .map(Self::from)
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn json_is_rfc_3339_with_milliseconds() {
        let json = serde_json::to_string(&Timestamp::from_unix_millis(1_638_865_975_012)).expect("serializable");
        assert_eq!(json, "\"2021-12-07T08:32:55.012Z\"");
    }

    #[test]
    fn a_time_beyond_the_year_9999_does_not_panic() {
        assert_eq!(Timestamp(u64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    }

    proptest! {
        #[test]
        fn json_round_trips(milliseconds in 0_u64..=253_402_300_799_999) {
            let timestamp = Timestamp::from_unix_millis(milliseconds);
            let json = serde_json::to_vec(&timestamp).expect("serializable");
            prop_assert_eq!(serde_json::from_slice::<Timestamp>(&json).expect("own JSON"), timestamp);
        }
    }
}
