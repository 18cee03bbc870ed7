//! One partition of the topics `order` and `shipment` in memory, with the behaviour of Kafka that the core relies on.

use domain::{RecordHeaders, Shipment};
use kafka::Watermarks;

/// A record of topic `order`.
#[derive(Clone, Debug)]
pub(crate) struct OrderEntry {
    pub(crate) headers: RecordHeaders,
    pub(crate) value: Vec<u8>,
    pub(crate) timestamp: i64,
}

/// An offset of topic `shipment`.
#[derive(Clone, Debug)]
pub(crate) enum ShipmentEntry {
    /// A committed record, with its time.
    Record(Box<Shipment>, i64),
    /// An aborted record, or the end of a transaction: no reader sees it.
    Gap,
}

/// A transaction whose end is not written yet.
#[derive(Debug)]
pub(crate) struct OpenTransaction {
    records: Vec<(Shipment, i64)>,
    /// The coordinator has decided to commit, and has not told the partition yet.
    will_commit: bool,
}

/// The fate of a write, drawn before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Committed,
    /// It is committed, and the writer does not hear of it.
    ReplyLost,
    Aborted,
    /// It stays open until the next producer takes over. The flag tells whether the coordinator will commit it.
    Delayed(bool),
}

/// Why a write has failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Another producer has taken over.
    Fenced,
    /// It is unknown whether the write is committed.
    Unknown,
}

/// A partition.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    pub(crate) orders: Vec<OrderEntry>,
    pub(crate) order_low: i64,
    /// Readers of `order` see the offsets below.
    pub(crate) high_watermark: i64,
    pub(crate) shipments: Vec<ShipmentEntry>,
    pub(crate) shipment_low: i64,
    open: Option<OpenTransaction>,
    epoch: u32,
    /// The committed offset of group `repository`, and whether repository-N has committed it.
    pub(crate) committed: Option<(i64, bool)>,
}

impl Partition {
    /// Appends an order. Returns its offset. It becomes visible once the high watermark has passed it.
    pub(crate) fn append(&mut self, entry: OrderEntry) -> i64 {
        self.orders.push(entry);
        self.orders.len() as i64 - 1
    }

    /// All in-sync copies have the records before an offset.
    pub(crate) fn replicate(&mut self, until: i64) {
        self.high_watermark = self.high_watermark.max(until);
    }

    pub(crate) fn order_bounds(&self) -> Watermarks {
        Watermarks {
            low: self.order_low,
            high: self.high_watermark,
        }
    }

    /// Open transactions end the partition for readers of committed records.
    pub(crate) fn shipment_bounds(&self) -> Watermarks {
        Watermarks {
            low: self.shipment_low,
            high: self.shipments.len() as i64,
        }
    }

    /// A producer takes over the transactional id: it fences those before it and settles their open transaction.
    pub(crate) fn take_over(&mut self) -> u32 {
        self.epoch += 1;
        if let Some(OpenTransaction { records, will_commit }) = self.open.take() {
            self.end(records, will_commit);
        }
        self.epoch
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    fn end(&mut self, records: Vec<(Shipment, i64)>, commit: bool) {
        let entry = |(shipment, time)| {
            if commit {
                ShipmentEntry::Record(Box::new(shipment), time)
            } else {
                ShipmentEntry::Gap
            }
        };
        self.shipments.extend(records.into_iter().map(entry));
        self.shipments.push(ShipmentEntry::Gap);
    }

    /// Writes outcomes in a transaction.
    pub(crate) fn write(&mut self, epoch: u32, records: Vec<(Shipment, i64)>, fate: Fate) -> Result<(), Refusal> {
        if epoch != self.epoch {
            return Err(Refusal::Fenced);
        }
        match fate {
            Fate::Committed => {
                self.end(records, true);
                Ok(())
            }
            Fate::ReplyLost | Fate::Aborted => {
                self.end(records, fate == Fate::ReplyLost);
                Err(Refusal::Unknown)
            }
            Fate::Delayed(will_commit) => {
                self.open = Some(OpenTransaction { records, will_commit });
                Err(Refusal::Unknown)
            }
        }
    }

    /// The committed outcomes, in the order of the log.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = &Shipment> {
        self.outcomes_from(0)
    }

    /// The committed outcomes that retention has left.
    pub(crate) fn outcomes_from_low(&self) -> impl Iterator<Item = &Shipment> {
        self.outcomes_from(self.shipment_low)
    }

    fn outcomes_from(&self, offset: i64) -> impl Iterator<Item = &Shipment> {
        let rest = &self.shipments[offset as usize..];
        rest.iter().filter_map(|entry| match entry {
            ShipmentEntry::Record(shipment, _) => Some(&**shipment),
            ShipmentEntry::Gap => None,
        })
    }

    /// The offset of topic `order` after the last record with an outcome.
    pub(crate) fn order_position(&self) -> i64 {
        self.outcomes().last().map_or(0, |last| last.order_offset + 1)
    }

    /// The topic `order` is deleted and created again.
    pub(crate) fn recreate_order(&mut self, orders: Vec<OrderEntry>) {
        self.high_watermark = orders.len() as i64;
        (self.orders, self.order_low) = (orders, 0);
    }
}
