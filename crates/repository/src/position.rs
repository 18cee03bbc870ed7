//! Decides where to go on in topic `order` after a start.

use domain::{OrderId, Outcome};
use kafka::Watermarks;
use serde::{Deserialize, Serialize};

use crate::outcome::{OrderRecord, OutcomeRecord};

/// The operator's decision about a lost position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLostPosition {
    /// Do not start.
    Refuse,
    /// Ship the records that are in topic `order`, though some may have been shipped. Orders that the window knows, or that
    /// are too old for it, are still not shipped again.
    Earliest,
    /// Ship only records that come from now on, though some before may not have been shipped.
    Latest,
}

/// The comparison of the last outcome with topic `order`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The record at its offset holds the same order.
    Same,
    /// Retention has removed that record.
    Expired,
    /// The record there holds another order, or there is none: the topic was recreated.
    Different(Option<OrderId>),
}

impl Proof {
    /// Compares the last outcome with the record at its offset, which is `None` if there is none.
    pub(crate) fn new(last: &OutcomeRecord, order: Watermarks, record: Option<&OrderRecord>) -> Self {
        match record {
            _ if last.order_offset < order.low => Self::Expired,
            Some(record) if last.is_of(record) => Self::Same,
            record => Self::Different(record.and_then(OrderRecord::order_id)),
        }
    }
}

/// The state of a partition in both topics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// The last outcome in topic `shipment`, and whether topic `order` confirms it.
    pub(crate) last: Option<(OutcomeRecord, Proof)>,
    /// The offset that repository-N itself has committed: it has shipped the records before.
    pub(crate) own_commit: Option<i64>,
    /// The offsets of topic `shipment`.
    pub(crate) shipment: Watermarks,
    /// The offsets of topic `order`.
    pub(crate) order: Watermarks,
}

/// The position is lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{reason}: was a topic truncated or recreated? MALL_REPOSITORY__ON_LOST_POSITION decides: earliest ships all that \
     is in topic order (again), latest only what comes from now on"
)]
pub struct LostPosition {
    reason: String,
    order: Watermarks,
}

impl LostPosition {
    /// The position that an operator has decided on, if so.
    pub(crate) fn decided(&self, on_lost: OnLostPosition) -> Option<i64> {
        match on_lost {
            OnLostPosition::Refuse => None,
            OnLostPosition::Earliest => Some(self.order.low),
            OnLostPosition::Latest => Some(self.order.high),
        }
    }
}

impl Found {
    /// The offset in topic `order` to go on from: the one after the last outcome, and nothing else.
    ///
    /// # Errors
    /// When no outcome says so, or that offset does not exist (any more).
    pub(crate) fn position(&self) -> Result<i64, LostPosition> {
        let Watermarks { low, high } = self.order;
        let reason = match self.last {
            Some((last, Proof::Different(found))) => different(&last, found),
            Some((last, Proof::Same | Proof::Expired)) => {
                let next = last.order_offset.saturating_add(1);
                match self.own_commit.filter(|_| last.outcome != Outcome::Skipped) {
                    Some(commit) if commit > next => format!(
                        "expected outcomes up to offset {commit} of topic order, which repository-N has committed, found \
                         them only up to offset {}",
                        last.order_offset
                    ),
                    _ if (low..=high).contains(&next) => return Ok(next),
                    _ => format!(
                        "expected to go on at offset {next} of topic order, found only offsets {low} to {high} there"
                    ),
                }
            }
            // No outcome was ever written. An aborted transaction leaves offsets without a record.
            None if self.shipment.low == 0 && self.own_commit.is_none() => return Ok(low),
            None => format!(
                "expected the last outcome in topic shipment, found no outcome, though this partition was shipped before \
                 (its offsets are {} to {}{})",
                self.shipment.low,
                self.shipment.high,
                if self.own_commit.is_some() {
                    ", and group repository has committed an offset"
                } else {
                    ""
                }
            ),
        };
        Err(LostPosition {
            reason,
            order: self.order,
        })
    }
}

