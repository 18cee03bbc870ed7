//! Reads back what repository-N has done, from topic `shipment` alone.

use std::ops::Range;
use std::time::Duration;

use domain::{Detail, Mark, OrderId, Outcome, Shipment, Timestamp, Topic};
use kafka::Watermarks;

use crate::decision::Batch;
use crate::outcome::{OrderRecord, OutcomeRecord};
use crate::position::{Found, LostPosition, OnLostPosition, Proof};
use crate::window::{REACH, Window, median};

/// Orders of one moment enter the log in any order: an order is older than another only beyond this.
const CLEARLY: Duration = Duration::from_secs(60);

/// One partition of the topics `order` and `shipment`, as repository-N reads and writes it.
///
/// Reads see committed records only. A write is one transaction, and fails if another process has taken over since.
pub trait Logs {
    /// Why a read or a write failed.
    type Error;

    /// Offsets at the end of `shipment` that are searched for the last outcomes: more than a transaction has. If all of
    /// them belong to aborted transactions, eight times as many are searched, and so on.
    const TAIL_OFFSETS: i64 = 2048;

    /// The offsets that the partition holds.
    ///
    /// # Errors
    /// When the broker does not answer.
    fn bounds(&self, topic: Topic) -> Result<Watermarks, Self::Error>;

    /// The first offset of `shipment` whose record has this time or a later one.
    ///
    /// # Errors
    /// When the broker does not answer.
    fn shipment_at(&self, time: Timestamp) -> Result<i64, Self::Error>;

    /// Reads the records of `order` at these offsets.
    ///
    /// # Errors
    /// When they cannot be read to the end.
    fn read_orders(&self, offsets: Range<i64>, visit: &mut dyn FnMut(OrderRecord)) -> Result<(), Self::Error>;

    /// Reads the outcomes at these offsets of `shipment`.
    ///
    /// # Errors
    /// When they cannot be read to the end.
    fn read_outcomes(&self, offsets: Range<i64>, visit: &mut dyn FnMut(OutcomeRecord)) -> Result<(), Self::Error>;

    /// The offset that group `repository` has committed, if repository-N itself has committed it.
    ///
    /// # Errors
    /// When the broker does not answer.
    fn own_commit(&self) -> Result<Option<i64>, Self::Error>;

    /// Writes outcomes, each with its time in Unix milliseconds.
    ///
    /// # Errors
    /// When they are not written, or that is unknown.
    fn write(&self, shipments: &[(Shipment, i64)]) -> Result<(), Self::Error>;
}

/// Why repository-N cannot start.
#[derive(Debug)]
pub enum StartError<E> {
    /// The position is lost, and no operator has decided.
    Lost(LostPosition),
    /// The position was lost, and the operator's decision is written. A new producer makes sure that it is visible: the end
    /// of a transaction can take effect after the commit has returned.
    Decided(LostPosition),
    /// A read or a write failed.
    Log(E),
}

impl<E> From<E> for StartError<E> {
    fn from(error: E) -> Self {
        Self::Log(error)
    }
}

/// The work done so far: a fold over topic `shipment`.
#[derive(Debug)]
pub struct Progress {
    /// The offset of topic `order` to go on from.
    pub position: i64,
    /// The end of topic `order`, when it was asked.
    pub order_end: i64,
    /// The outcomes that were read back.
    pub outcomes_read: u64,
    /// The orders that were shipped lately.
    pub window: Window,
    /// The last outcome.
    pub last: Option<OutcomeRecord>,
    /// The record of the last outcome is still in topic `order`.
    pub is_provable: bool,
}

impl Progress {
    /// Adds outcomes that are committed.
    pub fn committed(&mut self, shipments: &[(Shipment, i64)]) {
        for (shipment, _) in shipments {
            let outcome = OutcomeRecord::from(shipment);
            self.window.add(&outcome);
            self.position = outcome.order_offset + 1;
            (self.last, self.is_provable) = (Some(outcome), true);
        }
    }

    /// Returns `true` if the record before the position still is the one that the last outcome speaks of.
    pub fn is_confirmed_by(&self, record: &OrderRecord) -> bool {
        self.last.is_none_or(|last| last.is_of(record))
    }

    /// Decides the outcome of the next record of topic `order`.
    pub fn decide(&self, batch: &mut Batch, record: OrderRecord) {
        batch.decide(record, &self.window);
    }
}

/// Finds out where to go on. A lost position is decided by the setting, and the decision is written as one outcome
/// `skipped`, so that the next start finds its position where it always is.
///
/// # Errors
/// See [`StartError`].
pub fn start<L: Logs>(logs: &L, on_lost: OnLostPosition) -> Result<Progress, StartError<L::Error>> {
    let lost = match recover(logs)? {
        Ok(progress) => return Ok(progress),
        Err(lost) => lost,
    };
    let Some(position) = lost.decided(on_lost) else {
        return Err(StartError::Lost(lost));
    };
    let skipped = skipped(logs, position, &lost)?;
    logs.write(&[(skipped, Timestamp::now().unix_millis().cast_signed())])?;
    Err(StartError::Decided(lost))
}

