//! The faults of a ledger, from their lines.

use super::Phase;

/// Something that was done to the mall. Times are Unix microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// As in `mall drill list`.
    pub(crate) name: String,
    /// The containers that it was done to.
    pub(crate) subjects: Vec<String>,
    pub(crate) begun: u64,
    /// When its effect was seen; `None` if it never was.
    pub(crate) seen: Option<u64>,
    /// When its cause was taken away; `None` when the ledger does not say.
    pub(crate) healed: Option<u64>,
}

/// The faults of one or several ledgers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl std::ops::Deref for Faults {
    type Target = Vec<Fault>;

    fn deref(&self) -> &Vec<Fault> {
        &self.0
    }
}

impl std::ops::DerefMut for Faults {
    fn deref_mut(&mut self) -> &mut Vec<Fault> {
        &mut self.0
    }
}

impl Faults {
    /// Takes a line about a fault.
    pub(crate) fn add(&mut self, at: u64, name: String, subjects: Vec<String>, phase: Phase) {
        if phase == Phase::Begun {
            return self.0.push(Fault {
                name,
                subjects,
                begun: at,
                seen: None,
                healed: None,
            });
        }
        let is_meant = |fault: &&mut Fault| fault.healed.is_none() && fault.name == name && fault.subjects == subjects;
        let Some(fault) = self.0.iter_mut().find(is_meant) else {
            return;
        };
        match phase {
            Phase::Seen => fault.seen = fault.seen.or(Some(at)),
            _ => fault.healed = Some(at),
        }
    }

    /// The faults that were under way at the same time as this one, and itself.
    pub(crate) fn group(&self, index: usize) -> impl Iterator<Item = &Fault> {
        let mut members = vec![index];
        let mut next = 0;
        while let Some(&member) = members.get(next) {
            next += 1;
            for other in 0..self.0.len() {
                if !members.contains(&other) && self.0[member].overlaps(&self.0[other]) {
                    members.push(other);
                }
            }
        }
        members.into_iter().map(|member| &self.0[member])
    }

    /// When the last cause was taken away of this fault and of those that were under way with it.
    pub(crate) fn healed(&self, index: usize) -> Option<u64> {
        let ends: Option<Vec<u64>> = self.group(index).map(|fault| fault.healed).collect();
        ends?.into_iter().max()
    }
}

impl Fault {
    fn overlaps(&self, other: &Self) -> bool {
        let end = |fault: &Self| fault.healed.unwrap_or(u64::MAX);
        self.begun <= end(other) && other.begun <= end(self)
    }
}
