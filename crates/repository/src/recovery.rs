//! Reads back from the logs what this repository has done.

use std::ops::Range;

use domain::{OrderId, Outcome, Shipment, Timestamp};
use kafka::{ConsumeError, ConsumedRecord, Consumer, Watermarks};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::Settings;
use crate::decision::{Batch, order_id};
use crate::interruption::Interruption;
use crate::known::KnownOrders;
use crate::position::{Found, LastOutcome, Position, Proof};
use crate::window::DuplicateWindow;

/// How many offsets at the end of `shipment` are searched for the last outcome: more than a transaction has. If these
/// are all of aborted transactions, eight times as many are searched, and so on.
const TAIL_OFFSETS: i64 = 2048;

/// What has been done so far.
#[derive(Debug)]
pub(crate) struct Progress {
    /// The offset of topic `order` to go on from.
    pub(crate) position: i64,
    /// Where topic `order` ended when it was asked.
    pub(crate) end: i64,
    /// How many outcomes were read to find that out.
    pub(crate) outcomes_read: u64,
    /// The ids that were shipped.
    pub(crate) window: DuplicateWindow,
    last: Option<LastOutcome>,
    /// Topic `shipment` is known up to this offset.
    shipment_end: i64,
}

impl Progress {
    /// A transaction with these outcomes was committed; the last of them is before this offset of `shipment`.
    pub(crate) fn committed(&mut self, batch: &Batch, shipments: &[Shipment], shipment_end: i64, known: &KnownOrders) {
        let (now, first) = (Timestamp::now(), shipment_end - batch.len() as i64);
        for ((decision, shipment), shipment_offset) in batch.decisions.iter().zip(shipments).zip(first..) {
            if let Some(order) = &decision.order {
                known.committed(order, shipment, shipment_offset);
            }
            if let (Some(id), Outcome::Shipped) = (decision.order_id(), decision.outcome) {
                self.window.insert(id, now);
            }
            self.position = decision.order_offset + 1;
            self.last = Some(LastOutcome {
                order_offset: decision.order_offset,
                order_id: decision.order_id(),
            });
        }
        self.shipment_end = shipment_end;
    }
}

/// As much of a record of topic `shipment` as is needed: most of the time of a start goes into reading these.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Done {
    order_id: Option<OrderId>,
    order_offset: i64,
    outcome: Outcome,
}

impl Done {
    /// `None` for a record that no repository wrote.
    fn from_record(record: &ConsumedRecord<'_>) -> Option<Self> {
        serde_json::from_slice(record.value()).ok()
    }

    fn shipped(&self) -> Option<OrderId> {
        self.order_id.filter(|_| self.outcome == Outcome::Shipped)
    }
}

/// Reads back from the logs of one partition. Blocks.
pub(crate) struct Recovery<'a> {
    pub(crate) partition: i32,
    pub(crate) settings: &'a Settings,
    pub(crate) orders: &'a Consumer,
    pub(crate) shipments: Consumer,
    pub(crate) stop: &'a CancellationToken,
    pub(crate) known: &'a KnownOrders,
}

