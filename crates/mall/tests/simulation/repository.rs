//! repository-N on the simulated broker: the real recovery and decisions, and a loop as its worker's.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::time::Instant;

use domain::{Order, RequestText, Shipment, Timestamp, Topic, mark};
use kafka::{RangeProgress, Watermarks};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use repository::{Batch, Continuity, Logs, OnLostPosition, OrderRecord, OutcomeRecord, Progress, StartError, Step};

use crate::broker::{Fate, OrderEntry, Partition, Refusal, ShipmentEntry};
use crate::world::Mistake;

/// A connection of one process to the broker.
pub(crate) struct Connection {
    partition: Rc<RefCell<Partition>>,
    epoch: u32,
    rng: RefCell<StdRng>,
    pub(crate) mistake: Mistake,
    /// The last outcome that was read, for the mistake that proves nothing.
    last: RefCell<Option<OutcomeRecord>>,
}

impl Connection {
    fn fate(&self) -> Fate {
        let mut rng = self.rng.borrow_mut();
        match rng.random_range(0..20) {
            0 => Fate::ReplyLost,
            1 => Fate::Aborted,
            2 => Fate::Delayed(rng.random()),
            _ => Fate::Committed,
        }
    }

    /// Visits the offsets of a range as a consumer does: by events, among which are ends of the partition that come early.
    fn visit(&self, offsets: Range<i64>, mut visit: impl FnMut(i64)) {
        let mut progress = RangeProgress::new(offsets.clone());
        let mut next = offsets.start;
        while !progress.is_complete() {
            if self.rng.borrow_mut().random_range(0..8) == 0 {
                // A follower says that the partition ends here.
                progress.on_position(next);
                if self.mistake == Mistake::EndAtEvent {
                    return;
                }
                continue;
            }
            if progress.on_record(next) {
                visit(next);
            }
            next += 1;
        }
    }

    fn order_record(&self, offset: i64, entry: &OrderEntry) -> OrderRecord {
        let headers: Vec<(&str, &str)> = entry.headers.pairs().collect();
        let mut record = OrderRecord::new(offset, entry.timestamp, headers, &entry.value);
        if let (Mistake::KeyAlone, Some(key), Ok((_, mark))) =
            (self.mistake, &entry.headers.idempotency_key, &mut record.content)
        {
            *mark = domain::Mark::of_request(key, &RequestText::default());
        }
        record
    }
}

impl Connection {
    /// Reads the next records as the worker does; `None` if the topic is not what it was.
    fn next_batch(&self, progress: &Progress, continuity: &mut Continuity, most: i64) -> Option<Batch> {
        let (mut batch, mut next) = (Batch::default(), progress.position);
        while next < self.partition.borrow().high_watermark.min(progress.position + most) {
            let mut found = None;
            self.read_orders(next..next + 1, &mut |record| found = Some(record))
                .expect("a read in memory");
            let Some(record) = found else { break };
            let step = match self.mistake {
                Mistake::NoProof => Step::Take,
                _ => continuity.on_record(&record, progress, Instant::now()),
            };
            match step {
                Step::Take => progress.decide(&mut batch, record),
                Step::Pass => {}
                Step::ReadAgain(offset) => {
                    batch = Batch::default();
                    next = offset;
                    continue;
                }
                Step::Recover(_) => return None,
            }
            next += 1;
        }
        Some(batch)
    }
}

impl Logs for Connection {
    type Error = Refusal;

    /// Few, so that a start does not read the whole log.
    const TAIL_OFFSETS: i64 = 8;

    fn bounds(&self, topic: Topic) -> Result<Watermarks, Refusal> {
        let partition = self.partition.borrow();
        Ok(match topic {
            Topic::Order => partition.order_bounds(),
            Topic::Shipment => partition.shipment_bounds(),
        })
    }

    fn shipment_at(&self, time: Timestamp) -> Result<i64, Refusal> {
        let partition = self.partition.borrow();
        let time = time.unix_millis().cast_signed();
        let is_later = |entry: &ShipmentEntry| matches!(entry, ShipmentEntry::Record(_, at) if *at >= time);
        let end = partition.shipments.len() as i64;
        let low = partition.shipment_low;
        let found = partition.shipments.iter().skip(low as usize).position(is_later);
        Ok(found.map_or(end, |index| low + index as i64))
    }

    fn read_orders(&self, offsets: Range<i64>, visit: &mut dyn FnMut(OrderRecord)) -> Result<(), Refusal> {
        let partition = self.partition.borrow();
        if self.mistake == Mistake::NoProof
            && let Some(last) = *self.last.borrow()
            && offsets == (last.order_offset..last.order_offset + 1)
        {
            visit(OrderRecord {
                offset: last.order_offset,
                timestamp: 0,
                content: content_of(&last),
            });
            return Ok(());
        }
        self.visit(offsets, |offset| {
            visit(self.order_record(offset, &partition.orders[offset as usize]))
        });
        Ok(())
    }

