//! Proves that the figures of a partition are of the log that is there, by the last record that was counted.

use domain::{LastRecord, Position};
use kafka::Watermarks;

/// Why a partition is counted from its start, though there are figures of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Discard {
    /// The log is shorter than what was counted of it.
    #[error(
        "expected to go on at offset {next}, found only offsets up to {high}: the topic was truncated or recreated"
    )]
    Truncated { next: i64, high: i64 },
    /// Records have been removed that were not counted. The totals would lack them.
    #[error("expected to go on at offset {next}, found only offsets from {low} on: the records between were removed")]
    Removed { next: i64, low: i64 },
    /// The log is another one.
    #[error("expected {}, found {}: the topic was recreated", name(Some(.expected)), name(.found.as_ref()))]
    Recreated {
        expected: LastRecord,
        found: Option<LastRecord>,
    },
}

/// Checks a position against the offsets of the log. Returns the record that has to be there if it is the same log;
/// `None` if nothing was counted, or the record is gone.
///
/// # Errors
/// When the position does not exist (any more).
pub(crate) fn check(position: Position, Watermarks { low, high }: Watermarks) -> Result<Option<LastRecord>, Discard> {
    let Position { next, last, .. } = position;
    match last {
        Some(_) if next > high => Err(Discard::Truncated { next, high }),
        Some(_) if next < low => Err(Discard::Removed { next, low }),
        // Retention may have removed all that was counted, and nothing else. A log that was recreated would have to begin
        // at this very offset by chance.
        last => Ok(last.filter(|last| last.offset >= low)),
    }
}

/// Compares the last record that was counted with the one that is at its offset now.
///
/// # Errors
/// When they differ.
pub(crate) fn compare(expected: LastRecord, found: Option<LastRecord>) -> Result<(), Discard> {
    if found == Some(expected) {
        Ok(())
    } else {
        Err(Discard::Recreated { expected, found })
    }
}

fn name(record: Option<&LastRecord>) -> String {
    let Some(LastRecord {
        offset,
        timestamp,
        order_id,
    }) = record
    else {
        return "none there".to_owned();
    };
    let order = order_id.map_or_else(|| "a record without an order".to_owned(), |id| format!("order {id}"));
    let time = timestamp.unwrap_or_default();
    format!("{order} of time {time} at offset {offset}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Watermarks = Watermarks { low: 10, high: 20 };

    fn last(offset: i64, id: &str) -> LastRecord {
        LastRecord {
            offset,
            timestamp: Some(7),
            order_id: Some(id.parse().expect("an id")),
        }
    }

    fn position(next: i64) -> Position {
        Position {
            begin: 0,
            next,
            last: Some(last(next - 1, "5")),
        }
    }

    #[test]
    fn a_position_outside_the_log_is_discarded() {
        for (next, reason) in [
            (21, "expected to go on at offset 21, found only offsets up to 20"),
            (9, "expected to go on at offset 9, found only offsets from 10 on"),
        ] {
            let error = check(position(next), BOUNDS).expect_err(reason).to_string();
            assert!(error.starts_with(reason), "{error}");
        }
        let emptied = Watermarks { low: 0, high: 0 };
        assert!(check(position(5), emptied).is_err(), "recreated, and still empty");
    }

    #[test]
    fn a_position_within_the_log_is_compared_with_its_last_record() {
        for next in [11, 15, 20] {
            let expected = last(next - 1, "5");
            assert_eq!(check(position(next), BOUNDS), Ok(Some(expected)));
        }
        assert_eq!(compare(last(14, "5"), Some(last(14, "5"))), Ok(()));
        let later = LastRecord {
            timestamp: Some(8),
            ..last(14, "5")
        };
        for found in [None, Some(last(14, "6")), Some(last(15, "5")), Some(later)] {
            let error = compare(last(14, "5"), found).expect_err("another log").to_string();
            assert!(
                error.starts_with("expected order 5 of time 7 at offset 14, found"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_last_record_that_retention_has_removed_is_no_reason_to_count_again() {
        let after = Ok(None);
        assert_eq!(check(position(10), BOUNDS), after);
        // The end of a transaction stands between the last record and the position.
        let shipments = Position {
            last: Some(last(8, "5")),
            ..position(10)
        };
        assert_eq!(check(shipments, BOUNDS), after);
        let all_gone = Watermarks { low: 10, high: 10 };
        assert_eq!(check(shipments, all_gone), after);
    }

    #[test]
    fn where_nothing_was_counted_the_log_is_read_from_its_start() {
        let nothing = Position {
            begin: 5,
            next: 5,
            last: None,
        };
        for position in [Position::default(), nothing] {
            assert_eq!(check(position, BOUNDS), Ok(None));
        }
    }
}
