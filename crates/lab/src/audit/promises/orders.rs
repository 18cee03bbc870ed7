//! The orders of the ledgers, compactly.

use std::collections::HashMap;

use domain::OrderId;

use crate::audit::findings::{Findings, Place};
use crate::audit::invariant::Invariant::{I1, I3};
use crate::ledger::Answer;

/// Orders of a run have consecutive numbers: they are kept in pages of so many.
const PAGE: usize = 256;

/// The orders of the ledgers, by their user ids.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pages: HashMap<u64, Box<[Entry; PAGE]>>,
}

impl Orders {
    /// The order of a user, new or not.
    pub(super) fn get(&mut self, user: u64) -> &mut Entry {
        let page = self.pages.entry(user / PAGE as u64);
        let page = page.or_insert_with(|| Box::new([Entry::default(); PAGE]));
        &mut page[index(user)]
    }

    /// The order of a user.
    pub(super) fn find(&mut self, user: u64) -> Option<&mut Entry> {
        let page = self.pages.get_mut(&(user / PAGE as u64))?;
        Some(&mut page[index(user)])
    }

    /// The same, to look at it.
    pub(super) fn peek(&self, user: u64) -> Option<&Entry> {
        let page = self.pages.get(&(user / PAGE as u64))?;
        Some(&page[index(user)])
    }

    /// All that were attempted, by their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Entry)> {
        let mut pages: Vec<_> = self.pages.iter().collect();
        pages.sort_unstable_by_key(|(page, _)| **page);
        let entries = pages.into_iter().flat_map(|(page, entries)| {
            let users = page * PAGE as u64..;
            users.zip(entries.iter())
        });
        entries.filter(|(_, entry)| entry.was_attempted())
    }
}

fn index(user: u64) -> usize {
    (user % PAGE as u64) as usize
}

/// An order: what was asked, what was answered, and where it is in the log.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    /// When its last attempt was made, in Unix microseconds.
    began: u64,
    /// The user of the order with the largest offset that was acknowledged before the first attempt.
    after: u64,
    /// The id that its receipt names, else that of its first record.
    order_id: Option<OrderId>,
    /// The offset that its receipt names.
    offset: i64,
    /// The offset of its first record.
    first_offset: i64,
    /// How long the last attempt took until it was acknowledged, in microseconds.
    took: u32,
    /// What was ordered.
    pub(super) money: u32,
    /// The partition that was asked for.
    pub(super) partition: u16,
    /// The partition that its receipt names.
    receipt_partition: u16,
    flags: u8,
    /// Attempts that may have written it.
    writes: u8,
    /// Its records.
    copies: u8,
}

const _: () = assert!(size_of::<Entry>() <= 64, "an order takes little memory");

const ATTEMPTED: u8 = 1;
const PENDING: u8 = 2;
const ACKNOWLEDGED: u8 = 4;
const REPLAYED: u8 = 8;
const CONFIRMED: u8 = 16;

impl Entry {
    fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn attempt(&mut self, at: u64, partition: u16, money: u32, after: u64) {
        if !self.is(ATTEMPTED) {
            (self.partition, self.money, self.after) = (partition, money, after);
        }
        self.began = at;
        self.flags |= ATTEMPTED | PENDING;
        self.writes = self.writes.saturating_add(1);
    }

    pub(super) fn answer(&mut self, at: u64, answer: &Answer) {
        self.flags &= !PENDING;
        match *answer {
            Answer::Acknowledged {
                order_id,
                partition,
                offset,
                replayed,
            } => {
                self.took = u32::try_from(at.saturating_sub(self.began)).unwrap_or(u32::MAX);
                (self.order_id, self.receipt_partition, self.offset) = (Some(order_id), partition, offset);
                self.flags |= ACKNOWLEDGED;
                if replayed {
                    self.flags |= REPLAYED;
                    self.writes = self.writes.saturating_sub(1);
                }
            }
            Answer::Refused { .. } => self.writes = self.writes.saturating_sub(1),
            Answer::Unknown { .. } => {}
        }
    }

    pub(super) fn was_attempted(&self) -> bool {
        self.is(ATTEMPTED)
    }

    /// Every attempt was answered: it is not in the log.
    pub(super) fn was_only_refused(&self) -> bool {
        self.writes == 0 && !self.is(ACKNOWLEDGED)
    }

    pub(super) fn is_acknowledged(&self) -> bool {
        self.is(ACKNOWLEDGED)
    }

    /// Whether its receipt was that of an earlier attempt.
    pub(super) fn is_replayed(&self) -> bool {
        self.is(REPLAYED)
    }

    /// Whether its record is where its receipt says.
    pub(super) fn is_confirmed(&self) -> bool {
        self.is(CONFIRMED)
    }

    /// Whether its last attempt has no answer.
    pub(super) fn is_pending(&self) -> bool {
        self.is(PENDING)
    }

    pub(super) fn began(&self) -> u64 {
        self.began
    }

    /// When it was acknowledged.
    pub(super) fn answered(&self) -> u64 {
        self.began + u64::from(self.took)
    }

    pub(super) fn after(&self) -> u64 {
        self.after
    }

    pub(super) fn order_id(&self) -> Option<OrderId> {
        self.order_id
    }

    /// The partition, the offset and the id that its receipt names.
    pub(super) fn receipt(&self) -> Option<(u16, i64, OrderId)> {
        let id = self.order_id.filter(|_| self.is_acknowledged())?;
        Some((self.receipt_partition, self.offset, id))
    }

    /// The offset of its first record.
    pub(super) fn first_offset(&self) -> Option<i64> {
        (self.copies > 0).then_some(self.first_offset)
    }

    /// Another record of it.
    pub(super) fn found(&mut self, offset: i64) {
        if self.copies == 0 {
            self.first_offset = offset;
        }
        self.copies = self.copies.saturating_add(1);
    }

    /// Another record of it: it has the id that the mall gave to it, and was written no more often than it was tried.
    pub(super) fn check_copy(
        &mut self,
        partition: u16,
        offset: i64,
        id: OrderId,
        place: Place,
        findings: &mut Findings,
    ) {
        self.found(offset);
        let expected = *self.order_id.get_or_insert(id);
        if self.is_acknowledged() && (self.receipt_partition, self.offset) == (partition, offset) {
            self.flags |= CONFIRMED;
            if id != expected {
                findings.offence(I1, place, || format!("acknowledged as order {expected} at this offset"));
                return;
            }
        } else if id != expected {
            findings.offence(I3, place, || format!("ordered once: it is order {expected} too"));
            return;
        }
        let (copies, attempts) = (self.copies, self.writes.max(u8::from(self.is_acknowledged())));
        if copies > attempts {
            findings.offence(I3, place, || {
                format!("its record number {copies}, though at most {attempts} of the attempts can have written one")
            });
        }
    }
}
