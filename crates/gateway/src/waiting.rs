//! The orders of a region that wait to be sent, and their deadlines.

use std::collections::VecDeque;
use std::time::Duration;

use domain::BatchedSubmission;
use tokio::time::Instant;

/// An order that has not been sent this long after it came is given up. An order service answers within a fraction of
/// it as long as its broker does.
pub(crate) const MAX_WAIT: Duration = Duration::from_millis(500);
/// From the arrival of an order to its answer. order-N has its own within 5.5 s, and a client waits for 6 s at most.
pub(crate) const MAX_ANSWER: Duration = Duration::from_millis(5800);

/// The orders of a region that have not been sent yet, the oldest first.
#[derive(Debug)]
pub(crate) struct Waiting<T>(VecDeque<(Instant, T)>);

/// Orders that are sent together.
#[derive(Debug)]
pub(crate) struct Batch<T> {
    pub(crate) orders: Vec<T>,
    /// When the oldest of them has to be answered.
    pub(crate) deadline: Instant,
}

impl<T> Waiting<T> {
    pub(crate) fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn push(&mut self, arrived: Instant, order: T) {
        self.0.push_back((arrived, order));
    }

    /// Takes the orders that go out next; none are left out that fit.
    pub(crate) fn next_batch(&mut self) -> Option<Batch<T>> {
        let deadline = self.0.front()?.0 + MAX_ANSWER;
        let count = self.0.len().min(BatchedSubmission::MAX_TOGETHER);
        let orders = self.0.drain(..count).map(|(_, order)| order).collect();
        Some(Batch { orders, deadline })
    }

    /// Takes the orders that have waited for too long.
    pub(crate) fn take_late(&mut self, now: Instant) -> Vec<T> {
        let late = self.0.partition_point(|(arrived, _)| *arrived + MAX_WAIT <= now);
        self.0.drain(..late).map(|(_, order)| order).collect()
    }

    /// Takes all.
    pub(crate) fn take_all(&mut self) -> Vec<T> {
        self.0.drain(..).map(|(_, order)| order).collect()
    }

    /// The first moment at which an order can have waited for too long: one of these, or one that comes after `now`.
    pub(crate) fn next_late(&self, now: Instant) -> Instant {
        self.0.front().map_or(now, |(arrived, _)| *arrived) + MAX_WAIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// Orders 0, 1, 2…, one each millisecond.
    fn waiting(count: u32) -> (Instant, Waiting<u32>) {
        let (begun, mut waiting) = (Instant::now(), Waiting::new());
        (0..count).for_each(|number| waiting.push(begun + MILLISECOND * number, number));
        (begun, waiting)
    }

    #[test]
    fn what_waits_goes_out_together_in_its_order_and_the_rest_next() {
        let (_, mut waiting) = waiting(600);
        let mut batches = std::iter::from_fn(|| waiting.next_batch()).map(|batch| batch.orders);
        for expected in [0..256, 256..512, 512..600] {
            assert_eq!(batches.next(), Some(expected.collect()));
        }
        assert_eq!(batches.next(), None);
    }

    #[test]
    fn the_oldest_order_of_a_batch_is_answered_within_6_s_though_it_has_waited() {
        let (begun, mut waiting) = waiting(3);
        waiting.next_batch();
        waiting.push(begun + MAX_WAIT, 3);
        waiting.push(begun + MAX_WAIT * 2, 4);
        let batch = waiting.next_batch().expect("two orders");
        assert_eq!(
            (batch.orders, batch.deadline),
            (vec![3, 4], begun + MAX_WAIT + MAX_ANSWER)
        );
        assert!(MAX_ANSWER < Duration::from_secs(6));
    }

    #[test]
    fn an_order_is_late_500_ms_after_it_came_and_not_before() {
        let (begun, mut waiting) = waiting(3);
        assert_eq!(waiting.next_late(begun), begun + MAX_WAIT);
        assert!(waiting.take_late(begun + MAX_WAIT - MILLISECOND).is_empty());
        assert_eq!(waiting.take_late(begun + MAX_WAIT + MILLISECOND), [0, 1]);
        assert_eq!(waiting.next_late(begun), begun + MAX_WAIT + 2 * MILLISECOND);
        assert_eq!(waiting.take_all(), [2]);
        assert!(waiting.is_empty());
    }

    #[test]
    fn without_orders_one_that_comes_now_is_the_first_that_can_be_late() {
        let (begun, waiting) = waiting(0);
        assert_eq!(waiting.next_late(begun), begun + MAX_WAIT);
    }
}
