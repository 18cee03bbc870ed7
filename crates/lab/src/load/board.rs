//! The figures of a load that runs.

use std::cell::RefCell;
use std::time::Duration;

use domain::{Partition, Region};
use hdrhistogram::Histogram;

use crate::ledger::Answer;

/// Latencies are kept from 1 µs to a minute, with two digits.
const MAX_LATENCY_MICROS: u64 = 60_000_000;

/// The figures of a load, by region. One thread writes it and reads it.
#[derive(Debug)]
pub struct Board {
    regions: RefCell<Vec<Figures>>,
}

/// The figures of one region, or of all.
#[derive(Clone, Debug)]
pub struct Figures {
    /// The partition of the region.
    pub partition: Partition,
    /// Orders that were begun.
    pub sent: u64,
    /// Orders that are in the log.
    pub acknowledged: u64,
    /// Orders that are not: 503, 4xx, no connection.
    pub refused: u64,
    /// Orders that may be: 504, no answer. One that is tried again until its outcome is known is no longer among them.
    pub unknown: u64,
    /// From the time that an order was due until it was acknowledged, in microseconds.
    pub latencies: Histogram<u64>,
}

impl Figures {
    pub(super) fn new(partition: Partition) -> Self {
        let latencies = Histogram::new_with_bounds(1, MAX_LATENCY_MICROS, 2);
        Self {
            partition,
            sent: 0,
            acknowledged: 0,
            refused: 0,
            unknown: 0,
            latencies: latencies.expect("bounds that are in order"),
        }
    }

    /// The region.
    pub fn region(&self) -> Region {
        Region::from(self.partition)
    }

    /// A latency in milliseconds, below which this share of all are.
    pub fn quantile_millis(&self, quantile: f64) -> Option<f64> {
        let micros = self.latencies.value_at_quantile(quantile);
        (!self.latencies.is_empty()).then_some(micros as f64 / 1000.0)
    }

    /// Adds the figures of another region.
    pub(super) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.latencies.add(&other.latencies).expect("the same bounds");
    }

    /// Returns the difference to an earlier state of the same figures.
    pub(super) fn since(&self, before: &Self) -> Self {
        let mut latencies = self.latencies.clone();
        latencies.subtract(&before.latencies).expect("fewer of the same");
        Self {
            partition: self.partition,
            sent: self.sent - before.sent,
            acknowledged: self.acknowledged - before.acknowledged,
            refused: self.refused - before.refused,
            unknown: self.unknown.saturating_sub(before.unknown),
            latencies,
        }
    }
}

impl Board {
    /// Nothing has been sent.
    pub fn new(partitions: &[Partition]) -> Self {
        Self {
            regions: RefCell::new(partitions.iter().copied().map(Figures::new).collect()),
        }
    }

    /// The figures of each region, as they are now.
    pub fn regions(&self) -> Vec<Figures> {
        self.regions.borrow().clone()
    }

    pub(super) fn sent(&self, region: usize) {
        self.regions.borrow_mut()[region].sent += 1;
    }

    /// The outcome of an order, `late` after it was due.
    pub(super) fn settled(&self, region: usize, answer: &Answer, late: Duration) {
        let figures = &mut self.regions.borrow_mut()[region];
        match answer {
            Answer::Acknowledged { .. } => {
                figures.acknowledged += 1;
                let micros = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
                figures.latencies.saturating_record(micros);
            }
            Answer::Refused { .. } => figures.refused += 1,
            Answer::Unknown { .. } => figures.unknown += 1,
        }
    }

    /// Takes back the unknown outcome of an order that is repeated.
    pub(super) fn retried(&self, region: usize) {
        self.regions.borrow_mut()[region].unknown -= 1;
    }
}
