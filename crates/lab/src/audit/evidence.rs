//! All that the checks look at, in little memory: 116 bytes for an order with its attempt and its outcome.

use std::ops::Range;

use super::attempts::Ledger;
use super::shown::Shown;
use crate::OrderId;

/// The records of a mall, and the answers that its clients got.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    /// The regions, by partition.
    pub(super) partitions: Vec<Partition>,
    /// Records of topic `order` in partitions without a region: partition and offsets.
    pub(super) spare: Vec<(u16, Range<i64>)>,
    /// The answers that clients got; `None` without a ledger.
    pub(super) ledger: Option<Ledger>,
    /// The figures of statistics.
    pub(super) figures: Shown,
}

/// A partition of both topics.
#[derive(Clone, Debug, Default)]
pub(super) struct Partition {
    pub(super) number: u16,
    pub(super) orders: Orders,
    pub(super) shipments: Shipments,
    /// For each record of `order`: the first attempt of its order in the ledger. See [`Evidence::link`].
    owners: Vec<CompactOwner>,
}

/// A partition of topic `order`.
#[derive(Clone, Debug, Default)]
pub(super) struct Orders {
    /// The offsets that it held when the audit began.
    pub(super) offsets: Range<i64>,
    /// The record of each of these offsets; one that is no order also where the log has none.
    pub(super) records: Vec<Record>,
    /// Offsets without a record, in their order.
    pub(super) gaps: Vec<Range<i64>>,
    /// Records with a key and without the request that it is for: an older order-N wrote them.
    pub(super) incomplete_keys: u64,
}

/// A record of topic `order`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// The id of the order; `None` if the record holds no order.
    pub(super) id: Option<OrderId>,
    /// The user as a number, by which a ledger knows the order; 0 if it cannot be one of a ledger's.
    pub(super) user: u64,
    /// The same for records of the same order: a hash of key and request, or of the value's bytes.
    pub(super) identity: [u64; 2],
    pub(super) money: u32,
    /// A hash of its key; 0 without one.
    pub(super) key: u32,
}

/// A partition of topic `shipment`.
#[derive(Clone, Debug, Default)]
pub(super) struct Shipments {
    /// The offsets that it held when the audit began.
    pub(super) offsets: Range<i64>,
    pub(super) outcomes: Vec<Outcome>,
    /// The orders that duplicates name, by the index of their outcome.
    pub(super) originals: Vec<(u32, OrderId)>,
}

/// A record of topic `shipment`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The offset in topic `order` that it is about.
    pub(super) order_offset: i64,
    pub(super) order_id: Option<OrderId>,
    /// A hash of its mark; 0 if it carries none.
    pub(super) mark: u64,
    /// Its own offset, counted from the first one of the partition.
    pub(super) index: u32,
    /// Tenths of a second from the time in its id until it was shipped; [`Outcome::NO_TIME`] if it does not say.
    pub(super) after: u16,
    pub(super) kind: Kind,
}

/// The kind of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Shipped,
    Duplicate,
    Rejected,
    /// An operator has decided to go on after this offset.
    Skipped,
    /// The record is no outcome.
    Unreadable,
}

/// The owner of a record, by the ledgers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Its user is none of a ledger's.
    Stranger,
    /// Its user is of a run of a ledger, which has no such order.
    Unknown,
    /// The index of the first attempt of its order.
    Attempt(u32),
}

/// An owner in four bytes: the index of the attempt, or one of two numbers that are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CompactOwner(u32);

impl From<Owner> for CompactOwner {
    fn from(owner: Owner) -> Self {
        Self(match owner {
            Owner::Stranger => u32::MAX,
            Owner::Unknown => u32::MAX - 1,
            Owner::Attempt(first) => first,
        })
    }
}

impl From<CompactOwner> for Owner {
    fn from(CompactOwner(owner): CompactOwner) -> Self {
        match owner {
            u32::MAX => Self::Stranger,
            owner if owner == u32::MAX - 1 => Self::Unknown,
            first => Self::Attempt(first),
        }
    }
}

