//! The lines of a ledger.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::Run;
use crate::OrderId;

/// A line of a ledger. All times are Unix microseconds; those of one run come from a clock that does not step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "line", rename_all = "lowercase")]
pub enum Line {
    /// A run begins; the lines of its orders follow.
    Run {
        /// When.
        at: u64,
        /// Its number.
        run: Run,
        /// The URL of the gateway.
        gateway: String,
    },
    /// An order is about to be sent.
    Attempt {
        /// When.
        at: u64,
        /// Its number in the run. With a key an order is tried again under the same number: the same request.
        order: u64,
        /// The partition that is asked for.
        partition: u16,
        /// Its money.
        money: u32,
        /// Its `Idempotency-Key`.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// The answer to the last attempt of an order.
    Answer {
        /// When.
        at: u64,
        /// Its number in the run.
        order: u64,
        /// The answer.
        #[serde(flatten)]
        answer: Answer,
    },
    /// The load is alive. Without such a line for a while it was itself what stood still.
    Beat {
        /// When.
        at: u64,
        /// Orders of this run that are due by now.
        due: u64,
        /// Orders of this run that were begun.
        sent: u64,
    },
    /// Something is done to the mall, or is over.
    Fault {
        /// When.
        at: u64,
        /// Its name, as in `mall drill list`.
        name: String,
        /// The containers that it is done to.
        subjects: Vec<String>,
        /// The part of the fault that happens now.
        phase: Phase,
    },
}

/// The answer to an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Answer {
    /// 200: the order is in the log, here.
    Acknowledged {
        /// Its id.
        order_id: OrderId,
        /// The partition that the answer names.
        partition: u16,
        /// Its offset in it.
        offset: i64,
        /// `true` if the answer is that of an earlier attempt.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        replayed: bool,
    },
    /// It is not in the log: a status that says so, or the request was never sent.
    Refused {
        /// The status; `None` when no connection could be made.
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
    },
    /// It may be in the log.
    Unknown {
        /// The status; `None` when the connection broke, or nothing came in time.
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        /// The id that it has if it is in the log, where the answer says so.
        #[serde(skip_serializing_if = "Option::is_none")]
        order_id: Option<OrderId>,
    },
}

/// A part of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It begins.
    Begun,
    /// Its effect was seen: the container is down, frozen or without a network.
    Seen,
    /// The cause was taken away: recovery is counted from here on.
    Healed,
}

/// All fields of all lines. Reading this is several times as fast as serde's reading of a tagged enum, and a ledger has
/// millions of lines.
#[derive(Deserialize)]
struct Fields {
    line: Kind,
    at: u64,
    run: Option<Run>,
    gateway: Option<String>,
    order: Option<u64>,
    partition: Option<u16>,
    money: Option<u32>,
    key: Option<String>,
    outcome: Option<Outcome>,
    order_id: Option<OrderId>,
    offset: Option<i64>,
    #[serde(default)]
    replayed: bool,
    status: Option<u16>,
    due: Option<u64>,
    sent: Option<u64>,
    name: Option<String>,
    subjects: Option<Vec<String>>,
    phase: Option<Phase>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Run,
    Attempt,
    Answer,
    Beat,
    Fault,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Acknowledged,
    Refused,
    Unknown,
}

impl Line {
    /// Reads a line.
    ///
    /// # Errors
    /// When it is not JSON, or lacks a field of its kind.
    pub(super) fn from_json(text: &[u8]) -> anyhow::Result<Self> {
        let fields: Fields = serde_json::from_slice(text)?;
        fields.into_line()
    }
}

impl Fields {
    fn into_line(self) -> anyhow::Result<Line> {
        let at = self.at;
        Ok(match self.line {
            Kind::Run => Line::Run {
                at,
                run: self.run.context("a run without a number")?,
                gateway: self.gateway.unwrap_or_default(),
            },
            Kind::Attempt => Line::Attempt {
                at,
                order: self.order.context("an attempt without an order")?,
                partition: self.partition.context("an attempt without a partition")?,
                money: self.money.context("an attempt without money")?,
                key: self.key,
            },
            Kind::Answer => Line::Answer {
                at,
                order: self.order.context("an answer without an order")?,
                answer: self.answer()?,
            },
            Kind::Beat => Line::Beat {
                at,
                due: self.due.context("a beat without what was due")?,
                sent: self.sent.context("a beat without what was sent")?,
            },
            Kind::Fault => Line::Fault {
                at,
                name: self.name.context("a fault without a name")?,
                subjects: self.subjects.unwrap_or_default(),
                phase: self.phase.context("a fault without a phase")?,
            },
        })
    }

    fn answer(&self) -> anyhow::Result<Answer> {
        let (order_id, status) = (self.order_id, self.status);
        Ok(match self.outcome.context("an answer without an outcome")? {
            Outcome::Acknowledged => Answer::Acknowledged {
                order_id: order_id.context("a receipt without an id")?,
                partition: self.partition.context("a receipt without a partition")?,
                offset: self.offset.context("a receipt without an offset")?,
                replayed: self.replayed,
            },
            Outcome::Refused => Answer::Refused { status },
            Outcome::Unknown => Answer::Unknown { status, order_id },
        })
    }
}
