//! Order ids: 64-bit snowflakes that name their replica and their time.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::detail::abbreviate;
use crate::{Ordinal, Timestamp, text};

/// The epoch of the ids, in Unix milliseconds: the one that the first mall's ids were counted from.
const EPOCH_MILLIS: u64 = 1_288_834_974_657;
const SEQUENCE_BITS: u32 = 8;
const LANE_BITS: u32 = 4;
const ORDINAL_BITS: u32 = 10;
const SEQUENCES: u64 = 1 << SEQUENCE_BITS;
const LANES: u64 = 1 << LANE_BITS;
/// The bits below the ordinal.
const COUNTER_BITS: u32 = LANE_BITS + SEQUENCE_BITS;
/// 41 bits: the ids last until the year 2080.
const MAX_TICK: u64 = (1 << 41) - 1;

/// The id of an order: 41 bits of milliseconds since the epoch, 10 bits of ordinal, 4 bits of lane, 8 bits of sequence.
/// In JSON it is a decimal string, because JavaScript rounds integers above 2^53.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(u64);

/// Text that is no order id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an order id, a decimal integer below 2^63 without leading zeros, found {0:?}")]
pub struct ParseOrderIdError(String);

impl OrderId {
    fn new(tick: u64, ordinal: Ordinal, lane: u64, sequence: u64) -> Self {
        let counter = (lane << SEQUENCE_BITS) | sequence;
        Self((tick << (ORDINAL_BITS + COUNTER_BITS)) | (u64::from(ordinal.get()) << COUNTER_BITS) | counter)
    }

    /// The smallest id that can be made at a time, by any replica; 0 for a time before the epoch of the ids.
    pub fn smallest_at(time: Timestamp) -> Self {
        let tick = time.unix_millis().saturating_sub(EPOCH_MILLIS).min(MAX_TICK);
        Self(tick << (ORDINAL_BITS + COUNTER_BITS))
    }

    /// When the id was made.
    pub fn time(self) -> Timestamp {
        Timestamp::from_unix_millis(EPOCH_MILLIS + self.tick())
    }

    /// The replica that made the id.
    pub fn ordinal(self) -> Ordinal {
        let bits = (self.0 >> COUNTER_BITS) & ((1 << ORDINAL_BITS) - 1);
        Ordinal::try_from(bits.cast_signed()).expect("10 bits are an ordinal")
    }

    /// The id as an integer below 2^63.
    pub fn get(self) -> u64 {
        self.0
    }

    fn tick(self) -> u64 {
        self.0 >> (ORDINAL_BITS + COUNTER_BITS)
    }

    fn lane(self) -> u64 {
        (self.0 >> SEQUENCE_BITS) & (LANES - 1)
    }

    fn sequence(self) -> u64 {
        self.0 & (SEQUENCES - 1)
    }
}

impl FromStr for OrderId {
    type Err = ParseOrderIdError;

    fn from_str(text: &str) -> Result<Self, ParseOrderIdError> {
        let error = || ParseOrderIdError(abbreviate(text));
        let canonical = text == "0" || !text.starts_with('0');
        if !canonical || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(error());
        }
        match text.parse::<u64>() {
            Ok(id) if id <= i64::MAX.cast_unsigned() => Ok(Self(id)),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Serialize for OrderId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OrderId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

/// Makes the ids of one process, each larger than the one before it.
///
/// A process takes the lane after that of the last id in its partition, so that two live processes with one ordinal, as
/// after a forced deletion of a pod, do not make the same id.
#[derive(Debug)]
pub struct OrderIdGenerator {
    ordinal: Ordinal,
    lane: u64,
    last: Option<OrderId>,
}

/// The clock is so far behind the last id that a new id would say a wrong time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the clock is {} ms behind the last order id of this replica (at most {} ms are bridged): \
     set the clock, or wait until it has caught up",
    .0.as_millis(), OrderIdGenerator::MAX_LEAD.as_millis()
)]
pub struct ClockBehind(pub Duration);

impl OrderIdGenerator {
    /// The lead that ids may have over a clock that stepped back, or after a sequence that overflowed.
    /// One second covers what time synchronisation does to a healthy clock.
    pub const MAX_LEAD: Duration = Duration::from_secs(1);

    /// Continues after `last`, the largest id of this ordinal in its partition.
    pub fn new(ordinal: Ordinal, last: Option<OrderId>) -> Self {
        let lane = last.map_or(0, |last| (last.lane() + 1) % LANES);
        Self { ordinal, lane, last }
    }

