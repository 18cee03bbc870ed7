//! Which orders were shipped before.

use std::collections::VecDeque;

use domain::OrderId;

/// The largest ids that were shipped, sorted. Ids of a partition grow, so a new one is nearly always the largest of
/// all, and what falls out is the oldest.
#[derive(Debug)]
pub(crate) struct DuplicateWindow {
    ids: VecDeque<u64>,
    capacity: usize,
    /// Ids up to this one may have fallen out: whether they were shipped is not known.
    forgotten: Option<u64>,
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
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            ids: VecDeque::new(),
            capacity,
            forgotten: None,
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

    /// Remembers that an order was shipped.
    pub(crate) fn insert(&mut self, id: OrderId) {
        if let Err(index) = self.ids.binary_search(&id.get()) {
            self.ids.insert(index, id.get());
        }
        if self.ids.len() > self.capacity {
            self.forgotten = self.forgotten.max(self.ids.pop_front());
        }
    }

    /// The log was not read back to its beginning: what is older than the oldest id that was read may have been shipped.
    pub(crate) fn forget_older(&mut self) {
        self.forgotten = self.forgotten.max(self.ids.front().map(|oldest| oldest - 1));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn id(id: u64) -> OrderId {
        id.to_string().parse().expect("an id")
    }

    #[test]
    fn what_was_shipped_is_recognised_and_what_was_not_is_new() {
        let mut window = DuplicateWindow::new(10);
        [5, 9, 7].into_iter().for_each(|shipped| window.insert(id(shipped)));
        let seen = [4, 5, 6, 7, 8, 9, 10].map(|wanted| window.look_up(id(wanted)));
        assert_eq!(
            seen,
            [
                Seen::New,
                Seen::Before,
                Seen::New,
                Seen::Before,
                Seen::New,
                Seen::Before,
                Seen::New
            ]
        );
    }

    #[test]
    fn an_id_older_than_the_window_is_not_taken_for_new() {
        let mut window = DuplicateWindow::new(2);
        [1, 3, 5, 7].into_iter().for_each(|shipped| window.insert(id(shipped)));
        let seen = [1, 2, 3, 4, 5].map(|wanted| window.look_up(id(wanted)));
        assert_eq!(
            seen,
            [Seen::Unknown, Seen::Unknown, Seen::Unknown, Seen::New, Seen::Before]
        );
    }

    #[test]
    fn what_lies_before_the_part_of_the_log_that_was_read_is_not_taken_for_new() {
        let mut window = DuplicateWindow::new(10);
        window.insert(id(5));
        window.forget_older();
        assert_eq!(
            [4, 5, 6].map(|wanted| window.look_up(id(wanted))),
            [Seen::Unknown, Seen::Before, Seen::New]
        );
    }

    proptest! {
        #[test]
        fn no_order_is_new_twice(ids in prop::collection::vec(1_u64..60, 0..200), capacity in 1_usize..40) {
            let (mut window, mut shipped) = (DuplicateWindow::new(capacity), HashSet::new());
            for wanted in ids {
                match window.look_up(id(wanted)) {
                    Seen::New => {
                        prop_assert!(shipped.insert(wanted), "{wanted} was shipped before");
                        window.insert(id(wanted));
                    }
                    Seen::Before => prop_assert!(shipped.contains(&wanted)),
                    Seen::Unknown => {}
                }
                prop_assert!(window.ids.len() <= capacity && window.ids.iter().is_sorted());
            }
        }
    }
}