fn different(last: &OutcomeRecord, found: Option<OrderId>) -> String {
    let name = |id: Option<OrderId>| id.map_or_else(|| "no order".to_owned(), |id| format!("order {id}"));
    let found = if found == last.order_id && found.is_some() {
        format!("another record of {}", name(found))
    } else {
        name(found)
    };
    format!(
        "expected {} at offset {} of topic order, which has the last outcome in topic shipment, found {found} there",
        name(last.order_id),
        last.order_offset,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(order_offset: i64, proof: Proof) -> Option<(OutcomeRecord, Proof)> {
        let last = OutcomeRecord {
            order_offset,
            order_id: Some("7".parse().expect("an id")),
            outcome: Outcome::Shipped,
            mark: None,
        };
        Some((last, proof))
    }

    /// `order` holds offsets 10 to 19.
    fn found(last: Option<(OutcomeRecord, Proof)>) -> Found {
        Found {
            last,
            own_commit: Some(10),
            shipment: Watermarks { low: 5, high: 9 },
            order: Watermarks { low: 10, high: 20 },
        }
    }

    #[test]
    fn the_position_is_after_the_last_outcome() {
        for (last, position) in [
            (last(11, Proof::Same), 12),
            (last(19, Proof::Same), 20),
            (last(9, Proof::Expired), 10),
        ] {
            assert_eq!(found(last).position(), Ok(position));
        }
    }

    #[test]
    fn a_partition_that_was_never_shipped_starts_at_the_beginning() {
        for high in [0, 3] {
            let fresh = Found {
                own_commit: None,
                shipment: Watermarks { low: 0, high },
                ..found(None)
            };
            assert_eq!(fresh.position(), Ok(10));
            // A recreated `shipment`: only the commit of repository-N itself tells.
            let recreated = Found {
                own_commit: Some(10),
                ..fresh
            };
            assert!(recreated.position().is_err());
        }
    }

    #[test]
    fn a_lost_position_is_refused_until_an_operator_decides() {
        for lost in [
            found(None),
            Found {
                own_commit: None,
                ..found(None)
            },
            found(last(8, Proof::Expired)),
            found(last(20, Proof::Same)),
            // The end of `shipment` is gone: repository-N had shipped more.
            Found {
                own_commit: Some(13),
                ..found(last(11, Proof::Same))
            },
            // The topic was recreated, and has grown beyond the old position.
            found(last(11, Proof::Different(None))),
        ] {
            let lost = lost.position().expect_err("lost");
            let text = lost.to_string();
            assert!(
                text.contains("found") && text.contains("MALL_REPOSITORY__ON_LOST_POSITION"),
                "{text}"
            );
            let decided = [OnLostPosition::Refuse, OnLostPosition::Earliest, OnLostPosition::Latest];
            assert_eq!(decided.map(|on_lost| lost.decided(on_lost)), [None, Some(10), Some(20)]);
        }
    }

    #[test]
    fn a_record_proves_the_last_outcome_by_its_id_and_its_content() {
        let order = Watermarks { low: 10, high: 20 };
        let value = br#"{"money":1,"order_id":"7","time":1,"user_id":"1"}"#;
        let record = OrderRecord::new(11, 0, [], value);
        let mut last = last(11, Proof::Same).expect("an outcome").0;
        last.mark = record.mark();
        let other = OrderRecord::new(11, 0, [], &value.map(|byte| if byte == b'8' { b'9' } else { byte }));
        assert_eq!(Proof::new(&last, order, Some(&other)), Proof::Same);
        let money = String::from_utf8(value.to_vec())
            .expect("text")
            .replace(":1,\"order", ":2,\"order");
        let other = OrderRecord::new(11, 0, [], money.as_bytes());
        assert_eq!(Proof::new(&last, order, Some(&other)), Proof::Different(last.order_id));
        assert_eq!(Proof::new(&last, order, None), Proof::Different(None));
        last.order_offset = 9;
        assert_eq!(Proof::new(&last, order, None), Proof::Expired);
        // A record without an order proves the outcome of a record without an order.
        let rejected = OutcomeRecord {
            order_offset: 11,
            order_id: None,
            outcome: Outcome::Rejected,
            mark: None,
        };
        assert_eq!(
            Proof::new(&rejected, order, Some(&OrderRecord::new(11, 0, [], b"{"))),
            Proof::Same
        );
    }
}
