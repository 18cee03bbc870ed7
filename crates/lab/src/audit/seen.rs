//! Which order ids a partition has had before, in memory that does not grow with it.

use std::collections::{BTreeSet, HashMap};

use domain::{OrderId, Outcome};

use super::records::OrderRecord;

/// So many ids of a partition are remembered, the largest ones. Ids grow, so that one that comes again is nearly always
/// among them: these are those of the last seconds at 20,000 orders/s, and 3 MB.
pub(super) const REMEMBERED_IDS: usize = 100_000;

/// Whether an id has come before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occurrence {
    /// It has not.
    First,
    /// It has.
    Repeated,
    /// It is smaller than all that are remembered, and others have been forgotten: only a second reading can tell.
    Uncertain,
}

/// The largest ids of a partition.
#[derive(Debug)]
pub(super) struct SeenIds {
    largest: BTreeSet<OrderId>,
    capacity: usize,
    has_forgotten: bool,
}

impl SeenIds {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            largest: BTreeSet::new(),
            capacity,
            has_forgotten: false,
        }
    }

    /// Remembers an id, and says whether it has come before.
    pub(super) fn see(&mut self, id: OrderId) -> Occurrence {
        if self.has_forgotten && self.largest.first().is_some_and(|smallest| id < *smallest) {
            return Occurrence::Uncertain;
        }
        if !self.largest.insert(id) {
            return Occurrence::Repeated;
        }
        if self.largest.len() > self.capacity {
            self.largest.pop_first();
            self.has_forgotten = true;
        }
        Occurrence::First
    }

    /// The largest id so far.
    pub(super) fn newest(&self) -> Option<OrderId> {
        self.largest.last().copied()
    }
}

/// An order whose outcome cannot be judged before it is known whether its id has come before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suspect {
    pub(super) offset: i64,
    pub(super) id: OrderId,
    pub(super) outcome: Outcome,
    /// Whether the id is so old that a repository may refuse to tell whether it has come before.
    pub(super) is_old: bool,
}

/// Where the ids of suspects have come first: a second reading of topic `order` tells.
#[derive(Debug)]
pub(super) struct FirstOffsets(HashMap<OrderId, Option<i64>>);

impl FirstOffsets {
    pub(super) fn of(suspects: &[Suspect]) -> Self {
        Self(suspects.iter().map(|suspect| (suspect.id, None)).collect())
    }

    /// Takes the next record of topic `order`.
    pub(super) fn see(&mut self, record: &OrderRecord) {
        if let Some(first) = record.id().and_then(|id| self.0.get_mut(&id)) {
            first.get_or_insert(record.offset);
        }
    }

    /// Whether the order of a suspect was in the log before.
    pub(super) fn occurrence(&self, suspect: &Suspect) -> Occurrence {
        match self.0.get(&suspect.id) {
            Some(Some(first)) if *first < suspect.offset => Occurrence::Repeated,
            _ => Occurrence::First,
        }
    }
}
