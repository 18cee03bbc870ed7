//! From the lines of a ledger to a timeline.

use std::collections::HashMap;

use crate::ledger::{Answer, Line};

use super::Timeline;

/// Takes the lines in their order.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) timeline: Timeline,
    /// The partitions of the orders of this run without an answer.
    pending: HashMap<u64, u16>,
}

impl Reader {
    pub(super) fn add(&mut self, line: Line) {
        let timeline = &mut self.timeline;
        match line {
            Line::Run { .. } => self.pending.clear(),
            Line::Attempt {
                at, order, partition, ..
            } => {
                if timeline.begun == 0 {
                    timeline.begun = at;
                }
                timeline.ended = at;
                timeline.regions.entry(partition).or_default();
                self.pending.insert(order, partition);
            }
            Line::Answer { at, order, answer } => {
                let region = self.pending.remove(&order);
                if let Some(answers) = region.and_then(|region| timeline.regions.get_mut(&region)) {
                    match answer {
                        Answer::Acknowledged { .. } => answers.acknowledged.push(at),
                        Answer::Refused { .. } | Answer::Unknown { .. } => answers.failed.push(at),
                    }
                }
            }
            Line::Fault {
                at,
                name,
                subjects,
                phase,
            } => timeline.faults.add(at, name, subjects, phase),
            Line::Beat { .. } => {}
        }
    }
}
