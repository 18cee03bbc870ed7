//! Which orders were shipped before.

use std::collections::VecDeque;
use std::time::Duration;

use domain::{OrderId, Timestamp};

/// The most ids that are remembered, 8 bytes each: twenty minutes at 1,700 orders a second for one region.
const MAX_IDS: usize = 2_000_000;

/// The ids that were shipped, sorted, as far back as a span of time. Ids hold their time and grow with the log, so a new
/// one is nearly always the largest of all, and what falls out is the oldest.
#[derive(Debug)]
pub(crate) struct DuplicateWindow {
    ids: VecDeque<u64>,
    span: Duration,
    max_ids: usize,
    /// Ids up to this one may have fallen out: whether they were shipped is not known.
    forgotten: Option<u64>,
    /// How many ids fell out before their time, since [`Self::take_early`].
    early: u64,
}

/// What the window knows of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It was not shipped.
    New,
    /// It was.
    Before,
    /// It is older than the window reaches.
    Unknown,
}

impl DuplicateWindow {
    /// Remembers ids whose time is at most `span` before that of the last one.
    pub(crate) fn new(span: Duration) -> Self {
        Self {
            ids: VecDeque::new(),
            span,
            max_ids: MAX_IDS,
            forgotten: None,
            early: 0,
        }
    }

    /// What is known of an id.
    pub(crate) fn look_up(&self, id: OrderId) -> Seen {
        let id = id.get();
        if self.ids.back().is_some_and(|largest| *largest < id) {
            Seen::New
        } else if self.ids.binary_search(&id).is_ok() {
            Seen::Before
        } else if self.forgotten.is_some_and(|forgotten| id <= forgotten) {
            Seen::Unknown
        } else {
            Seen::New
        }
    }

    /// Remembers that an order was shipped. `now` bounds what an id from the future can make the window forget.
    pub(crate) fn insert(&mut self, id: OrderId, now: Timestamp) {
        if let Err(index) = self.ids.binary_search(&id.get()) {
            self.ids.insert(index, id.get());
        }
        let start = OrderId::smallest_at(id.time().min(now) - self.span).get();
        while self.ids.front().is_some_and(|oldest| *oldest < start) {
            self.forgotten = self.forgotten.max(self.ids.pop_front());
        }
        if self.ids.len() > self.max_ids {
            self.forgotten = self.forgotten.max(self.ids.pop_front());
            self.early += 1;
        }
    }

    /// What is older than this id may have been shipped: the log was not read back that far, or no longer reaches it.
    pub(crate) fn forget_before(&mut self, id: OrderId) {
        self.forgotten = self.forgotten.max(id.get().checked_sub(1));
    }

    /// How many ids have fallen out before their time since this was asked last.
    pub(crate) fn take_early(&mut self) -> u64 {
        std::mem::take(&mut self.early)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const LATER: Timestamp = Timestamp::from_unix_millis(4_000_000_000_000);
    /// One millisecond in an id.
    const MILLISECOND: u64 = 1 << 22;

    fn id(id: u64) -> OrderId {
        id.to_string().parse().expect("an id")
    }

    fn window(span: Duration, shipped: &[u64]) -> DuplicateWindow {
        let mut window = DuplicateWindow::new(span);
        shipped.iter().for_each(|shipped| window.insert(id(*shipped), LATER));
        window
    }

    fn look_up<const N: usize>(window: &DuplicateWindow, ids: [u64; N]) -> [Seen; N] {
        ids.map(|wanted| window.look_up(id(wanted)))
    }

    #[test]
    fn what_was_shipped_is_recognised_and_what_was_not_is_new() {
        use Seen::{Before, New};
        let window = window(Duration::from_secs(1), &[5, 9, 7]);
        let seen = look_up(&window, [4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(seen, [New, Before, New, Before, New, Before, New]);
    }

    #[test]
    fn an_id_that_is_older_than_the_span_is_not_taken_for_new() {
        let ids = [10, 20, 30, 40].map(|tick| tick * MILLISECOND);
        let window = window(Duration::from_millis(15), &ids);
        let seen = look_up(&window, [ids[0], ids[1], ids[1] + 1, ids[2], ids[3]]);
        assert_eq!(
            seen,
            [Seen::Unknown, Seen::Unknown, Seen::New, Seen::Before, Seen::Before]
        );
    }

    #[test]
    fn an_id_from_the_future_does_not_make_it_forget_the_present() {
        let now = Timestamp::from_unix_millis(1_800_000_000_000);
        let (present, future) = (OrderId::smallest_at(now), OrderId::smallest_at(LATER));
        let mut window = DuplicateWindow::new(Duration::from_secs(60));
        window.insert(present, now);
        window.insert(future, now);
        assert_eq!(
            (window.look_up(present), window.look_up(future)),
            (Seen::Before, Seen::Before)
        );
    }

    #[test]
    fn what_falls_out_before_its_time_is_counted() {
        let mut window = DuplicateWindow {
            max_ids: 2,
            ..DuplicateWindow::new(Duration::from_secs(1))
        };
        [1, 3, 5, 7]
            .into_iter()
            .for_each(|shipped| window.insert(id(shipped), LATER));
        assert_eq!((window.take_early(), window.take_early()), (2, 0));
        assert_eq!(look_up(&window, [3, 4, 5]), [Seen::Unknown, Seen::New, Seen::Before]);
    }

    #[test]
    fn what_lies_before_the_part_of_the_log_that_was_read_is_not_taken_for_new() {
        let mut read = window(Duration::from_secs(1), &[5]);
        read.forget_before(id(5));
        assert_eq!(look_up(&read, [4, 5, 6]), [Seen::Unknown, Seen::Before, Seen::New]);
        let mut empty = window(Duration::from_secs(1), &[]);
        empty.forget_before(id(5));
        assert_eq!(look_up(&empty, [4, 5]), [Seen::Unknown, Seen::New]);
    }

    proptest! {
        #[test]
        fn no_order_is_new_twice(
            ids in prop::collection::vec(1_u64..60 * MILLISECOND, 0..200), span in 1_u64..40, max_ids in 1_usize..40
        ) {
            let mut window = DuplicateWindow { max_ids, ..DuplicateWindow::new(Duration::from_millis(span)) };
            let mut shipped = HashSet::new();
            for wanted in ids {
                match window.look_up(id(wanted)) {
                    Seen::New => {
                        prop_assert!(shipped.insert(wanted), "{wanted} was shipped before");
                        window.insert(id(wanted), LATER);
                    }
                    Seen::Before => prop_assert!(shipped.contains(&wanted)),
                    Seen::Unknown => {}
                }
                prop_assert!(window.ids.len() <= max_ids && window.ids.iter().is_sorted());
            }
        }
    }
}