    fn read_outcomes(&self, offsets: Range<i64>, visit: &mut dyn FnMut(OutcomeRecord)) -> Result<(), Refusal> {
        let partition = self.partition.borrow();
        let start = match self.mistake {
            Mistake::ShortWindow => offsets.start.max(offsets.end - 4),
            _ => offsets.start,
        };
        self.visit(start..offsets.end, |offset| {
            if let ShipmentEntry::Record(shipment, _) = &partition.shipments[offset as usize] {
                let outcome = OutcomeRecord::from(&**shipment);
                *self.last.borrow_mut() = Some(outcome);
                visit(outcome);
            }
        });
        Ok(())
    }

    fn own_commit(&self) -> Result<Option<i64>, Refusal> {
        let committed = self.partition.borrow().committed;
        Ok(committed.filter(|(_, is_own)| *is_own).map(|(offset, _)| offset))
    }

    fn write(&self, shipments: &[(Shipment, i64)]) -> Result<(), Refusal> {
        let fate = self.fate();
        self.partition.borrow_mut().write(self.epoch, shipments.to_vec(), fate)
    }
}

/// The content by which a record would prove an outcome.
fn content_of(last: &OutcomeRecord) -> Result<(Order, domain::Mark), domain::NotAnOrder> {
    let order = |id| format!(r#"{{"money":1,"order_id":"{id}","time":1,"user_id":"1"}}"#);
    let value = last.order_id.map(order).unwrap_or_default();
    let mark = last.mark.unwrap_or_else(|| mark([], b""));
    Order::from_record(value.as_bytes()).map(|order| (order, mark))
}

/// A process.
pub(crate) struct Repository {
    connection: Connection,
    progress: Option<Progress>,
    continuity: Continuity,
    /// The difference of its clock to that of order-N, in milliseconds.
    skew: i64,
}

impl Repository {
    pub(crate) fn new(partition: &Rc<RefCell<Partition>>, seed: u64, mistake: Mistake) -> Self {
        let connection = Connection {
            partition: Rc::clone(partition),
            epoch: 0,
            rng: RefCell::new(StdRng::seed_from_u64(seed)),
            mistake,
            last: RefCell::default(),
        };
        let skew = connection.rng.borrow_mut().random_range(-500_000..500_000);
        Self {
            connection,
            progress: None,
            continuity: Continuity::default(),
            skew,
        }
    }

    /// The broker does not serve the partition for a moment.
    pub(crate) fn interrupt(&mut self) {
        self.continuity.on_interruption();
    }

    /// One step: takes over, or ships a few records. An error ends the process.
    pub(crate) fn step(&mut self, now: Timestamp, most: i64) -> Result<(), String> {
        let Some(progress) = &mut self.progress else {
            self.progress = self.start()?;
            return Ok(());
        };
        let Some(batch) = self.connection.next_batch(progress, &mut self.continuity, most) else {
            self.progress = None;
            return Ok(());
        };
        if batch.is_empty() {
            return Ok(());
        }
        let now = Timestamp::from_unix_millis(now.unix_millis().saturating_add_signed(self.skew));
        let shipments = batch.shipments(now, now);
        match self.connection.write(&shipments) {
            Ok(()) => {
                progress.committed(&shipments);
                self.connection.partition.borrow_mut().committed = Some((progress.position, true));
                Ok(())
            }
            Err(Refusal::Fenced) => Err("fenced".to_owned()),
            // Every failure forgets everything and reads back.
            Err(Refusal::Unknown) => {
                self.progress = None;
                Ok(())
            }
        }
    }

    fn start(&mut self) -> Result<Option<Progress>, String> {
        let is_early = self.connection.mistake == Mistake::ShipBeforeFencing;
        if is_early {
            self.connection.epoch = self.connection.partition.borrow().epoch();
        } else {
            self.connection.epoch = self.connection.partition.borrow_mut().take_over();
        }
        let started = repository::start(&self.connection, OnLostPosition::Refuse);
        if is_early {
            self.connection.epoch = self.connection.partition.borrow_mut().take_over();
        }
        match started {
            Ok(mut progress) => {
                self.continuity = Continuity::default();
                let committed = self.connection.partition.borrow().committed;
                if let (Mistake::TrustGroup, Some((offset, _))) = (self.connection.mistake, committed) {
                    progress.position = progress.position.max(offset);
                }
                Ok(Some(progress))
            }
            Err(StartError::Lost(lost) | StartError::Decided(lost)) => Err(lost.to_string()),
            Err(StartError::Log(Refusal::Fenced)) => Err("fenced".to_owned()),
            Err(StartError::Log(Refusal::Unknown)) => Ok(None),
        }
    }

    /// Nothing is left to do.
    pub(crate) fn is_done(&self) -> bool {
        let high = self.connection.partition.borrow().high_watermark;
        self.progress.as_ref().is_some_and(|progress| progress.position >= high)
    }
}