/// Memory that an order takes with one attempt and one outcome; the bound of what is read follows from it.
pub(super) const BYTES_PER_ORDER: u64 =
    (size_of::<Record>() + size_of::<Outcome>() + size_of::<super::attempts::Attempt>() + size_of::<CompactOwner>())
        as u64;
const _: () = assert!(BYTES_PER_ORDER <= 116, "an order takes little memory");

impl Evidence {
    /// Finds the attempts of each record. To be called when everything was read.
    pub(super) fn link(&mut self) {
        let ledger = self.ledger.as_ref();
        for partition in &mut self.partitions {
            let owner = |record: &Record| ledger.map_or(Owner::Stranger, |ledger| ledger.owner(record));
            partition.owners = partition
                .orders
                .records
                .iter()
                .map(|record| owner(record).into())
                .collect();
        }
    }

    /// The region with this number.
    pub(super) fn partition(&self, number: u16) -> Option<&Partition> {
        self.partitions.get(usize::from(number))
    }
}

impl Partition {
    pub(super) fn new(number: u16, orders: Orders, shipments: Shipments) -> Self {
        Self {
            number,
            orders,
            shipments,
            owners: Vec::new(),
        }
    }

    /// The orders of the partition, each with its offset and its owner.
    pub(super) fn owned(&self) -> impl Iterator<Item = (i64, &Record, Owner)> {
        let records = self.orders.records.iter().zip(self.owners.iter());
        let records = (self.orders.offsets.start..).zip(records);
        records.filter_map(|(offset, (record, owner))| record.id.map(|_| (offset, record, Owner::from(*owner))))
    }

    /// The owner of the record at an index.
    pub(super) fn owner(&self, index: usize) -> Owner {
        self.owners.get(index).copied().map_or(Owner::Stranger, Owner::from)
    }
}

impl Orders {
    /// The index of an offset among the records; `None` where there is no record.
    pub(super) fn index(&self, offset: i64) -> Option<usize> {
        let index = usize::try_from(offset.checked_sub(self.offsets.start)?).ok()?;
        (index < self.records.len() && !self.is_gap(offset)).then_some(index)
    }

    /// The record at an offset.
    pub(super) fn get(&self, offset: i64) -> Option<&Record> {
        self.index(offset).map(|index| &self.records[index])
    }

    /// Returns `true` if the log has no record at this offset.
    pub(super) fn is_gap(&self, offset: i64) -> bool {
        let next = self.gaps.partition_point(|gap| gap.end <= offset);
        self.gaps.get(next).is_some_and(|gap| gap.contains(&offset))
    }
}

impl Shipments {
    /// Where the outcomes begin that still count, and the offset of topic `order` from which they do: an operator may have
    /// set the position back, because a topic was lost.
    pub(super) fn in_force(&self) -> (usize, Option<i64>) {
        let (mut start, mut from, mut last) = (0, None, i64::MIN);
        for (index, outcome) in self.outcomes.iter().enumerate() {
            if outcome.kind == Kind::Skipped && outcome.order_offset < last {
                (start, from) = (index, Some(outcome.order_offset + 1));
                last = outcome.order_offset;
            }
            last = last.max(outcome.order_offset);
        }
        (start, from)
    }

    /// The order that a duplicate names.
    pub(super) fn original(&self, index: usize) -> Option<OrderId> {
        let found = self.originals.binary_search_by_key(&index, |(of, _)| *of as usize);
        found.ok().map(|found| self.originals[found].1)
    }

    /// The offset of an outcome.
    pub(super) fn offset(&self, outcome: &Outcome) -> i64 {
        self.offsets.start + i64::from(outcome.index)
    }
}

impl Outcome {
    pub(super) const NO_TIME: u16 = u16::MAX;
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Shipped => "shipped",
            Self::Duplicate => "duplicate",
            Self::Rejected => "rejected",
            Self::Skipped => "skipped",
            Self::Unreadable => "no outcome",
        }
    }
}
