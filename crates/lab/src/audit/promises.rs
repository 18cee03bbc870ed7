//! What the mall has promised to its clients: the orders of the ledgers, and what the log must say of each.
//!
//! A ledger is read once, before the log. An order takes 64 bytes, whatever the log holds.

mod conclusion;
mod faults;
mod orders;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::{Context as _, bail};
use domain::OrderId;
use tokio_util::sync::CancellationToken;

use self::faults::Faults;
use self::orders::{Entry, Orders};
use super::findings::{Findings, Place};
use super::invariant::Invariant::{I2, I3, I6};
use super::partition::ORDER;
use super::records::Ordered;
use crate::ledger::{self, Answer, Line, MAX_ORDERS};

/// Every request is answered within this time: the gateway gives up after 6 s, and a machine under load has 2 s more.
const ANSWER_TIMEOUT_MICROS: u64 = 8_000_000;
/// So many slow answers are kept until it is known whether a fault explains them.
const MAX_SLOW: usize = 100_000;

/// The orders of the ledgers.
#[derive(Debug, Default)]
pub(super) struct Promises {
    orders: Orders,
    /// The user ids of a run begin here.
    runs: HashSet<u64>,
    /// When the first run began, in Unix microseconds.
    begun: Option<u64>,
    faults: Faults,
    /// Answers that took too long: the user, from when to when.
    slow: Vec<(u64, u64, u64)>,
    more_slow: u64,
    answers: u64,
    /// Records of the log that are of nobody in the ledgers.
    others: u64,
}

/// What is left of the partitions of topic `order`, by partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    /// The first offset.
    pub(super) low: i64,
    /// The first order.
    pub(super) first_id: Option<OrderId>,
}

impl Promises {
    /// Adds a ledger.
    ///
    /// # Errors
    /// When it cannot be read, or `stop` is cancelled.
    pub(super) fn read(&mut self, path: &Path, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut run = None;
        // The order with the largest acknowledged offset so far, by partition: what is attempted later comes after it.
        let mut last = HashMap::<u16, (i64, u64)>::new();
        ledger::read(path, |line| {
            if stop.is_cancelled() {
                bail!("stopped while reading {}", path.display());
            }
            let user = |order: u64| {
                let run: Option<ledger::Run> = run;
                let run = run.with_context(|| format!("{}: expected the line of a run first", path.display()))?;
                anyhow::Ok(run.user_id(order))
            };
            match line {
                Line::Run { at, run: begun, .. } => {
                    run = Some(begun);
                    self.runs.insert(begun.user_id(0));
                    self.begun = Some(self.begun.map_or(at, |first| first.min(at)));
                }
                Line::Attempt {
                    at,
                    order,
                    partition,
                    money,
                } => {
                    let after = last.get(&partition).map_or(0, |(_, user)| *user);
                    self.orders.get(user(order)?).attempt(at, partition, money.get(), after);
                }
                Line::Answer { at, order, answer } => {
                    let user = user(order)?;
                    if let Answer::Acknowledged { partition, offset, .. } = answer {
                        let last = last.entry(partition).or_insert((offset, user));
                        *last = (*last).max((offset, user));
                    }
                    let entry = self.orders.get(user);
                    let began = entry.began();
                    entry.answer(at, &answer);
                    self.answered(user, began, at);
                }
                Line::Fault {
                    at,
                    name,
                    subjects,
                    phase,
                } => self.faults.add(at, name, subjects, phase),
            }
            Ok(())
        })
    }

    fn answered(&mut self, user: u64, began: u64, at: u64) {
        self.answers += 1;
        if at.saturating_sub(began) <= ANSWER_TIMEOUT_MICROS {
        } else if self.slow.len() < MAX_SLOW {
            self.slow.push((user, began, at));
        } else {
            self.more_slow += 1;
        }
    }

    /// Checks an order in the log.
    pub(super) fn check_record(&mut self, partition: u16, offset: i64, order: &Ordered, findings: &mut Findings) {
        if !self.runs.contains(&(order.user - order.user % MAX_ORDERS)) {
            self.others += 1;
            return;
        }
        let place = Place::record(ORDER, partition, offset, Some(order.id));
        let Some(entry) = self.orders.find(order.user).filter(|entry| entry.was_attempted()) else {
            let user = order.user;
            findings.offence(I3, place, || {
                format!("nobody has ordered it: user {user} is not in the ledger")
            });
            return;
        };
        if entry.partition != partition {
            let asked = entry.partition;
            findings.offence(I6, place, || {
                format!("expected in partition {asked}, for which it was ordered")
            });
        }
        if entry.money != order.money {
            let (ordered, found) = (entry.money, order.money);
            findings.offence(I3, place, || {
                format!("expected money {ordered} as was ordered, found {found}")
            });
        }
        if entry.was_only_refused() {
            findings.offence(I2, place, || {
                "every attempt at it was refused as not written".to_owned()
            });
            entry.found(offset);
            return;
        }
        entry.check_copy(partition, offset, order.id, place, findings);
    }
}

/// How many orders of the ledgers there are, by what is known of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Orderings {
    /// Orders that were sent.
    pub orders: u64,
    /// They are in the log, the mall said.
    pub acknowledged: u64,
    /// They are not, it said.
    pub refused: u64,
    /// They may be.
    pub unknown: u64,
    /// Those of the unknown for which there is no answer at all.
    pub unanswered: u64,
    /// Orders that are in the log.
    pub found: u64,
    /// Orders in the log that are not of these ledgers.
    pub others: u64,
}

impl Orderings {
    fn count(&mut self, entry: &Entry) {
        self.orders += 1;
        self.found += u64::from(entry.first_offset().is_some());
        if entry.is_acknowledged() {
            self.acknowledged += 1;
        } else if entry.was_only_refused() {
            self.refused += 1;
        } else {
            self.unknown += 1;
            self.unanswered += u64::from(entry.is_pending());
        }
    }
}