    /// Returns the next id.
    ///
    /// # Errors
    /// When the clock is more than [`Self::MAX_LEAD`] behind the last id. The generator stays usable.
    pub fn next(&mut self, now: Timestamp) -> Result<OrderId, ClockBehind> {
        let clock = now.unix_millis().saturating_sub(EPOCH_MILLIS).min(MAX_TICK);
        let (tick, sequence) = match self.last {
            Some(last) if last.tick() >= clock => match last.lane().cmp(&self.lane) {
                Ordering::Less => (last.tick(), 0),
                Ordering::Equal if last.sequence() + 1 < SEQUENCES => (last.tick(), last.sequence() + 1),
                Ordering::Equal | Ordering::Greater => (last.tick() + 1, 0),
            },
            _ => (clock, 0),
        };
        let lead = Duration::from_millis(tick - clock);
        if lead > Self::MAX_LEAD || tick > MAX_TICK {
            return Err(ClockBehind(lead));
        }
        let id = OrderId::new(tick, self.ordinal, self.lane, sequence);
        self.last = Some(id);
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOON: u64 = 1_790_000_000_000;

    fn generator(last: Option<OrderId>) -> OrderIdGenerator {
        OrderIdGenerator::new(Ordinal::try_from(1).expect("an ordinal"), last)
    }

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::from_unix_millis(milliseconds)
    }

    #[test]
    fn an_id_holds_its_time_and_its_replica() {
        let id = generator(None).next(at(NOON)).expect("an id");
        assert_eq!(
            (id.time(), id.ordinal().get(), id.lane(), id.sequence()),
            (at(NOON), 1, 0, 0)
        );
    }

    #[test]
    fn the_smallest_id_of_a_time_divides_the_ids_before_it_from_those_at_it() {
        let smallest = OrderId::smallest_at(at(NOON));
        let before = generator(None).next(at(NOON - 1)).expect("an id");
        let after = generator(None).next(at(NOON)).expect("an id");
        assert!(before < smallest && smallest <= after);
        assert_eq!(OrderId::smallest_at(at(0)).get(), 0);
    }

    #[test]
    fn the_layout_is_that_of_the_first_mall() {
        let id: OrderId = "1468136426238382080".parse().expect("an id of the first mall");
        assert_eq!(id.time().unix_seconds(), 1_638_865_975);
    }

    #[test]
    fn a_small_step_back_of_the_clock_is_bridged() {
        let mut ids = generator(None);
        let before = ids.next(at(NOON)).expect("an id");
        let after = ids.next(at(NOON - 1000)).expect("an id");
        assert!(after > before);
    }

    #[test]
    fn a_large_step_back_is_refused_until_the_clock_has_caught_up() {
        let last = generator(None).next(at(NOON)).expect("an id");
        let mut restarted = generator(Some(last));
        assert_eq!(
            restarted.next(at(NOON - 5000)),
            Err(ClockBehind(Duration::from_secs(5)))
        );
        assert!(restarted.next(at(NOON)).expect("an id") > last);
    }

    #[test]
    fn a_full_sequence_goes_on_in_the_next_millisecond() {
        let mut ids = generator(None);
        let all: Vec<_> = (0..10_000).map(|_| ids.next(at(NOON)).expect("an id")).collect();
        assert!(all.is_sorted_by(|before, after| before < after));
    }

    #[test]
    fn two_processes_with_one_ordinal_never_make_the_same_id() {
        let last = generator(None).next(at(NOON)).expect("an id");
        let mut first = generator(Some(last));
        let started = first.next(at(NOON)).expect("an id");
        let mut second = generator(Some(started));
        let mut ids = std::collections::HashSet::new();
        for millisecond in 0..100 {
            for _ in 0..300 {
                for process in [&mut first, &mut second] {
                    let id = process.next(at(NOON + millisecond)).expect("an id");
                    assert!(ids.insert(id), "{id}");
                }
            }
        }
    }

    #[test]
    fn the_lane_after_the_last_one_is_the_first_and_its_ids_are_larger() {
        let mut last = None;
        for _ in 0..40 {
            let id = generator(last).next(at(NOON)).expect("an id");
            assert!(Some(id) > last);
            last = Some(id);
        }
    }

    #[test]
    fn text_that_is_not_canonical_is_no_id() {
        for text in [
            "",
            "-1",
            "+1",
            "01",
            "1e3",
            " 1",
            "9223372036854775808",
            "１",
            "99999999999999999999999",
        ] {
            assert!(text.parse::<OrderId>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn ids_increase_strictly_through_clock_steps_and_restarts(
            steps in prop::collection::vec((-1500_i64..1500, any::<bool>()), 1..500)
        ) {
            let (mut clock, mut last) = (NOON, None);
            let mut ids = generator(None);
            for (step, restart) in steps {
                clock = clock.saturating_add_signed(step);
                if restart {
                    ids = generator(last);
                }
                if let Ok(id) = ids.next(at(clock)) {
                    prop_assert!(Some(id) > last);
                    last = Some(id);
                }
            }
        }

        #[test]
        fn text_and_json_round_trip(id in 0_u64..=i64::MAX.cast_unsigned()) {
            let id: OrderId = id.to_string().parse().expect("below 2^63");
            prop_assert_eq!(id.to_string().parse::<OrderId>(), Ok(id));
            let json = serde_json::to_vec(&id).expect("serializable");
            prop_assert_eq!(serde_json::from_slice::<OrderId>(&json).expect("own JSON"), id);
        }

        #[test]
        fn parsing_never_panics(text in ".*") {
            let _ = text.parse::<OrderId>();
        }
    }
}
