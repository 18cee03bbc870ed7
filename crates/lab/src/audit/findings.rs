//! What was found about each invariant.

use std::fmt;

use domain::OrderId;
use serde::Serialize;

use super::invariant::Invariant;

/// So many offenders are kept of each invariant; all are counted.
const FIRST_OFFENDERS: usize = 5;
/// So many remarks are kept of each invariant: with a thousand partitions each could have its own.
const MAX_REMARKS: usize = 5;

/// What an offence is about, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The topic, without its prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<&'static str>,
    /// The partition of the topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<u16>,
    /// The offset in the partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// The order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_id: Option<OrderId>,
}

impl Place {
    pub(super) fn partition(topic: &'static str, partition: u16) -> Self {
        Self {
            topic: Some(topic),
            partition: Some(partition),
            ..Self::default()
        }
    }

    pub(super) fn record(topic: &'static str, partition: u16, offset: i64, order_id: Option<OrderId>) -> Self {
        Self {
            offset: Some(offset),
            order_id,
            ..Self::partition(topic, partition)
        }
    }
}

/// `order[1] offset 17, order 1468136426238382080`; `in total` when it is about all there is.
impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return formatter.write_str("in total");
        }
        let mut separator = "";
        if let Some(topic) = self.topic {
            formatter.write_str(topic)?;
            separator = " ";
        }
        if let Some(partition) = self.partition {
            write!(formatter, "[{partition}]")?;
            separator = " ";
        }
        if let Some(offset) = self.offset {
            write!(formatter, "{separator}offset {offset}")?;
            separator = ", ";
        }
        if let Some(order_id) = self.order_id {
            write!(formatter, "{separator}order {order_id}")?;
        }
        Ok(())
    }
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offender {
    /// Where it is.
    #[serde(flatten)]
    pub place: Place,
    /// What was expected, and what was found.
    pub what: String,
}

impl fmt::Display for Offender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.what)
    }
}

/// Whether an invariant holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything that it is about was checked, and is as it must be.
    Holds,
    /// Something is not.
    Fails,
    /// It could not be checked, or not for everything that it is about: the remarks say why. What was checked holds.
    NotChecked,
}

/// What was found about one invariant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which.
    pub invariant: Invariant,
    /// What it says.
    pub name: &'static str,
    /// Whether it holds.
    pub verdict: Verdict,
    /// How much was checked: records, orders or attempts.
    pub checked: u64,
    /// How many offences there are.
    pub offences: u64,
    /// The first of them.
    pub offenders: Vec<Offender>,
    /// What was not checked and why, then what else is worth knowing.
    pub remarks: Vec<String>,
}

/// Gathers what is found.
#[derive(Debug, Default)]
pub(super) struct Findings([Tally; Invariant::ALL.len()]);

#[derive(Debug, Default)]
struct Tally {
    checked: u64,
    offences: u64,
    offenders: Vec<Offender>,
    not_checked: Vec<String>,
    remarks: Vec<String>,
}

impl Findings {
    fn tally(&mut self, invariant: Invariant) -> &mut Tally {
        &mut self.0[invariant as usize]
    }

    /// So many more were checked.
    pub(super) fn checked(&mut self, invariant: Invariant, count: u64) {
        self.tally(invariant).checked += count;
    }

    /// Something is not as it must be. `what` is only asked for when it is shown.
    pub(super) fn offence(&mut self, invariant: Invariant, place: Place, what: impl FnOnce() -> String) {
        let tally = self.tally(invariant);
        tally.offences += 1;
        if tally.offenders.len() < FIRST_OFFENDERS {
            tally.offenders.push(Offender { place, what: what() });
        }
    }

    /// Something could not be checked.
    pub(super) fn not_checked(&mut self, invariant: Invariant, why: impl Into<String>) {
        add(&mut self.tally(invariant).not_checked, why.into());
    }

    /// Something is worth knowing and no offence.
    pub(super) fn remark(&mut self, invariant: Invariant, remark: impl Into<String>) {
        add(&mut self.tally(invariant).remarks, remark.into());
    }

    /// What was found about each invariant, in their order.
    pub(super) fn into_list(self) -> Vec<Finding> {
        let finding = |(invariant, tally): (Invariant, Tally)| Finding {
            invariant,
            name: invariant.name(),
            verdict: match (tally.offences, tally.not_checked.is_empty()) {
                (0, true) => Verdict::Holds,
                (0, false) => Verdict::NotChecked,
                _ => Verdict::Fails,
            },
            checked: tally.checked,
            offences: tally.offences,
            offenders: tally.offenders,
            remarks: [tally.not_checked, tally.remarks].concat(),
        };
        Invariant::ALL.into_iter().zip(self.0).map(finding).collect()
    }
}

fn add(remarks: &mut Vec<String>, remark: String) {
    if remarks.len() < MAX_REMARKS && !remarks.contains(&remark) {
        remarks.push(remark);
    }
}
