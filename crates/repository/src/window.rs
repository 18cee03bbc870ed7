//! The orders that were shipped lately, by their marks: a fold over topic `shipment`.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use domain::{Mark, OrderId, Outcome, Timestamp};

use crate::outcome::OutcomeRecord;

/// Orders leave the window when they are this far behind the time of the log. The ids of the same order are at most ten
/// minutes apart, so a record that comes five minutes late can still be judged.
pub(crate) const REACH: Duration = Duration::from_secs(15 * 60);
/// Shipped orders that are remembered at most: fifteen minutes at 1,000 orders/s for one region, in some 55 MiB.
const CAPACITY: usize = 900_000;

/// Shipped orders by mark. A mark has at most one shipped order in each slot of ten minutes: two in one slot would be the
/// same order.
#[derive(Debug, Default)]
pub(crate) struct ShippedMarks(HashMap<(Mark, u64), OrderId>);

/// The number of the ten minutes in which an id was made.
fn slot(id: OrderId) -> u64 {
    id.time().unix_millis() / Mark::SPAN.as_millis() as u64
}

impl ShippedMarks {
    /// The shipped order that a record with this mark and this id repeats.
    pub(crate) fn find(&self, mark: Mark, id: OrderId) -> Option<OrderId> {
        let slot = slot(id);
        let mut near = [slot, slot.saturating_sub(1), slot + 1].into_iter();
        near.find_map(|slot| {
            let shipped = self.0.get(&(mark, slot)).copied();
            shipped.filter(|shipped| Mark::is_same_order(*shipped, id))
        })
    }

    pub(crate) fn insert(&mut self, mark: Mark, id: OrderId) {
        self.0.insert((mark, slot(id)), id);
    }
}

/// The judgement of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No order with this mark was shipped: it is new.
    New,
    /// This order was shipped, and is the same.
    Repeats(OrderId),
    /// The record came so late that a shipped order can have left the window.
    TooLate,
}

/// The orders that were shipped in the last fifteen minutes of the log.
#[derive(Debug)]
pub struct Window {
    shipped: ShippedMarks,
    /// The orders in `shipped`, in the order of the log.
    queue: VecDeque<(Mark, OrderId)>,
    /// The times of the last ids in the log, in Unix milliseconds.
    times: VecDeque<u64>,
    /// Orders up to this time may have left the window.
    forgotten: Timestamp,
    capacity: usize,
    dropped: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            shipped: ShippedMarks::default(),
            queue: VecDeque::new(),
            times: VecDeque::new(),
            forgotten: Timestamp::from_unix_millis(0),
            capacity: CAPACITY,
            dropped: 0,
        }
    }
}

impl Window {
    /// The time of the log is the median of so many of its last ids, so that one id with a wrong time does not move it.
    pub(crate) const MEDIAN_OF: usize = 21;

    /// Adds the next outcome of the log.
    pub(crate) fn add(&mut self, outcome: &OutcomeRecord) {
        let Some(id) = outcome.order_id.filter(|_| outcome.outcome != Outcome::Skipped) else {
            return;
        };
        if self.times.len() == Self::MEDIAN_OF {
            self.times.pop_front();
        }
        self.times.push_back(id.time().unix_millis());
        if let (Outcome::Shipped, Some(mark)) = (outcome.outcome, outcome.mark) {
            self.shipped.insert(mark, id);
            self.queue.push_back((mark, id));
        }
        self.expire();
    }

    fn expire(&mut self) {
        let oldest = slot(OrderId::smallest_at(self.log_time() - REACH));
        while self.queue.front().is_some_and(|(_, id)| slot(*id) < oldest) {
            if let Some(id) = self.pop() {
                self.forget_until(id.time());
            }
        }
        // A full window rejects nothing: it only recognises less.
        if self.queue.len() > self.capacity {
            self.pop();
            self.dropped += 1;
        }
    }

    fn pop(&mut self) -> Option<OrderId> {
        let (mark, id) = self.queue.pop_front()?;
        let key = (mark, slot(id));
        if self.shipped.0.get(&key) == Some(&id) {
            self.shipped.0.remove(&key);
        }
        Some(id)
    }

    /// The time of the log: the median of its last ids.
    fn log_time(&self) -> Timestamp {
        median(self.times.iter().copied()).map_or(Timestamp::from_unix_millis(0), Timestamp::from_unix_millis)
    }

    /// Judges a record of topic `order` that is not in the log yet.
    pub(crate) fn judge(&self, mark: Mark, id: OrderId) -> Verdict {
        if let Some(shipped) = self.shipped.find(mark, id) {
            return Verdict::Repeats(shipped);
        }
        if id.time() <= self.forgotten + Mark::SPAN {
            return Verdict::TooLate;
        }
        Verdict::New
    }

    /// Orders up to this time are not in the window, or no longer.
    pub(crate) fn forget_until(&mut self, time: Timestamp) {
        self.forgotten = self.forgotten.max(time);
    }

