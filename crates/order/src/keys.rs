//! The idempotency keys of the last ten minutes, and the orders that they stand for.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use domain::{Drawn, IdempotencyKey, Money, Order, OrderId, Submission, Timestamp, UserId};
use hashbrown::HashTable;

/// How long a key is remembered, from the time in the id of its order. repository-N remembers shipped ids for longer:
/// so an order that is written again at the last moment is still recognised.
pub(crate) const RETENTION: Duration = Duration::from_secs(10 * 60);

/// The keys of one partition. Each takes an entry of 64 bytes, an allocation of at most 80 for its characters, and 10 to 20
/// bytes in the index: at most 164 bytes.
#[derive(Debug)]
pub(crate) struct Keys {
    /// In the order in which they came, which is that of their expiry.
    entries: VecDeque<Entry>,
    /// The number of the first entry; each has the number after that of the one before it.
    first: u64,
    /// The numbers of the entries, by key.
    index: HashTable<u64>,
    hasher: RandomState,
    capacity: usize,
}

/// A key, the request that it came with, and the order that was made of it.
#[derive(Debug)]
struct Entry {
    key: Box<str>,
    order_id: OrderId,
    time: u64,
    /// The user id is in two fields, so that the other small ones fit beside the second.
    user_number: u64,
    user_digits: u8,
    money: Money,
    drawn: Drawn,
    state: State,
}

/// What is known of the record of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It is on its way.
    Writing,
    /// It is in the log, at this offset.
    Written(i64),
    /// It may or may not be in the log.
    Unknown,
    /// It is not in the log: the key is free again.
    NotWritten,
}

/// What is known of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing: the request is the first with it.
    New,
    /// Its order is on its way.
    Writing(OrderId),
    /// Its order is in the log, at this offset.
    Written(Order, i64),
    /// Its order may or may not be in the log.
    Unknown(Order),
    /// It came with another request.
    Reused,
}

/// There is no room for another key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Keys {
    /// Remembers at most `capacity` keys.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            // With room for all, so that none is moved when it grows. What is not used is not resident.
            entries: VecDeque::with_capacity(capacity),
            first: 0,
            index: HashTable::with_capacity(capacity),
            hasher: RandomState::new(),
            capacity,
        }
    }

    /// The most keys that are remembered.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many keys are remembered.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// What is known of the key of a submission.
    pub(crate) fn look_up(&self, key: &IdempotencyKey, drawn: Drawn, submission: &Submission) -> Known {
        let Some(entry) = self.number(self.hash(key), key).map(|number| self.entry(number)) else {
            return Known::New;
        };
        if !entry.is_of(drawn, submission) {
            return Known::Reused;
        }
        match entry.state {
            State::Writing => Known::Writing(entry.order_id),
            State::Written(offset) => Known::Written(entry.order(), offset),
            State::Unknown => Known::Unknown(entry.order()),
            State::NotWritten => Known::New,
        }
    }

    /// Remembers a key that is new, and its order.
    ///
    /// # Errors
    /// When there is no room.
    pub(crate) fn insert(&mut self, key: IdempotencyKey, drawn: Drawn, order: Order, state: State) -> Result<(), Full> {
        self.insert_with_hash(self.hash(&key), key, drawn, order, state)
    }

    fn insert_with_hash(
        &mut self,
        hash: u64,
        key: IdempotencyKey,
        drawn: Drawn,
        order: Order,
        state: State,
    ) -> Result<(), Full> {
        if self.entries.len() >= self.capacity {
            return Err(Full);
        }
        let number = self.first + self.entries.len() as u64;
        self.entries.push_back(Entry {
            key: String::from(key).into(),
            order_id: order.order_id,
            time: order.time,
            user_number: order.user_id.number(),
            user_digits: order.user_id.digits(),
            money: order.money,
            drawn,
            state,
        });
        let (entries, first, hasher) = (&self.entries, self.first, &self.hasher);
        let rehash = |number: &u64| hasher.hash_one(&*entries[position(first, *number)].key);
        self.index.insert_unique(hash, number, rehash);
        Ok(())
    }

    /// Says what became of the order of a key.
    pub(crate) fn settle(&mut self, key: &IdempotencyKey, state: State) {
        self.settle_with_hash(self.hash(key), key, state);
    }

    fn settle_with_hash(&mut self, hash: u64, key: &IdempotencyKey, state: State) {
        let Some(number) = self.number(hash, key) else {
            return;
        };
        self.entries[position(self.first, number)].state = state;
        if state == State::NotWritten {
            self.forget(hash, number);
        }
    }

    /// Remembers a key that was found in the log. The last record with a key is the one that was answered: the ones
    /// before it had an unknown outcome, or their time was over. Returns whether another key had to be forgotten.
    pub(crate) fn recover(&mut self, key: IdempotencyKey, drawn: Drawn, order: Order, offset: i64) -> bool {
        // Made once for all that follows: at a start this is done for each record of ten minutes.
        let hash = self.hash(&key);
        self.settle_with_hash(hash, &key, State::NotWritten);
        let full = self.entries.len() >= self.capacity;
        if full {
            self.forget_oldest();
        }
        // There is room now, unless there is none for any key.
        let _ = self.insert_with_hash(hash, key, drawn, order, State::Written(offset));
        full
    }

    /// Forgets the keys whose time is over.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        let start = now - RETENTION;
        let over = |entry: &Entry| entry.state == State::NotWritten || entry.order_id.time() < start;
        while self.entries.front().is_some_and(over) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if !self.entries.is_empty() {
            let hash = self.hasher.hash_one(&*self.entry(self.first).key);
            self.forget(hash, self.first);
            self.entries.pop_front();
            self.first += 1;
        }
    }

    fn entry(&self, number: u64) -> &Entry {
        &self.entries[position(self.first, number)]
    }

    fn hash(&self, key: &IdempotencyKey) -> u64 {
        self.hasher.hash_one(key.as_str())
    }

    fn number(&self, hash: u64, key: &IdempotencyKey) -> Option<u64> {
        let same = |number: &u64| *self.entry(*number).key == *key.as_str();
        self.index.find(hash, same).copied()
    }

    /// Takes an entry out of the index.
    fn forget(&mut self, hash: u64, number: u64) {
        if let Ok(found) = self.index.find_entry(hash, |other| *other == number) {
            found.remove();
        }
    }
}

impl Entry {
    /// Whether it is of the same request: what the client left open does not count.
    fn is_of(&self, drawn: Drawn, submission: &Submission) -> bool {
        self.drawn == drawn
            && (drawn.money || self.money == submission.money)
            && (drawn.user_id || self.user_id() == submission.user_id)
    }

    fn user_id(&self) -> UserId {
        UserId::with_digits(self.user_number, self.user_digits).expect("it was one")
    }

    fn order(&self) -> Order {
        Order {
            money: self.money,
            order_id: self.order_id,
            time: self.time,
            user_id: self.user_id(),
        }
    }
}

/// Where the entry with a number is.
fn position(first: u64, number: u64) -> usize {
    usize::try_from(number - first).expect("fewer than fit into memory")
}
