//! Where to go on consuming topic `order` after a start.

use domain::OrderId;
use kafka::{Committed, Watermarks};
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

/// The last record of topic `shipment`: what became of which record of topic `order`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastOutcome {
    pub(crate) order_offset: i64,
    pub(crate) order_id: Option<OrderId>,
}

/// Whether topic `order` is the one that the last outcome speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The record at its offset holds the same order.
    Same,
    /// That record is no longer kept.
    Expired,
    /// The record there holds another order, or there is none: the topic was recreated.
    Different(Option<OrderId>),
}

/// What the logs say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// The last outcome in topic `shipment`, and whether topic `order` bears it out.
    pub(crate) last: Option<(LastOutcome, Proof)>,
    /// What the group has committed.
    pub(crate) committed: Option<Committed>,
    /// What topic `shipment` holds in this partition.
    pub(crate) shipment: Watermarks,
    /// What topic `order` holds in this partition.
    pub(crate) order: Watermarks,
}

/// Where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// The logs say so.
    Proved(i64),
    /// The logs do not say, and a setting has decided.
    Decided(i64),
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
    /// The offset in topic `order` to go on from: after the last outcome, or where the group has committed if that is
    /// later or there is no outcome.
    ///
    /// # Errors
    /// When no log says so, or it does not exist (any more), and nobody has decided what to do then.
    pub(crate) fn position(&self, on_lost: OnLostPosition) -> Result<Position, LostPosition> {
        let Watermarks { low, high } = self.order;
        let exists = |offset: i64| (low..=high).contains(&offset);
        let committed = self.committed.filter(|committed| exists(committed.offset));
        let reason = match self.last {
            Some((last, Proof::Different(found))) => different(last, found),
            Some((last, Proof::Same | Proof::Expired)) if exists(last.order_offset + 1) => {
                let next = last.order_offset + 1;
                return Ok(Position::Proved(
                    committed.map_or(next, |committed| committed.offset.max(next)),
                ));
            }
            Some((last, _)) => outside(last.order_offset + 1, self.order),
            None => match (committed, self.committed) {
                (Some(committed), _) => return Ok(Position::Proved(committed.offset)),
                (None, Some(lost)) => outside(lost.offset, self.order),
                // The whole of `shipment` was read and holds no record: this repository has never shipped.
                (None, None) if self.shipment.low == 0 => return Ok(Position::Proved(low)),
                (None, None) => format!(
                    "expected the last outcome in topic shipment or a committed offset of group repository, found \
                     neither, though topic shipment once held {} records",
                    self.shipment.high
                ),
            },
        };
        match (committed, on_lost) {
            // Decided at an earlier start, and nothing has been shipped since.
            (Some(committed), _) if committed.decided => Ok(Position::Proved(committed.offset)),
            (_, OnLostPosition::Refuse) => Err(LostPosition { reason }),
            (_, OnLostPosition::Earliest) => Ok(Position::Decided(low)),
            (_, OnLostPosition::Latest) => Ok(Position::Decided(high)),
        }
    }
}

fn outside(position: i64, Watermarks { low, high }: Watermarks) -> String {
    format!("expected to go on at offset {position} of topic order, found only offsets {low} to {high} there")
}

fn different(last: LastOutcome, found: Option<OrderId>) -> String {
    let name = |id: Option<OrderId>| id.map_or_else(|| "no order".to_owned(), |id| format!("order {id}"));
    format!(
        "expected {} at offset {} of topic order, which has the last outcome in topic shipment, found {} there",
        name(last.order_id),
        last.order_offset,
        name(found)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSE: OnLostPosition = OnLostPosition::Refuse;

    fn last(order_offset: i64, proof: Proof) -> Option<(LastOutcome, Proof)> {
        let order_id = Some("7".parse().expect("an id"));
        Some((LastOutcome { order_offset, order_id }, proof))
    }

    fn committed(offset: i64, decided: bool) -> Option<Committed> {
        Some(Committed { offset, decided })
    }

    /// `order` holds offsets 10 to 19.
    fn found(last: Option<(LastOutcome, Proof)>, committed: Option<Committed>) -> Found {
        Found {
            last,
            committed,
            shipment: Watermarks { low: 5, high: 9 },
            order: Watermarks { low: 10, high: 20 },
        }
    }

    #[test]
    fn the_last_outcome_is_the_position_unless_more_was_committed() {
        for (last, committed, position) in [
            (last(11, Proof::Same), committed(11, false), 12),
            (last(11, Proof::Same), committed(15, false), 15),
            // Committed in another log, by a broker that kept it when the topic was deleted.
            (last(11, Proof::Same), committed(99, false), 12),
            (None, committed(15, false), 15),
            (last(19, Proof::Same), None, 20),
            (last(9, Proof::Expired), None, 10),
        ] {
            assert_eq!(found(last, committed).position(REFUSE), Ok(Position::Proved(position)));
        }
    }

    #[test]
    fn a_repository_that_never_shipped_starts_at_the_beginning() {
        let fresh = Found {
            shipment: Watermarks { low: 0, high: 0 },
            ..found(None, None)
        };
        assert_eq!(fresh.position(REFUSE), Ok(Position::Proved(10)));
        // Its first transaction was aborted: that leaves offsets, but no record.
        let aborted = Found {
            shipment: Watermarks { low: 0, high: 3 },
            ..fresh
        };
        assert_eq!(aborted.position(REFUSE), Ok(Position::Proved(10)));
    }

    #[test]
    fn a_lost_position_is_refused_until_somebody_decides() {
        for lost in [
            found(None, None),
            found(None, committed(21, false)),
            found(last(8, Proof::Expired), None),
            found(last(20, Proof::Different(None)), None),
            // The topic was recreated, and has grown beyond the old position.
            found(last(11, Proof::Different(None)), None),
            found(last(11, Proof::Different(None)), committed(12, false)),
        ] {
            let error = lost.position(REFUSE).expect_err("lost").to_string();
            assert!(
                error.contains("found") && error.contains("MALL_REPOSITORY__ON_LOST_POSITION"),
                "{error}"
            );
            assert_eq!(lost.position(OnLostPosition::Earliest), Ok(Position::Decided(10)));
            assert_eq!(lost.position(OnLostPosition::Latest), Ok(Position::Decided(20)));
        }
    }

    #[test]
    fn what_was_decided_once_is_not_decided_again_at_the_next_start() {
        let decided = found(last(11, Proof::Different(None)), committed(13, true));
        for on_lost in [REFUSE, OnLostPosition::Earliest, OnLostPosition::Latest] {
            assert_eq!(decided.position(on_lost), Ok(Position::Proved(13)));
        }
    }
}
