//! What an answer of order-N means for an order.

use std::borrow::Cow;

use domain::{OrderId, Partition, Region, SubmissionError};
use hyper::body::Bytes;
use poem::http::StatusCode;
use serde::Deserialize;
use service::Problem;

/// An order that is in the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) order_id: OrderId,
    pub(crate) offset: i64,
    /// The receipt as order-N wrote it.
    pub(crate) receipt: Bytes,
}

/// Why there is no receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The order is not in the log.
    NotWritten(String),
    /// It may or may not be in the log.
    Unknown {
        /// Its id, where it has one.
        order_id: Option<OrderId>,
        /// Why it is unknown.
        reason: String,
    },
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotWritten(reason) => Self::unavailable(reason),
            Failure::Unknown { order_id, reason } => Self::unknown_outcome(reason, order_id.map(|id| id.to_string())),
        }
    }
}

/// Reads a receipt. One of another region means that the order is somewhere, but not where it belongs.
pub(crate) fn receipt(partition: Partition, receipt: Bytes) -> Result<Accepted, Failure> {
    #[derive(Deserialize)]
    struct Receipt<'a> {
        offset: i64,
        order_id: OrderId,
        partition: Partition,
        #[serde(borrow)]
        region: Cow<'a, str>,
    }
    let unknown = |order_id, found: String| Failure::Unknown {
        order_id,
        reason: format!("order-{partition} answered {found}: it is unknown where the order was written"),
    };
    let read = serde_json::from_slice::<Receipt<'_>>(&receipt);
    let found = read.map_err(|error| unknown(None, format!("what is no receipt ({error})")))?;
    let region = Region::from(partition).to_string();
    if (found.partition, &*found.region) != (partition, &*region) {
        let receipt = format!("with a receipt for partition {} ({})", found.partition, found.region);
        let expected = format!("{receipt} instead of {partition} ({region})");
        return Err(unknown(Some(found.order_id), expected));
    }
    let Receipt { offset, order_id, .. } = found;
    Ok(Accepted {
        order_id,
        offset,
        receipt,
    })
}

/// What an answer without a receipt means.
pub(crate) fn failure(partition: Partition, status: StatusCode, body: &[u8]) -> Failure {
    let error = serde_json::from_slice::<SubmissionError>(body).ok();
    match (status, error) {
        // A proxy's 503 can follow a request that was passed on: order-N's own is a problem.
        (StatusCode::SERVICE_UNAVAILABLE, Some(error)) => Failure::NotWritten(error.detail.to_string()),
        (StatusCode::GATEWAY_TIMEOUT, Some(error)) => Failure::Unknown {
            order_id: error.order_id,
            reason: error.detail.to_string(),
        },
        // Whatever its version is: it refused the request before it did anything with it.
        (status, error) if status.is_client_error() => {
            let detail = error.map_or_else(|| "nothing was written".to_owned(), |error| error.detail.to_string());
            Failure::NotWritten(format!("order-{partition} answered {status}: {detail}"))
        }
        (status, _) => Failure::Unknown {
            order_id: None,
            reason: format!("order-{partition} answered {status}: it is unknown whether the order was written"),
        },
    }
}

#[cfg(test)]
mod tests {
    use domain::Replicas;

    use super::*;

    const RECEIPT: &str = concat!(
        r#"{"money":81,"offset":7,"order_id":"1468136426238382080","partition":1,"region":"关中","#,
        r#""time":1638865975,"user_id":"1468136425655373824"}"#
    );

    fn partition() -> Partition {
        Replicas::THREE.parse_partition("1").expect("one of three")
    }

    fn problem(status: u16, detail: &str) -> String {
        format!(r#"{{"type":"about:blank","title":"T","status":{status},"detail":"{detail}","order_id":"9"}}"#)
    }

    fn failed(status: u16, body: &str) -> Failure {
        failure(
            partition(),
            StatusCode::from_u16(status).expect("a status"),
            body.as_bytes(),
        )
    }

    #[test]
    fn a_receipt_is_passed_on_byte_for_byte() {
        let accepted = receipt(partition(), Bytes::from(RECEIPT)).expect("accepted");
        assert_eq!(
            (accepted.offset, accepted.order_id.get()),
            (7, 1_468_136_426_238_382_080)
        );
        assert_eq!(accepted.receipt, RECEIPT);
    }

    #[test]
    fn a_receipt_of_another_region_is_unknown_and_names_both() {
        for other in [
            RECEIPT.replace(r#""partition":1"#, r#""partition":2"#),
            RECEIPT.replace("关中", "陕南"),
        ] {
            let failure = receipt(partition(), Bytes::from(other.clone())).expect_err(&other);
            let Failure::Unknown { order_id, reason } = failure else {
                panic!("{failure:?}")
            };
            assert_eq!(order_id.map(OrderId::get), Some(1_468_136_426_238_382_080));
            assert!(reason.contains("instead of 1 (关中)"), "{reason}");
        }
    }

    #[test]
    fn what_is_no_receipt_is_unknown() {
        for rubbish in ["", "{}", "[]", "null", "rubbish", &RECEIPT[..RECEIPT.len() - 1]] {
            let failure = receipt(partition(), Bytes::from(rubbish.to_owned())).expect_err(rubbish);
            assert!(
                matches!(failure, Failure::Unknown { order_id: None, .. }),
                "{failure:?}"
            );
        }
    }

    #[test]
    fn every_4xx_means_that_nothing_was_written() {
        for status in [400, 404, 405, 408, 413, 415, 421, 422, 431] {
            let failure = failed(status, "");
            let Failure::NotWritten(reason) = &failure else {
                panic!("{status}: {failure:?}")
            };
            assert!(reason.starts_with(&format!("order-1 answered {status}")), "{reason}");
            assert!(reason.ends_with("nothing was written"), "{reason}");
        }
        let Failure::NotWritten(reason) = failed(421, &problem(421, "this is order-2: nothing was written")) else {
            panic!("unknown")
        };
        assert!(
            reason.contains("order-1") && reason.contains("this is order-2"),
            "{reason}"
        );
    }

    #[test]
    fn a_503_of_order_n_says_that_nothing_was_written_and_that_of_something_else_says_nothing() {
        assert_eq!(failed(503, &problem(503, "why")), Failure::NotWritten("why".to_owned()));
        assert!(matches!(failed(503, "upstream reset"), Failure::Unknown { .. }));
    }

    #[test]
    fn every_other_answer_is_unknown() {
        for status in [201, 204, 301, 500, 501, 502, 504, 505] {
            assert!(
                matches!(failed(status, ""), Failure::Unknown { order_id: None, .. }),
                "{status}"
            );
        }
        let Failure::Unknown { order_id, reason } = failed(504, &problem(504, "why")) else {
            panic!("certain")
        };
        assert_eq!((order_id.map(OrderId::get), reason.as_str()), (Some(9), "why"));
    }
}
