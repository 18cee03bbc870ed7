//! Where to go on reading topic `order` after a start.

use kafka::Watermarks;
use serde::{Deserialize, Serialize};

/// What to do when the position is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLostPosition {
    /// Do not start.
    Refuse,
    /// Ship all that is in topic `order`, though some of it may have been shipped.
    Earliest,
    /// Ship only what comes from now on, though some before that may not have been shipped.
    Latest,
}

/// What the logs say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// The offset after the last record of `order` that has an outcome in `shipment`.
    pub(crate) shipped: Option<i64>,
    /// The offset that the group has committed.
    pub(crate) committed: Option<i64>,
    /// What topic `shipment` holds in this partition.
    pub(crate) shipment: Watermarks,
    /// What topic `order` holds in this partition.
    pub(crate) order: Watermarks,
}

/// The position is lost.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{reason}: was a topic truncated or recreated? MALL_REPOSITORY__ON_LOST_POSITION decides: earliest ships all that \
     is in topic order (again), latest only what comes from now on"
)]
pub(crate) struct LostPosition {
    reason: String,
}

impl Found {
    /// The offset in topic `order` to go on from.
    ///
    /// # Errors
    /// When no log says so, or it does not exist (any more), and nobody has decided what to do then.
    pub(crate) fn position(&self, on_lost: OnLostPosition) -> Result<i64, LostPosition> {
        let Watermarks { low, high } = self.order;
        let reason = match self.shipped.max(self.committed) {
            Some(position) if (low..=high).contains(&position) => return Ok(position),
            Some(position) => {
                format!(
                    "expected to go on at offset {position} of topic order, found only offsets {low} to {high} there"
                )
            }
            // Nothing was ever visible in `shipment`: its records are all there, and there are none.
            None if self.shipment.low == 0 => return Ok(low),
            None => format!(
                "expected the last shipment in topic shipment or a committed offset of group repository, found neither, \
                 though topic shipment once held {} records",
                self.shipment.high
            ),
        };
        match on_lost {
            OnLostPosition::Refuse => Err(LostPosition { reason }),
            OnLostPosition::Earliest => Ok(low),
            OnLostPosition::Latest => Ok(high),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNTOUCHED: Watermarks = Watermarks { low: 0, high: 0 };

    fn found(shipped: Option<i64>, committed: Option<i64>) -> Found {
        let order = Watermarks { low: 10, high: 20 };
        Found {
            shipped,
            committed,
            shipment: Watermarks { low: 5, high: 9 },
            order,
        }
    }

    #[test]
    fn the_larger_of_the_last_shipment_and_the_committed_offset_is_the_position() {
        for (shipped, committed, position) in [
            (Some(12), Some(11), 12),
            (Some(12), Some(15), 15),
            (None, Some(15), 15),
            (Some(20), None, 20),
            (Some(10), None, 10),
        ] {
            assert_eq!(found(shipped, committed).position(OnLostPosition::Refuse), Ok(position));
        }
    }

    #[test]
    fn a_repository_that_never_shipped_starts_at_the_beginning() {
        let fresh = Found {
            shipment: UNTOUCHED,
            ..found(None, None)
        };
        assert_eq!(fresh.position(OnLostPosition::Refuse), Ok(10));
        // Its first transaction was aborted: that leaves offsets, but no record.
        let aborted = Found {
            shipment: Watermarks { low: 0, high: 3 },
            ..fresh
        };
        assert_eq!(aborted.position(OnLostPosition::Refuse), Ok(10));
    }

    #[test]
    fn a_lost_position_is_refused_until_somebody_decides() {
        for lost in [
            found(None, None),
            found(Some(9), None),
            found(Some(21), None),
            found(Some(12), Some(21)),
        ] {
            let error = lost.position(OnLostPosition::Refuse).expect_err("lost").to_string();
            assert!(
                error.contains("found") && error.contains("MALL_REPOSITORY__ON_LOST_POSITION"),
                "{error}"
            );
            assert_eq!(lost.position(OnLostPosition::Earliest), Ok(10));
            assert_eq!(lost.position(OnLostPosition::Latest), Ok(20));
        }
    }
}
