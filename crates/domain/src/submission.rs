//! An order on its way: from the gateway to order-N, and the answer.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Detail, Money, Order, OrderId, Partition, RecordHeaders, Region, UserId};

/// The order that the gateway posts to order-N.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// The price.
    pub money: Money,
    /// The partition that the client asked for.
    pub partition: Partition,
    /// When the gateway took the order, in Unix seconds.
    pub time: u64,
    /// The customer.
    pub user_id: UserId,
}

impl Submission {
    /// The order that it becomes with an id.
    pub fn into_order(self, order_id: OrderId) -> Order {
        let Self {
            money, time, user_id, ..
        } = self;
        Order {
            money,
            order_id,
            time,
            user_id,
        }
    }
}

/// The reply to an order that is in the log. Its JSON has its keys in alphabetical order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    money: Money,
    /// The offset of the order in its partition.
    pub offset: i64,
    /// Its id.
    pub order_id: OrderId,
    /// The partition that it is in.
    pub partition: Partition,
    region: String,
    time: u64,
    user_id: UserId,
}

impl Receipt {
    /// The receipt for an order that the broker has at this offset.
    pub fn new(order: Order, partition: Partition, offset: i64) -> Self {
        let Order {
            money,
            order_id,
            time,
            user_id,
        } = order;
        Self {
            money,
            offset,
            order_id,
            partition,
            region: Region::from(partition).to_string(),
            time,
            user_id,
        }
    }
}

/// One of the submissions that the gateway posts to `/submit-orders` together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchedSubmission {
    /// The headers of its record.
    #[serde(default)]
    pub headers: RecordHeaders,
    /// The submission itself.
    pub submission: Submission,
}

impl BatchedSubmission {
    /// The most of them in one request.
    pub const MAX_TOGETHER: usize = 256;
    /// The most bytes that one takes as JSON. A key and a request of 64 characters of which each is escaped, and the
    /// largest numbers, take less than 500.
    pub const MAX_JSON_BYTES: usize = 512;
}

/// The answer to one of them. `R` is a [`Receipt`], or its JSON where that is passed on as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SubmissionReply<R> {
    /// It is in the log.
    Receipt(R),
    /// It was in the log before, from an earlier request with the same key: nothing was written.
    Replayed(R),
    /// It is not, or that is unknown: the status says which.
    Error(SubmissionError),
}

/// Why there is no receipt: what the gateway reads of a problem of order-N.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmissionError {
    /// The HTTP status.
    pub status: u16,
    /// The text for people.
    pub detail: Detail,
    /// The id that the order has where it is unknown whether it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_id: Option<OrderId>,
}

impl SubmissionError {
    /// The order is not in the log.
    pub fn not_written(status: u16, reason: impl fmt::Display) -> Self {
        Self {
            status,
            detail: Detail::new(format_args!("{reason}: nothing was written")),
            order_id: None,
        }
    }

    /// The order may or may not be in the log: 504.
    pub fn unknown(order_id: Option<OrderId>, reason: impl fmt::Display) -> Self {
        Self {
            status: 504,
            detail: Detail::new(reason),
            order_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::tests::order;
    use crate::{Replicas, RequestText};

    #[test]
    fn a_submission_names_its_partition() {
        let text = r#"{"money":81,"partition":1,"time":1638865975,"user_id":"7"}"#;
        let submission: Submission = serde_json::from_str(text).expect("a submission");
        assert_eq!(submission.partition.id(), 1);
        assert_eq!(serde_json::to_string(&submission).expect("JSON"), text);
        assert!(serde_json::from_str::<Submission>(&text.replace(r#""partition":1,"#, "")).is_err());
    }

    #[test]
    fn the_largest_submission_of_a_batch_is_within_its_bound() {
        let submission = Submission {
            money: Money::try_from(i64::from(Money::MAX)).expect("the largest amount"),
            partition: serde_json::from_str("1023").expect("the largest partition"),
            time: u64::MAX,
            user_id: "9".repeat(19).parse().expect("the longest id"),
        };
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let header = |name| {
            std::iter::once(if name == "traceparent" {
                trace.as_bytes()
            } else {
                &[b'\\'; 64]
            })
        };
        let mut headers = RecordHeaders::read(header).expect("the longest key");
        headers.idempotency_request = "\\".repeat(RequestText::MAX_LENGTH).try_into().ok();
        let batched = BatchedSubmission { headers, submission };
        let json = serde_json::to_string(&batched).expect("JSON");
        assert!(
            (400..BatchedSubmission::MAX_JSON_BYTES).contains(&json.len()),
            "{} bytes: {json}",
            json.len()
        );
        assert_eq!(
            serde_json::from_str::<BatchedSubmission>(&json).expect("own JSON"),
            batched
        );
    }

    #[test]
    fn a_submission_for_what_is_no_partition_is_refused() {
        for partition in ["-1", "1024", "\"1\"", "1.0"] {
            let text = format!(r#"{{"money":81,"partition":{partition},"time":1,"user_id":"7"}}"#);
            assert!(serde_json::from_str::<Submission>(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_receipt_is_the_reply_of_the_contract() {
        let partition = Replicas::THREE.parse_partition("0").expect("a partition");
        let receipt = Receipt::new(order(1_468_136_426_238_382_080), partition, 0);
        let expected = concat!(
            r#"{"money":81,"offset":0,"order_id":"1468136426238382080","partition":0,"region":"陕北","#,
            r#""time":1638865975,"user_id":"1468136425655373824"}"#
        );
        assert_eq!(serde_json::to_string(&receipt).expect("JSON"), expected);
    }
}