/// The outcome that moves the position. It names the record before the position, by which the next start proves it.
fn skipped<L: Logs>(logs: &L, position: i64, lost: &LostPosition) -> Result<Shipment, L::Error> {
    let before = order_at(logs, position - 1, logs.bounds(Topic::Order)?)?;
    Ok(Shipment {
        order_id: before.as_ref().and_then(OrderRecord::order_id),
        order_offset: position - 1,
        outcome: Outcome::Skipped,
        mark: before.as_ref().and_then(OrderRecord::mark),
        duplicate_of: None,
        detail: Some(Detail::new(format_args!(
            "MALL_REPOSITORY__ON_LOST_POSITION has decided: {lost}"
        ))),
        packed_at: None,
        shipped_at: None,
    })
}

/// Reads the window and the position back.
fn recover<L: Logs>(logs: &L) -> Result<Result<Progress, LostPosition>, L::Error> {
    let shipment = logs.bounds(Topic::Shipment)?;
    let (from, time) = start_of_window(logs, shipment)?;
    let (mut window, mut last, mut outcomes_read) = (Window::default(), None, 0);
    if from > shipment.low {
        window.forget_until(time);
    }
    let mut first = None;
    logs.read_outcomes(from..shipment.high, &mut |outcome| {
        outcomes_read += 1;
        window.add(&outcome);
        last = Some(outcome);
        let is_order = outcome.outcome != Outcome::Skipped;
        first = first.or(outcome.order_id.filter(|_| is_order));
    })?;
    // Retention has removed the outcomes before the first one. An order that is clearly older than that can have had one.
    if let Some(first) = first.filter(|_| from > 0 && from == shipment.low) {
        window.forget_until(first.time() - Mark::SPAN - CLEARLY);
    }
    let order = logs.bounds(Topic::Order)?;
    let proof = match &last {
        Some(last) => Some((
            *last,
            Proof::new(last, order, order_at(logs, last.order_offset, order)?.as_ref()),
        )),
        None => None,
    };
    let found = Found {
        last: proof,
        own_commit: logs.own_commit()?,
        shipment,
        order,
    };
    Ok(found.position().map(|position| Progress {
        position,
        order_end: order.high,
        outcomes_read,
        window,
        last,
        is_provable: proof.is_some_and(|(_, proof)| proof == Proof::Same),
    }))
}

/// The offset of `shipment` from which the window is read, and its time: fifteen minutes before that of the log.
fn start_of_window<L: Logs>(logs: &L, shipment: Watermarks) -> Result<(i64, Timestamp), L::Error> {
    let mut offsets = L::TAIL_OFFSETS;
    loop {
        let from = shipment.low.max(shipment.high.saturating_sub(offsets));
        let mut times = Vec::new();
        logs.read_outcomes(from..shipment.high, &mut |outcome| {
            times.extend(outcome.order_id.map(|id: OrderId| id.time().unix_millis()));
        })?;
        let last = times.len().saturating_sub(Window::MEDIAN_OF);
        if let Some(time) = median(times.drain(last..)) {
            let start = Timestamp::from_unix_millis(time) - REACH;
            let indexed = logs.shipment_at(start)?.clamp(shipment.low, from);
            return Ok((before_all_younger(logs, shipment, indexed, start)?, start));
        }
        if from == shipment.low {
            return Ok((from, Timestamp::from_unix_millis(0)));
        }
        offsets = offsets.saturating_mul(8);
    }
}

/// Goes back from an offset until the outcomes before it are older than `start`. The index of times can lead too far: an
/// outcome has the time at which it was shipped if the clock of repository-N was behind the id of its order.
fn before_all_younger<L: Logs>(logs: &L, shipment: Watermarks, from: i64, start: Timestamp) -> Result<i64, L::Error> {
    let mut from = from;
    loop {
        let mut youngest = None;
        let near = shipment.low.max(from - L::TAIL_OFFSETS)..from;
        logs.read_outcomes(near, &mut |outcome| youngest = youngest.max(outcome.order_id))?;
        if from == shipment.low || youngest.is_some_and(|id| id.time() <= start) {
            return Ok(from);
        }
        from = shipment.low.max(shipment.high - 2 * (shipment.high - from).max(1));
    }
}

/// The record of topic `order` at an offset, if there is one.
fn order_at<L: Logs>(logs: &L, offset: i64, order: Watermarks) -> Result<Option<OrderRecord>, L::Error> {
    if !(order.low..order.high).contains(&offset) {
        return Ok(None);
    }
    let mut found = None;
    logs.read_orders(offset..offset + 1, &mut |record| found = Some(record))?;
    Ok(found)
}