    /// Returns how many orders have left the full window before their time, since this was asked last.
    pub(crate) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

/// The middle one of some times; the earlier one of two.
pub(crate) fn median(times: impl IntoIterator<Item = u64>) -> Option<u64> {
    let mut times: Vec<u64> = times.into_iter().collect();
    times.sort_unstable();
    times.get(times.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOON: u64 = 1_800_000_000_000;
    const MINUTE: u64 = 60_000;

    fn id(millis: u64) -> OrderId {
        OrderId::smallest_at(Timestamp::from_unix_millis(NOON + millis))
    }

    fn mark(name: &str) -> Mark {
        Mark::of_content(name.as_bytes())
    }

    fn outcome(millis: u64, name: &str, outcome: Outcome) -> OutcomeRecord {
        OutcomeRecord {
            order_offset: 0,
            order_id: Some(id(millis)),
            outcome,
            mark: Some(mark(name)),
        }
    }

    fn window(shipped: &[(u64, &str)]) -> Window {
        let mut window = Window::default();
        for (millis, name) in shipped {
            window.add(&outcome(*millis, name, Outcome::Shipped));
        }
        window
    }

    /// Moves the time of the log with orders of other marks.
    fn go_on(window: &mut Window, millis: u64) {
        for number in 0..Window::MEDIAN_OF {
            window.add(&outcome(millis, &format!("{millis} {number}"), Outcome::Shipped));
        }
    }

    #[test]
    fn a_record_repeats_a_shipped_order_up_to_ten_minutes_before_or_after_it() {
        let window = window(&[(20 * MINUTE, "a")]);
        for millis in [15 * MINUTE, 20 * MINUTE, 30 * MINUTE] {
            assert_eq!(window.judge(mark("a"), id(millis)), Verdict::Repeats(id(20 * MINUTE)));
            assert_eq!(window.judge(mark("b"), id(millis)), Verdict::New);
        }
        assert_eq!(window.judge(mark("a"), id(30 * MINUTE + 1)), Verdict::New);
    }

    #[test]
    fn one_mark_has_an_order_for_each_ten_minutes_and_a_late_one_replaces_none() {
        let mut window = window(&[(0, "a"), (11 * MINUTE, "a"), (2, "b"), (11 * MINUTE, "b")]);
        assert_eq!(window.judge(mark("a"), id(MINUTE / 2)), Verdict::Repeats(id(0)));
        assert_eq!(
            window.judge(mark("b"), id(21 * MINUTE)),
            Verdict::Repeats(id(11 * MINUTE))
        );
        window.add(&outcome(0, "b", Outcome::Shipped));
        assert_eq!(
            window.judge(mark("b"), id(21 * MINUTE)),
            Verdict::Repeats(id(11 * MINUTE))
        );
    }

    #[test]
    fn a_record_is_too_late_if_its_order_can_have_left_the_window() {
        let mut window = window(&[(0, "a")]);
        go_on(&mut window, 60 * MINUTE);
        assert_eq!(window.judge(mark("b"), id(10 * MINUTE)), Verdict::TooLate);
        assert_eq!(window.judge(mark("b"), id(10 * MINUTE + 1)), Verdict::New);
    }

    #[test]
    fn one_id_from_the_future_does_not_move_the_time_of_the_log() {
        let mut window = window(&[(0, "a")]);
        go_on(&mut window, MINUTE);
        window.add(&outcome(90 * MINUTE, "b", Outcome::Shipped));
        assert_eq!(window.judge(mark("a"), id(0)), Verdict::Repeats(id(0)));
        assert_eq!(
            window.judge(mark("b"), id(90 * MINUTE)),
            Verdict::Repeats(id(90 * MINUTE))
        );
    }

    #[test]
    fn orders_leave_the_window_after_fifteen_minutes_of_the_log() {
        let mut window = window(&[(0, "a")]);
        go_on(&mut window, 60 * MINUTE);
        assert_eq!(window.queue.len(), Window::MEDIAN_OF);
        assert_eq!(window.shipped.0.len(), Window::MEDIAN_OF);
    }

    #[test]
    fn a_full_window_drops_the_oldest_and_never_rejects_a_new_order() {
        let mut window = Window {
            capacity: 2,
            ..window(&[])
        };
        for (millis, name) in [(0, "a"), (1, "b"), (2, "c")] {
            window.add(&outcome(millis, name, Outcome::Shipped));
        }
        assert_eq!((window.take_dropped(), window.take_dropped()), (1, 0));
        assert_eq!(window.judge(mark("a"), id(0)), Verdict::New);
        assert_eq!(window.judge(mark("c"), id(2)), Verdict::Repeats(id(2)));
    }

    #[test]
    fn only_shipped_orders_are_repeated_and_orders_that_were_not_read_back_are_too_late() {
        let mut window = Window::default();
        window.add(&outcome(MINUTE, "a", Outcome::Duplicate));
        window.add(&outcome(MINUTE, "b", Outcome::Rejected));
        assert_eq!(window.judge(mark("a"), id(MINUTE)), Verdict::New);
        window.forget_until(id(0).time());
        assert_eq!(window.judge(mark("a"), id(MINUTE)), Verdict::TooLate);
    }

    proptest! {
        #[test]
        fn no_order_is_shipped_twice(
            records in prop::collection::vec((0_u64..60, 0_u64..300, 0_u8..4), 0..200)
        ) {
            let mut window = Window::default();
            let mut shipped: Vec<(Mark, OrderId)> = Vec::new();
            for (minute, behind, name) in records {
                let id = id((minute * MINUTE).saturating_sub(behind * 1000));
                let mark = mark(&name.to_string());
                let is_repeated = shipped.iter().any(|(other, shipped)| *other == mark && Mark::is_same_order(*shipped, id));
                let outcome = match window.judge(mark, id) {
                    Verdict::New => {
                        prop_assert!(!is_repeated);
                        shipped.push((mark, id));
                        Outcome::Shipped
                    }
                    Verdict::Repeats(other) => {
                        prop_assert!(shipped.contains(&(mark, other)) && Mark::is_same_order(other, id));
                        Outcome::Duplicate
                    }
                    Verdict::TooLate => Outcome::Rejected,
                };
                window.add(&OutcomeRecord { order_offset: 0, order_id: Some(id), outcome, mark: Some(mark) });
            }
        }
    }
}
