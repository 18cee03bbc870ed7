//! The finding of each check.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::OrderId;

/// Offenders that are kept of each invariant; all are counted.
const FIRST_OFFENDERS: usize = 5;
/// Remarks that are kept of each invariant: with a thousand partitions each could have its own.
const MAX_REMARKS: usize = 5;

/// An invariant: it holds whatever faults there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "name() says what each one is")]
pub enum Invariant {
    I1,
    I2,
    I3,
    I4,
    I5,
    I6,
    I7,
    I8,
    I9,
    I10,
    I11,
    I12,
}

impl Invariant {
    /// A short sentence that says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::I1 => "each acknowledged order is in the log",
            Self::I2 => "no refused order is in the log",
            Self::I3 => "the log holds only what was ordered",
            Self::I4 => "each order is shipped exactly once",
            Self::I5 => "orders are kept and shipped in order",
            Self::I6 => "each region has its own orders only",
            Self::I7 => "topic order has no gaps",
            Self::I8 => "statistics shows what is in the log",
            Self::I9 => "repositories go on after their last outcome",
            Self::I10 => "every order is answered and shipped in time",
            Self::I11 => "nothing is acknowledged without a broker",
            Self::I12 => "a region that no fault touches takes orders",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&format!("I{}", *self as usize + 1))
    }
}

impl Serialize for Invariant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The verdict on an invariant, or on a mall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything that it is about was checked, and is as it must be.
    Held,
    /// Something is not as it must be.
    Broken,
    /// All that was checked is as it must be; nothing was checked, or not everything. The remarks say why.
    NotProved,
    /// The ledger holds nothing that it is about: no broker was down.
    NoOccasion,
}

/// The place of an offence, as far as it has one.
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
    /// A partition of topic `order`.
    pub(super) fn region(partition: u16) -> Self {
        Self {
            topic: Some("order"),
            partition: Some(partition),
            ..Self::default()
        }
    }

    /// A record of topic `order`.
    pub(super) fn order(partition: u16, offset: i64, order_id: Option<OrderId>) -> Self {
        Self {
            offset: Some(offset),
            order_id,
            ..Self::region(partition)
        }
    }

    /// A record of topic `shipment`.
    pub(super) fn shipment(partition: u16, offset: i64, order_id: Option<OrderId>) -> Self {
        Self {
            topic: Some("shipment"),
            ..Self::order(partition, offset, order_id)
        }
    }
}

/// `order[1] offset 17, order 1468136426238382080`; `in total` for a place that is none.
impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(topic), Some(partition)) = (self.topic, self.partition) else {
            return formatter.write_str("in total");
        };
        write!(formatter, "{topic}[{partition}]")?;
        if let Some(offset) = self.offset {
            write!(formatter, " offset {offset}")?;
        }
        if let Some(order_id) = self.order_id {
            write!(formatter, ", order {order_id}")?;
        }
        Ok(())
    }
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offender {
    /// The place.
    #[serde(flatten)]
    pub place: Place,
    /// The expectation, and the value found.
    pub what: String,
}

impl fmt::Display for Offender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.what)
    }
}

/// The finding about one invariant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which.
    pub invariant: Invariant,
    /// Its sentence.
    pub name: &'static str,
    /// The verdict.
    pub verdict: Verdict,
    /// The number of checked records, orders or attempts.
    pub checked: u64,
    /// The number of offences.
    pub offences: u64,
    /// The first of them.
    pub offenders: Vec<Offender>,
    /// Parts that were not checked, with the reasons.
    pub remarks: Vec<String>,
}

impl Finding {
    /// Nothing was checked.
    pub(super) fn new(invariant: Invariant) -> Self {
        Self {
            invariant,
            name: invariant.name(),
            verdict: Verdict::NotProved,
            checked: 0,
            offences: 0,
            offenders: Vec::new(),
            remarks: Vec::new(),
        }
    }

    /// So many more were checked.
    pub(super) fn checked(&mut self, count: u64) {
        self.checked += count;
        self.judge();
    }

    /// Something is not as it must be. `what` is only asked for when it is shown.
    pub(super) fn offence(&mut self, place: Place, what: impl FnOnce() -> String) {
        self.offences += 1;
        if self.offenders.len() < FIRST_OFFENDERS {
            self.offenders.push(Offender { place, what: what() });
        }
        self.judge();
    }

    /// Something could not be checked.
    pub(super) fn not_checked(&mut self, why: impl Into<String>) {
        let why = why.into();
        if self.remarks.len() < MAX_REMARKS && !self.remarks.contains(&why) {
            self.remarks.push(why);
        }
        self.judge();
    }

    /// The ledger holds nothing that the invariant is about.
    pub(super) fn no_occasion(&mut self, why: &str) {
        self.remarks.push(why.to_owned());
        self.verdict = Verdict::NoOccasion;
    }

    fn judge(&mut self) {
        self.verdict = match (self.offences, self.checked) {
            (1.., _) => Verdict::Broken,
            (0, 1..) if self.remarks.is_empty() => Verdict::Held,
            _ => Verdict::NotProved,
        };
    }
}

/// Without a ledger: the finding says that it is needed.
pub(super) fn needs_ledger(finding: &mut Finding) {
    finding.not_checked("needs to know what clients were told: --ledger FILE");
}
