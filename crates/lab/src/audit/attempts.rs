//! The ledgers: each attempt at an order, and its answer.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use tokio_util::sync::CancellationToken;

use super::decode::hash_of_key;
use super::evidence::{Owner, Record};
use crate::OrderId;
use crate::ledger::{self, Faults, Line, Run};

/// Runs of all ledgers.
const MAX_RUNS: usize = 1 << u8::BITS;
/// The partition of a receipt that names none of a mall's.
const NO_PARTITION: u8 = u8::MAX;

/// The requests of clients, and their answers.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    /// By run, order and time: the attempts at one order stand together.
    pub(super) attempts: Vec<Attempt>,
    pub(super) runs: Vec<Run>,
    pub(super) faults: Faults,
    /// In the order of the ledgers.
    pub(super) beats: Vec<Beat>,
    /// From the first line to the last, in Unix microseconds.
    pub(super) begun: u64,
    pub(super) ended: u64,
}

/// An attempt at an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    /// When it was made, in Unix microseconds.
    pub(super) at: u64,
    /// The id that its answer names.
    pub(super) order_id: Option<OrderId>,
    /// The offset that its receipt names.
    pub(super) offset: i64,
    /// The number of its order in its run.
    pub(super) order: u32,
    /// Microseconds until its answer, at most an hour.
    took: u32,
    /// A hash of money and key.
    pub(super) asked: u32,
    /// The index of its run.
    pub(super) run: u8,
    /// The partition that was asked for.
    pub(super) partition: u8,
    /// The partition that its receipt names.
    pub(super) receipt: u8,
    pub(super) answer: Answered,
}

/// The content of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    Acknowledged,
    /// Acknowledged by the answer to an earlier attempt.
    Replayed,
    Refused,
    Unknown,
    /// There is no answer: the load was stopped before.
    Not,
}

/// A sign of life of a load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beat {
    pub(super) at: u64,
    pub(super) due: u64,
    pub(super) sent: u64,
    pub(super) run: u8,
}

impl Attempt {
    /// An attempt that has no answer yet.
    pub(super) fn new(at: u64, run: u8, order: u32, partition: u16, asked: u32) -> Self {
        Self {
            at,
            order_id: None,
            offset: -1,
            order,
            took: 0,
            asked,
            run,
            partition: short(partition),
            receipt: NO_PARTITION,
            answer: Answered::Not,
        }
    }

    /// Gives it an answer.
    pub(super) fn answer(&mut self, at: u64, answer: &ledger::Answer) {
        self.took = u32::try_from(at.saturating_sub(self.at)).unwrap_or(u32::MAX);
        match *answer {
            ledger::Answer::Acknowledged {
                order_id,
                partition,
                offset,
                replayed,
            } => {
                self.answer = if replayed {
                    Answered::Replayed
                } else {
                    Answered::Acknowledged
                };
                (self.order_id, self.receipt, self.offset) = (Some(order_id), short(partition), offset);
            }
            ledger::Answer::Refused { .. } => self.answer = Answered::Refused,
            ledger::Answer::Unknown { order_id, .. } => (self.answer, self.order_id) = (Answered::Unknown, order_id),
        }
    }

    fn is_same_order(&self, other: &Self) -> bool {
        (self.run, self.order) == (other.run, other.order)
    }

    pub(super) fn is_acknowledged(&self) -> bool {
        matches!(self.answer, Answered::Acknowledged | Answered::Replayed)
    }

    /// Returns `true` if it may have written a record.
    pub(super) fn may_have_written(&self) -> bool {
        matches!(self.answer, Answered::Acknowledged | Answered::Unknown | Answered::Not)
    }

    /// When it was answered; `None` if it was not.
    pub(super) fn answered(&self) -> Option<u64> {
        (self.answer != Answered::Not).then(|| self.at + u64::from(self.took))
    }
}

/// Returns `true` if no attempt at an order can have written a record.
pub(super) fn are_all_refused(attempts: &[Attempt]) -> bool {
    attempts.iter().all(|attempt| attempt.answer == Answered::Refused)
}

fn short(partition: u16) -> u8 {
    u8::try_from(partition).unwrap_or(NO_PARTITION)
}

/// A hash of what is the same in all attempts at an order and stands in its record: the money, and the hash of the key.
pub(super) fn asked(money: u32, key: u32) -> u32 {
    // Different money gives different hashes: the factor is odd.
    key.rotate_left(16) ^ money.wrapping_mul(0x9e37_79b1)
}

