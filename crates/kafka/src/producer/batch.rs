//! The outcomes of records that were sent together.

use std::sync::Arc;

use parking_lot::Mutex;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::oneshot;

use super::{Delivery, SendError};

type Outcome = Result<Delivery, SendError>;

/// The outcomes of records that were sent together, as they come in. Clones share their state.
#[derive(Clone)]
pub(super) struct Batch(Arc<Mutex<State>>);

struct State {
    outcomes: Vec<Option<Outcome>>,
    missing: usize,
    /// Told when none is missing any more.
    complete: Option<oneshot::Sender<()>>,
}

/// Where the outcome of one record goes. librdkafka holds it while it has the record.
pub(super) struct Report {
    batch: Batch,
    index: usize,
}

impl Report {
    pub(super) fn settle(&self, outcome: Outcome) {
        self.batch.settle(self.index, outcome);
    }
}

impl Batch {
    /// A batch of `records` records, and what tells when all of them have an outcome.
    pub(super) fn new(records: usize) -> (Self, oneshot::Receiver<()>) {
        let (complete, completed) = oneshot::channel();
        let state = State {
            outcomes: vec![None; records],
            missing: records,
            // Nobody would ever tell that an empty batch is complete.
            complete: (records > 0).then_some(complete),
        };
        (Self(Arc::new(Mutex::new(state))), completed)
    }

    /// Where the outcome of the record at `index` goes.
    pub(super) fn report(&self, index: usize) -> Report {
        Report {
            batch: self.clone(),
            index,
        }
    }

    pub(super) fn settle(&self, index: usize, outcome: Outcome) {
        let mut state = self.0.lock();
        // A record that was given up has left no place for its outcome.
        let Some(settled @ None) = state.outcomes.get_mut(index) else {
            return;
        };
        *settled = Some(outcome);
        state.missing -= 1;
        if state.missing == 0
            && let Some(complete) = state.complete.take()
        {
            // An error means that nobody waits any more.
            let _ = complete.send(());
        }
    }

    /// The outcomes so far; what is missing is unknown, and stays so when its report comes later.
    pub(super) fn into_outcomes(self) -> Vec<Outcome> {
        let outcomes = std::mem::take(&mut self.0.lock().outcomes);
        let late = || SendError::Unknown(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut));
        outcomes
            .into_iter()
            .map(|outcome| outcome.unwrap_or_else(|| Err(late())))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(offset: i64) -> Outcome {
        Ok(Delivery { offset })
    }

    #[test]
    fn a_batch_is_complete_when_every_record_has_an_outcome_in_its_place() {
        let (batch, mut complete) = Batch::new(2);
        batch.report(1).settle(delivered(8));
        assert!(complete.try_recv().is_err());
        batch.report(0).settle(delivered(7));
        assert!(complete.try_recv().is_ok());
        let offsets: Vec<i64> = batch
            .into_outcomes()
            .into_iter()
            .map(|outcome| outcome.expect("delivered").offset)
            .collect();
        assert_eq!(offsets, [7, 8]);
    }

    #[test]
    fn what_has_no_outcome_in_time_is_unknown_and_a_late_report_is_ignored() {
        let (batch, _complete) = Batch::new(2);
        let late = batch.report(0);
        batch.report(1).settle(delivered(8));
        let outcomes = batch.into_outcomes();
        assert!(
            matches!(outcomes[..], [Err(SendError::Unknown(_)), Ok(_)]),
            "{outcomes:?}"
        );
        late.settle(delivered(7));
    }

    #[tokio::test]
    async fn an_empty_batch_is_not_waited_for() {
        let (batch, complete) = Batch::new(0);
        assert!(complete.await.is_err());
        assert!(batch.into_outcomes().is_empty());
    }
}
