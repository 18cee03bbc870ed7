//! The partitions of a topic that are not read yet, in the order in which their leaders are asked where to begin.

use std::collections::VecDeque;

use domain::Partition;

/// The partitions that are not read yet.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// How many partitions are known.
    pub(crate) known: usize,
    /// Those that are not read, and whether their leader has failed to answer: these come last.
    pub(crate) queue: VecDeque<(Partition, bool)>,
}

impl Pending {
    /// The topic has these partitions.
    pub(crate) fn found(&mut self, partitions: &[Partition]) {
        let new = partitions.iter().skip(self.known);
        // Before those that have failed to answer.
        new.rev()
            .for_each(|partition| self.queue.push_front((*partition, false)));
        self.known = self.known.max(partitions.len());
    }

    /// Whether it was found out where to read a partition from.
    pub(crate) fn is_started(&self, id: i32) -> bool {
        !self.queue.iter().any(|(partition, _)| partition.id() == id)
    }

    /// A partition that was taken from the queue has no leader that answers: then `same` others need not be asked now.
    /// Returns all of them.
    pub(crate) fn failed(&mut self, partition: Partition, same: impl Fn(Partition) -> bool) -> Vec<Partition> {
        let queue = std::mem::take(&mut self.queue);
        let (late, rest): (VecDeque<_>, VecDeque<_>) =
            queue.into_iter().partition(|(other, failed)| !*failed && same(*other));
        let failed: Vec<Partition> = [partition]
            .into_iter()
            .chain(late.into_iter().map(|(other, _)| other))
            .collect();
        self.queue = rest;
        self.queue.extend(failed.iter().map(|partition| (*partition, true)));
        failed
    }
}

#[cfg(test)]
mod tests {
    use domain::Replicas;

    use super::*;

    #[test]
    fn a_broker_that_does_not_answer_is_waited_for_once_before_the_others_have_their_turn() {
        let partitions: Vec<Partition> = Replicas::try_from(6).expect("six").partitions().collect();
        let of = |numbers: &[usize]| numbers.iter().map(|number| partitions[*number]).collect::<Vec<_>>();
        let mut pending = Pending::default();
        pending.found(&partitions[..5]);
        // Partitions 0, 2 and 4 have the same leader.
        let same = |partition: Partition| partition.index().is_multiple_of(2);
        let (first, _) = pending.queue.pop_front().expect("five");
        assert_eq!(pending.failed(first, same), of(&[0, 2, 4]));
        pending.found(&partitions);
        let left: Vec<_> = pending.queue.iter().map(|(partition, _)| *partition).collect();
        assert_eq!(left, of(&[5, 1, 3, 0, 2, 4]));
        let (new, failed) = pending.queue.pop_front().expect("a new one");
        assert_eq!((new, failed), (partitions[5], false));
        // Those that have failed are asked one by one.
        pending.queue.drain(..2);
        let (again, failed) = pending.queue.pop_front().expect("three");
        assert!(failed);
        assert_eq!(pending.failed(again, same), of(&[0]));
    }
}