impl Ledger {
    /// Reads ledgers, with at most this many attempts.
    ///
    /// # Errors
    /// When one cannot be read or has more, or `stop` is cancelled.
    pub(super) fn read<'a>(
        paths: impl IntoIterator<Item = &'a Path>,
        limit: u64,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let mut reading = Reading::default();
        for path in paths {
            reading.pending.clear();
            reading.has_run = false;
            ledger::read(path, |line| {
                ensure!(!stop.is_cancelled(), "stopped while reading {}", path.display());
                let attempts = reading.ledger.attempts.len() as u64;
                ensure!(attempts <= limit, "{} has more than {limit} attempts", path.display());
                reading.take(line).with_context(|| path.display().to_string())
            })?;
        }
        Ok(reading.ledger.sorted())
    }

    /// Brings the attempts into their order.
    pub(super) fn sorted(mut self) -> Self {
        self.attempts
            .sort_unstable_by_key(|attempt| (attempt.run, attempt.order, attempt.at));
        self
    }

    /// The orders: the index of the first attempt at each, and all attempts at it.
    pub(super) fn orders(&self) -> impl Iterator<Item = (usize, &[Attempt])> {
        let mut next = 0;
        self.attempts.chunk_by(Attempt::is_same_order).map(move |attempts| {
            let first = next;
            next += attempts.len();
            (first, attempts)
        })
    }

    /// Returns the attempts of the order whose first attempt has this index.
    pub(super) fn order(&self, first: usize) -> &[Attempt] {
        let mut orders = self.attempts[first..].chunk_by(Attempt::is_same_order);
        orders.next().unwrap_or_default()
    }

    /// The user of an attempt.
    pub(super) fn user(&self, attempt: &Attempt) -> u64 {
        let run = self.runs.get(usize::from(attempt.run));
        run.map_or(0, |run| run.user_id(attempt.order.into()))
    }

    /// The order to which a record belongs.
    pub(super) fn owner(&self, record: &Record) -> Owner {
        let (run, order) = Run::of(record.user);
        let Some(run) = self.runs.iter().position(|of| *of == run) else {
            return Owner::Stranger;
        };
        let key = (run, order);
        let of = |attempt: &Attempt| (usize::from(attempt.run), u64::from(attempt.order));
        let first = self.attempts.partition_point(|attempt| of(attempt) < key);
        match self.attempts.get(first) {
            Some(attempt) if of(attempt) == key => Owner::Attempt(first as u32),
            _ => Owner::Unknown,
        }
    }
}

/// A ledger that is being read.
#[derive(Default)]
struct Reading {
    ledger: Ledger,
    /// The file has the line of a run.
    has_run: bool,
    /// The attempts of the run that have no answer yet, by their order.
    pending: HashMap<u64, usize>,
}

impl Reading {
    fn take(&mut self, line: Line) -> anyhow::Result<()> {
        match line {
            Line::Run { at, run, .. } => {
                self.saw(at);
                self.pending.clear();
                self.has_run = true;
                let runs = &mut self.ledger.runs;
                ensure!(runs.len() < MAX_RUNS, "expected at most {MAX_RUNS} runs");
                ensure!(
                    !runs.contains(&run),
                    "run {} comes twice: is it the same ledger?",
                    run.user_id(0)
                );
                runs.push(run);
            }
            Line::Attempt {
                at,
                order,
                partition,
                money,
                key,
            } => {
                self.saw(at);
                let key = key.map_or(0, |key| hash_of_key(key.as_bytes()));
                let number = u32::try_from(order).ok().filter(|_| order < ledger::MAX_ORDERS);
                let number = number.context("expected fewer orders in a run")?;
                let attempt = Attempt::new(at, self.run()?, number, partition, asked(money, key));
                self.pending.insert(order, self.ledger.attempts.len());
                self.ledger.attempts.push(attempt);
            }
            Line::Answer { at, order, answer } => {
                self.saw(at);
                let Some(index) = self.pending.remove(&order) else {
                    bail!("an answer to order {order}, which has no attempt without one");
                };
                self.ledger.attempts[index].answer(at, &answer);
            }
            Line::Beat { at, due, sent } => {
                self.saw(at);
                let run = self.run()?;
                self.ledger.beats.push(Beat { at, due, sent, run });
            }
            Line::Fault {
                at,
                name,
                subjects,
                phase,
            } => self.ledger.faults.add(at, name, subjects, phase),
        }
        Ok(())
    }

    fn saw(&mut self, at: u64) {
        let ledger = &mut self.ledger;
        ledger.begun = if ledger.begun == 0 { at } else { ledger.begun.min(at) };
        ledger.ended = ledger.ended.max(at);
    }

    fn run(&self) -> anyhow::Result<u8> {
        ensure!(self.has_run, "expected the line of a run first");
        Ok(u8::try_from(self.ledger.runs.len() - 1)?)
    }
}
