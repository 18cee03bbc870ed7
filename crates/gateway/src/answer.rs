//! Reads an answer of order-N: the result for each order that it was sent.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use domain::{OrderId, Partition, Region, SubmissionError, SubmissionReply};
use hyper::body::Bytes;
use poem::http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use service::Problem;
use service::client::NoAnswer;

/// An order that is in the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) order_id: OrderId,
    pub(crate) offset: i64,
    /// The receipt as order-N wrote it.
    pub(crate) receipt: Bytes,
    /// It was written for an earlier request with the same key.
    pub(crate) replayed: bool,
}

/// Why there is no receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The order is not in the log.
    NotWritten(String),
    /// It was answered with a 4xx, and is not in the log. order-N takes whatever the gateway sends it, so another service
    /// may have its address: containers that start at the same time can swap theirs.
    Misdirected(String),
    /// Its key came with another request: nothing was written.
    KeyReused(String),
    /// It may or may not be in the log.
    Unknown {
        /// Its id, where it has one.
        order_id: Option<OrderId>,
        /// Why it is unknown.
        reason: String,
    },
}

impl Failure {
    pub(crate) fn not_written(reason: impl fmt::Display) -> Self {
        Self::NotWritten(format!("{reason}: nothing was written"))
    }

    pub(crate) fn unknown(reason: impl fmt::Display) -> Self {
        let reason = format!("{reason}: it is unknown whether the order was written");
        Self::Unknown { order_id: None, reason }
    }

    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::NotWritten(reason)
            | Self::Misdirected(reason)
            | Self::KeyReused(reason)
            | Self::Unknown { reason, .. } => reason,
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotWritten(reason) | Failure::Misdirected(reason) => Self::unavailable(reason),
            Failure::KeyReused(reason) => Self::new(StatusCode::CONFLICT, reason),
            Failure::Unknown { order_id, reason } => Self::unknown_outcome(reason, order_id.map(|id| id.to_string())),
        }
    }
}

/// The result for each order of a batch, from the answer or its absence.
pub(crate) fn of_batch(
    partition: Partition,
    orders: usize,
    answer: Result<Response<Bytes>, NoAnswer>,
) -> Vec<Result<Accepted, Failure>> {
    let all = |failure: Failure| vec![failure; orders].into_iter().map(Err).collect();
    let unknown = |answer: String| all(Failure::unknown(format_args!("order-{partition} answered {answer}")));
    let (status, body) = match answer {
        Ok(answer) => (answer.status(), answer.into_body()),
        Err(NoAnswer::NotSent(reason)) => {
            return all(Failure::not_written(format_args!(
                "order-{partition}: out of reach ({reason})"
            )));
        }
        Err(NoAnswer::Lost(reason)) => {
            return all(Failure::unknown(format_args!(
                "order-{partition}: no answer ({reason})"
            )));
        }
    };
    if status != StatusCode::OK {
        return all(failure(partition, status, serde_json::from_slice(&body).ok()));
    }
    let replies = match serde_json::from_slice::<Vec<SubmissionReply<&RawValue>>>(&body) {
        Ok(replies) if replies.len() == orders => replies,
        Ok(replies) => return unknown(format!("{} replies to {orders} orders", replies.len())),
        Err(error) => return unknown(format!("what is no array of replies ({error})")),
    };
    let receipt = |receipt: &RawValue, replayed| {
        let accepted = accept(partition, body.slice_ref(receipt.get().as_bytes()))?;
        Ok(Accepted { replayed, ..accepted })
    };
    let outcome = |reply| match reply {
        SubmissionReply::Receipt(json) => receipt(json, false),
        SubmissionReply::Replayed(json) => receipt(json, true),
        SubmissionReply::Error(error) if error.status == StatusCode::CONFLICT.as_u16() => {
            Err(Failure::KeyReused(error.detail.to_string()))
        }
        SubmissionReply::Error(error) => {
            // A status that does not exist is nothing that order-N would say.
            let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_GATEWAY);
            Err(failure(partition, status, Some(error)))
        }
    };
    replies.into_iter().map(outcome).collect()
}

/// Reads a receipt. One of another region means that the order is somewhere, but not where it belongs.
fn accept(partition: Partition, receipt: Bytes) -> Result<Accepted, Failure> {
    #[derive(Deserialize)]
    struct Receipt<'a> {
        offset: i64,
        order_id: OrderId,
        partition: Partition,
        #[serde(borrow)]
        region: Cow<'a, str>,
    }
    let found = serde_json::from_slice::<Receipt<'_>>(&receipt)
        .map_err(|error| Failure::unknown(format_args!("order-{partition} answered what is no receipt ({error})")))?;
    let Receipt { offset, order_id, .. } = found;
    let region = Region::from(partition).to_string();
    if found.partition != partition || found.region != region {
        let found = format!("partition {} ({})", found.partition, found.region);
        let reason = format!(
            "order-{partition} answered with a receipt for {found} instead of {partition} ({region}): it is unknown \
             where the order was written"
        );
        let order_id = Some(order_id);
        return Err(Failure::Unknown { order_id, reason });
    }
    Ok(Accepted {
        order_id,
        offset,
        receipt,
        replayed: false,
    })
}

/// The failure behind an answer without a receipt. `error` is the problem that order-N sent, if it did.
fn failure(partition: Partition, status: StatusCode, error: Option<SubmissionError>) -> Failure {
    match (status, error) {
        // A proxy's 503 can follow a request that was passed on: order-N's own is a problem.
        (StatusCode::SERVICE_UNAVAILABLE, Some(error)) => Failure::NotWritten(error.detail.to_string()),
        (StatusCode::GATEWAY_TIMEOUT, Some(error)) => Failure::Unknown {
            order_id: error.order_id,
            reason: error.detail.to_string(),
        },
        // order-N of any version refuses a request before it writes anything.
        (status, Some(error)) if status.is_client_error() => {
            Failure::Misdirected(format!("order-{partition} answered {status}: {}", error.detail))
        }
        (status, None) if status.is_client_error() => {
            Failure::Misdirected(format!("order-{partition} answered {status}: nothing was written"))
        }
        (status, _) => Failure::unknown(format_args!("order-{partition} answered {status}")),
    }
}
