//! What was done to the mall while a ledger was written.

use crate::ledger::Phase;

/// A broker that has been killed may still answer what it had received for this long, in microseconds.
const LAST_ANSWERS_MICROS: u64 = 1_000_000;

/// The faults of all ledgers.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

#[derive(Debug)]
struct Fault {
    name: String,
    subjects: Vec<String>,
    begun: u64,
    /// When its cause was over; `None` when the ledger does not say.
    healed: Option<u64>,
}

impl Faults {
    pub(super) fn add(&mut self, at: u64, name: String, subjects: Vec<String>, phase: Phase) {
        match phase {
            Phase::Begun => self.0.push(Fault {
                name,
                subjects,
                begun: at,
                healed: None,
            }),
            Phase::Healed => {
                let is_it = |fault: &&mut Fault| fault.name == name && fault.healed.is_none();
                if let Some(fault) = self.0.iter_mut().rev().find(is_it) {
                    fault.healed = Some(at);
                }
            }
        }
    }

    /// The fault because of which there was no broker in all of this time. Which broker a pause or a cut keeps from
    /// answering, and when, cannot be told from outside: only a broker that is down counts.
    pub(super) fn outage_during(&self, began: u64, ended: u64) -> Option<&str> {
        let is_outage = |fault: &&Fault| {
            let is_down = fault.name.starts_with("kill-") || fault.name.starts_with("stop-");
            is_down
                && fault.is_of("kafka")
                && fault.begun + LAST_ANSWERS_MICROS < began
                && fault.healed.is_some_and(|healed| ended < healed)
        };
        self.0.iter().find(is_outage).map(|fault| fault.name.as_str())
    }

    /// Whether something was done to the gateway in a part of this time: it may then be slow to answer.
    pub(super) fn gateway_during(&self, began: u64, ended: u64) -> bool {
        let overlaps = |fault: &Fault| fault.begun <= ended && fault.healed.is_none_or(|healed| began <= healed);
        self.0.iter().any(|fault| fault.is_of("gateway") && overlaps(fault))
    }
}

impl Fault {
    fn is_of(&self, subject: &str) -> bool {
        self.subjects.iter().any(|found| found == subject)
    }
}
