//! Notices that topic `order` was recreated while it is consumed.
//!
//! A topic that is deleted, created again and filled beyond the position looks like one that goes on. Between the last
//! record of the old topic and the first of the new one there is a silence or an error. After either, the record at the
//! last outcome is read again: it must be the one that the outcome speaks of. Only then is the next record taken.

use std::time::{Duration, Instant};

use crate::outcome::OrderRecord;
use crate::recovery::Progress;

/// A silence shorter than this is too short to recreate and fill a topic. Longer than repository-N gathers a batch.
const SILENCE: Duration = Duration::from_millis(250);

/// The treatment of a record.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// It is the next record.
    Take,
    /// It has its outcome already: it was read again as a proof.
    Pass,
    /// Read from this offset again.
    ReadAgain(i64),
    /// Read back from the logs: the partition is not what it was.
    Recover(String),
}

/// Checks that the records that come continue those before.
#[derive(Debug, Default)]
pub struct Continuity {
    /// Since when nothing has come.
    silent_since: Option<Instant>,
    /// A proof is needed, whatever the time.
    doubtful: bool,
    /// The record at the last outcome is read again.
    proving: bool,
}

impl Continuity {
    /// Nothing has come.
    pub fn on_silence(&mut self, now: Instant) {
        self.silent_since.get_or_insert(now);
    }

    /// The broker does not serve the partition.
    pub fn on_interruption(&mut self) {
        self.doubtful = true;
    }

    /// A record has come.
    pub fn on_record(&mut self, record: &OrderRecord, progress: &Progress, now: Instant) -> Step {
        let Some(last) = progress.last else {
            return Step::Take;
        };
        if self.proving {
            if !progress.is_confirmed_by(record) {
                let offset = last.order_offset;
                return Step::Recover(format!(
                    "topic order has another record at offset {offset} than was shipped"
                ));
            }
            *self = Self::default();
            return Step::Pass;
        }
        let silence = self
            .silent_since
            .take()
            .map(|since| now.saturating_duration_since(since));
        match (self.doubtful, silence > Some(SILENCE)) {
            (false, false) => Step::Take,
            _ if progress.is_provable => {
                self.proving = true;
                Step::ReadAgain(last.order_offset)
            }
            // Retention has removed the record. Then only an error is worth the time of a recovery.
            (true, _) => Step::Recover("topic order was not served for a while".to_owned()),
            (false, true) => Step::Take,
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::Outcome;

    use super::*;
    use crate::outcome::OutcomeRecord;
    use crate::window::Window;

    fn record(offset: i64, id: u64) -> OrderRecord {
        let value = format!(r#"{{"money":1,"order_id":"{id}","time":1,"user_id":"1"}}"#);
        OrderRecord::new(offset, 0, [], value.as_bytes())
    }

    /// Record 4 was shipped.
    fn progress() -> Progress {
        let shipped = record(4, 7);
        Progress {
            position: 5,
            order_end: 5,
            outcomes_read: 1,
            window: Window::default(),
            last: Some(OutcomeRecord {
                order_offset: 4,
                order_id: shipped.order_id(),
                outcome: Outcome::Shipped,
                mark: shipped.mark(),
            }),
            is_provable: true,
        }
    }

    /// A consumer to which nothing has come for a while.
    fn silent(now: Instant) -> Continuity {
        let mut continuity = Continuity::default();
        continuity.on_silence(now);
        continuity.on_silence(now + SILENCE);
        continuity
    }

    #[test]
    fn a_record_after_a_silence_or_an_interruption_is_taken_after_a_proof() {
        let (now, progress) = (Instant::now(), progress());
        let mut interrupted = Continuity::default();
        interrupted.on_interruption();
        for mut continuity in [silent(now), interrupted] {
            let later = now + SILENCE * 2;
            assert_eq!(
                continuity.on_record(&record(5, 8), &progress, later),
                Step::ReadAgain(4)
            );
            assert_eq!(continuity.on_record(&record(4, 7), &progress, later), Step::Pass);
            assert_eq!(continuity.on_record(&record(5, 8), &progress, later), Step::Take);
        }
    }

    #[test]
    fn another_record_at_the_last_outcome_ends_the_round() {
        let (now, progress) = (Instant::now(), progress());
        for other in [record(4, 8), record(6, 7)] {
            let mut continuity = silent(now);
            continuity.on_record(&record(5, 8), &progress, now + SILENCE * 2);
            let step = continuity.on_record(&other, &progress, now);
            assert!(matches!(step, Step::Recover(_)), "{step:?}");
        }
    }

    #[test]
    fn without_a_record_to_prove_only_an_error_leads_to_a_recovery() {
        let now = Instant::now();
        let progress = Progress {
            is_provable: false,
            ..progress()
        };
        let mut continuity = silent(now);
        assert_eq!(
            continuity.on_record(&record(5, 8), &progress, now + SILENCE * 2),
            Step::Take
        );
        continuity.on_interruption();
        let step = continuity.on_record(&record(5, 8), &progress, now);
        assert!(matches!(step, Step::Recover(_)), "{step:?}");
    }

    #[test]
    fn a_record_in_a_flow_of_records_is_taken_at_once() {
        let (now, progress) = (Instant::now(), progress());
        let mut continuity = silent(now);
        assert_eq!(
            continuity.on_record(&record(5, 8), &progress, now + SILENCE),
            Step::Take
        );
        let nothing_shipped = Progress { last: None, ..progress };
        let mut continuity = silent(now);
        assert_eq!(
            continuity.on_record(&record(0, 8), &nothing_shipped, now + SILENCE * 2),
            Step::Take
        );
    }
}
