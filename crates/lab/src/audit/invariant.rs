//! What must be true of a mall, by name.

use std::fmt;

use serde::{Serialize, Serializer};

/// What must be true of a mall, whatever was done to it. The numbers are those of the acceptance test of the design.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// Each acknowledged order is in the log, where its receipt says.
    I1,
    /// No order that was refused is in the log.
    I2,
    /// What is in the log was ordered, as it is there.
    I3,
    /// Each record of topic `order` has one outcome in topic `shipment`, and each order is shipped once.
    I4,
    /// Outcomes come in the order of the orders, and these in the order in which they were made.
    I5,
    /// Each order is in the partition of its region, made and shipped by the replicas of this region.
    I6,
    /// Each offset of topic `order` holds a record.
    I7,
    /// The figures of statistics are those of the log at the offsets that it names.
    I8,
    /// The position that a repository has committed is covered by its outcomes.
    I9,
    /// Every request was answered in time, and every order has an outcome in time.
    I10,
    /// Nothing is acknowledged that the broker has not acknowledged.
    I11,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::I1,
        Self::I2,
        Self::I3,
        Self::I4,
        Self::I5,
        Self::I6,
        Self::I7,
        Self::I8,
        Self::I9,
        Self::I10,
        Self::I11,
    ];

    /// A short sentence that says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::I1 => "no acknowledged order is lost",
            Self::I2 => "no refused order is in the log",
            Self::I3 => "the log holds only what was ordered",
            Self::I4 => "each order is shipped exactly once",
            Self::I5 => "orders are kept and shipped in order",
            Self::I6 => "each region has its own orders only",
            Self::I7 => "topic order has no gaps",
            Self::I8 => "statistics shows what is in the log",
            Self::I9 => "no repository is ahead of its outcomes",
            Self::I10 => "every order is answered and shipped in time",
            Self::I11 => "nothing is acknowledged without the broker",
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
