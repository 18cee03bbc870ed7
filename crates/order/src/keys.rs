//! The receipts of the last ten minutes, by idempotency key.
//!
//! They make a repeated request cheap, and its reply the same. No promise rests on them: repository-N ships a repeated
//! order once whether or not order-N remembers its key.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use domain::{IdempotencyKey, Mark, Order, RequestText};

/// The most keys that are remembered: ten minutes at 500 orders/s with a key, in some 60 MB. The oldest make room.
const CAPACITY: usize = 300_000;

/// A key that was found: the answer to the request that came with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It came with the same request, whose order is in the log at this offset.
    Written(Order, i64),
    /// It came with another request.
    OtherRequest,
}

/// The receipts of the last ten minutes.
#[derive(Debug)]
pub struct Keys {
    /// By the hash of their keys.
    receipts: HashMap<Mark, Receipt>,
    /// The keys in the order in which they expire, with the offsets of their orders.
    queue: VecDeque<(Instant, Mark, i64)>,
    capacity: usize,
}

#[derive(Debug)]
struct Receipt {
    /// The hash of the key and the request.
    request: Mark,
    order: Order,
    offset: i64,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            receipts: HashMap::new(),
            queue: VecDeque::new(),
            capacity: CAPACITY,
        }
    }
}

fn hash(key: &IdempotencyKey) -> Mark {
    Mark::of_content(key.as_str().as_bytes())
}

impl Keys {
    /// The number of remembered keys.
    pub(crate) fn len(&self) -> usize {
        self.receipts.len()
    }

    pub(crate) fn find(&self, key: &IdempotencyKey, request: &RequestText) -> Option<Found> {
        let receipt = self.receipts.get(&hash(key))?;
        Some(if receipt.request == Mark::of_request(key, request) {
            Found::Written(receipt.order, receipt.offset)
        } else {
            Found::OtherRequest
        })
    }

    /// Remembers the receipt of a key until `expiry`, by a clock that does not step.
    pub(crate) fn insert(
        &mut self,
        (key, request): (&IdempotencyKey, &RequestText),
        order: Order,
        offset: i64,
        expiry: Instant,
    ) {
        if self.queue.len() >= self.capacity {
            self.pop();
        }
        let (key, request) = (hash(key), Mark::of_request(key, request));
        self.receipts.insert(key, Receipt { request, order, offset });
        self.queue.push_back((expiry, key, offset));
    }

    /// Forgets expired keys.
    pub(crate) fn expire(&mut self, now: Instant) {
        while self.queue.front().is_some_and(|(expiry, ..)| *expiry <= now) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some((_, key, offset)) = self.queue.pop_front()
            && self.receipts.get(&key).is_some_and(|receipt| receipt.offset == offset)
        {
            self.receipts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(key: &str) -> IdempotencyKey {
        key.to_owned().try_into().expect("a key")
    }

    fn request(text: &str) -> RequestText {
        text.to_owned().try_into().expect("a request")
    }

    fn order(id: u64) -> Order {
        let json = format!(r#"{{"money":1,"order_id":"{id}","time":1,"user_id":"7"}}"#);
        Order::from_record(json.as_bytes()).expect("an order")
    }

    fn insert(keys: &mut Keys, name: &str, text: &str, offset: i64, expiry: Instant) {
        keys.insert((&key(name), &request(text)), order(5), offset, expiry);
    }

    fn find(keys: &Keys, name: &str, text: &str) -> Option<Found> {
        keys.find(&key(name), &request(text))
    }

    #[test]
    fn a_key_is_known_with_its_request_until_it_expires() {
        let (now, mut keys) = (Instant::now(), Keys::default());
        insert(&mut keys, "k", "money=1", 3, now + Mark::SPAN);
        keys.expire(now + Mark::SPAN - Duration::from_millis(1));
        assert_eq!(find(&keys, "k", "money=1"), Some(Found::Written(order(5), 3)));
        assert_eq!(find(&keys, "k", ""), Some(Found::OtherRequest));
        assert_eq!(find(&keys, "K", "money=1"), None);
        keys.expire(now + Mark::SPAN);
        assert_eq!((find(&keys, "k", "money=1"), keys.len()), (None, 0));
    }

    #[test]
    fn the_last_order_of_a_key_is_remembered_until_its_own_time_is_over() {
        let (now, mut keys) = (Instant::now(), Keys::default());
        insert(&mut keys, "k", "", 3, now);
        insert(&mut keys, "k", "", 4, now + Duration::from_secs(1));
        keys.expire(now);
        assert_eq!(find(&keys, "k", ""), Some(Found::Written(order(5), 4)));
    }

    #[test]
    fn the_oldest_key_makes_room() {
        let mut keys = Keys {
            capacity: 2,
            ..Keys::default()
        };
        for (name, offset) in [("a", 0), ("b", 1), ("c", 2)] {
            insert(&mut keys, name, "", offset, Instant::now());
        }
        assert_eq!((find(&keys, "a", ""), keys.len()), (None, 2));
    }
}