impl Recovery<'_> {
    /// Finds out what has been done, and where to go on. What is known from `before` is not read again; it is left
    /// there when the broker does not answer.
    ///
    /// # Errors
    /// When the position is lost, the broker is away, or the process is asked to stop.
    pub(crate) fn read_back(&self, before: &mut Option<Progress>) -> Result<Progress, Interruption> {
        self.shipments.wait_for_broker()?;
        let shipment = self.shipments.watermarks(self.partition)?;
        let known = before
            .take()
            .filter(|before| (shipment.low..=shipment.high).contains(&before.shipment_end));
        let (mut window, mut last, from) = match known {
            Some(Progress {
                window,
                last,
                shipment_end,
                ..
            }) => (window, last, shipment_end),
            None => self.start_of_window(shipment)?,
        };
        let (now, mut first, mut outcomes_read) = (Timestamp::now(), None, 0);
        self.read(from..shipment.high, |done, offset| {
            outcomes_read += 1;
            last = Some(LastOutcome {
                order_offset: done.order_offset,
                order_id: done.order_id,
            });
            if let Some(id) = done.order_id {
                self.known.read_back(id, done.order_offset, offset);
            }
            if let Some(id) = done.shipped() {
                first.get_or_insert(id);
                window.insert(id, now);
            }
        })?;
        // Retention has removed the records before these.
        if let (Some(first), true) = (first, from > 0 && from == shipment.low) {
            window.forget_before(first);
        }
        self.orders.wait_for_broker()?;
        let order = self.orders.watermarks(self.partition)?;
        let found = Found {
            last: last
                .map(|last| Ok::<_, ConsumeError>((last, self.prove(last, order)?)))
                .transpose()?,
            committed: self.orders.committed(self.partition)?,
            shipment,
            order,
        };
        let position = self.position(&found)?;
        if last.is_none() && shipment.low > 0 {
            // Nothing is left of what was shipped, but ids grow with the log: what is older than the last order before
            // the position may have been.
            if let Some(id) = self.order_at(position - 1, order)?.flatten() {
                window.forget_before(id);
            }
        }
        Ok(Progress {
            position,
            end: order.high,
            outcomes_read,
            window,
            last,
            shipment_end: shipment.high,
        })
    }

    /// An empty window, and the offset of `shipment` from which it is to be filled.
    fn start_of_window(
        &self,
        shipment: Watermarks,
    ) -> Result<(DuplicateWindow, Option<LastOutcome>, i64), Interruption> {
        let span = self.settings.duplicate_window;
        let mut window = DuplicateWindow::new(span);
        let Some(newest) = self.newest_shipped(shipment)? else {
            return Ok((window, None, shipment.low));
        };
        let start = newest.time().min(Timestamp::now()) - span;
        let time = start.unix_millis().cast_signed();
        let from = self.shipments.offset_at(self.partition, time)?.max(shipment.low);
        if from > shipment.low {
            window.forget_before(OrderId::smallest_at(start));
        }
        Ok((window, None, from))
    }

    /// An id that was shipped lately: the middle one of those at the end of the log, so that one which somebody made up
    /// does not decide how far is read back.
    fn newest_shipped(&self, shipment: Watermarks) -> Result<Option<OrderId>, ConsumeError> {
        let mut offsets = TAIL_OFFSETS;
        loop {
            let from = shipment.low.max(shipment.high - offsets);
            let mut ids = Vec::new();
            self.read(from..shipment.high, |done, _| ids.extend(done.shipped()))?;
            ids.sort_unstable();
            if !ids.is_empty() || from == shipment.low {
                return Ok(ids.get(ids.len().saturating_sub(1) / 2).copied());
            }
            offsets = offsets.saturating_mul(8);
        }
    }

    fn read(&self, offsets: Range<i64>, mut visit: impl FnMut(Done, i64)) -> Result<(), ConsumeError> {
        self.shipments.replay(self.partition, offsets, self.stop, |record| {
            if let Some(done) = Done::from_record(record) {
                visit(done, record.offset());
            }
        })
    }

    /// Compares the last outcome with the record of topic `order` that it speaks of.
    fn prove(&self, last: LastOutcome, order: Watermarks) -> Result<Proof, ConsumeError> {
        if last.order_offset < order.low {
            return Ok(Proof::Expired);
        }
        Ok(match self.order_at(last.order_offset, order)? {
            Some(found) if found == last.order_id => Proof::Same,
            found => Proof::Different(found.flatten()),
        })
    }

    /// The id in the record of topic `order` at an offset: `None` when there is no such record, `Some(None)` when it is
    /// no order.
    fn order_at(&self, offset: i64, order: Watermarks) -> Result<Option<Option<OrderId>>, ConsumeError> {
        if !(order.low..order.high).contains(&offset) {
            return Ok(None);
        }
        let mut found = None;
        self.orders
            .replay(self.partition, offset..offset + 1, self.stop, |record| {
                if record.offset() == offset {
                    found = Some(order_id(record.value()));
                }
            })?;
        Ok(found)
    }

    /// Where to go on. What a setting decides is committed, so that the next start does not decide again.
    fn position(&self, found: &Found) -> Result<i64, Interruption> {
        let position = found
            .position(self.settings.on_lost_position)
            .map_err(|lost| Interruption::Failed(lost.into()))?;
        match position {
            Position::Proved(position) => Ok(position),
            Position::Decided(position) => {
                tracing::warn!(
                    partition = self.partition,
                    position,
                    "the position was lost, MALL_REPOSITORY__ON_LOST_POSITION has decided"
                );
                self.orders.commit_decision(self.partition, position)?;
                Ok(position)
            }
        }
    }
}
