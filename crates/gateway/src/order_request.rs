//! Reads what a client sent.

use anyhow::Context as _;
use domain::{Money, Partition, Replicas, RequestText, Submission, UserId, json};
use poem::http::StatusCode;
use serde::Deserialize;
use service::Problem;

/// The form of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    UrlEncoded,
    Json,
}

impl Form {
    /// Reads the content type.
    ///
    /// # Errors
    /// 415.
    pub(crate) fn from_content_type(content_type: Option<&str>) -> Result<Self, Problem> {
        let media_type =
            content_type.map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        match media_type.as_deref() {
            Some("application/x-www-form-urlencoded") => Ok(Self::UrlEncoded),
            Some("application/json") => Ok(Self::Json),
            _ => {
                let found = content_type.unwrap_or("none").chars().take(60).collect::<String>();
                let expected = "application/x-www-form-urlencoded or application/json";
                let detail = format!("expected content type {expected}, found {found}: nothing was written");
                Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
            }
        }
    }
}

/// An order as a client asks for it, with what the client left open.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OrderRequest {
    pub(crate) partition: Partition,
    money: Option<Money>,
    user_id: Option<UserId>,
}

/// The fields as a form has them: text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    partition: Option<String>,
    money: Option<String>,
    user_id: Option<String>,
}

/// The fields as JSON has them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    partition: Option<i64>,
    money: Option<i64>,
    user_id: Option<String>,
}

impl OrderRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// 400, with what was expected and found.
    pub(crate) fn parse(form: Form, body: &[u8], replicas: Replicas) -> Result<Self, Problem> {
        let read = Self::read(form, body, replicas);
        read.map_err(|error| Problem::bad_request(format!("{error:#}: nothing was written")))
    }

    fn read(form: Form, body: &[u8], replicas: Replicas) -> anyhow::Result<Self> {
        let text = match form {
            Form::UrlEncoded => serde_urlencoded::from_bytes(body).context("expected a form like partition=1")?,
            Form::Json => {
                let json: Json = json::from_object(body).context("expected a JSON object like {\"partition\":1}")?;
                Text {
                    partition: json.partition.map(|partition| partition.to_string()),
                    money: json.money.map(|money| money.to_string()),
                    user_id: json.user_id,
                }
            }
        };
        let partition = text
            .partition
            .with_context(|| format!("expected a partition from 0 to {}, found none", replicas.get() - 1))?;
        Ok(Self {
            partition: replicas.parse_partition(&partition)?,
            money: text.money.map(|money| money.parse()).transpose()?,
            user_id: text.user_id.map(|user_id| user_id.parse()).transpose()?,
        })
    }

    /// The fields that the client has set, beside the partition.
    pub(crate) fn text(&self) -> RequestText {
        RequestText::new(self.money, self.user_id)
    }

    /// The submission that is posted to order-N. Fields that the client has not set are drawn at random.
    pub(crate) fn into_submission(self, time: u64) -> Submission {
        Submission {
            money: self.money.unwrap_or_else(|| {
                Money::try_from(i64::from(rand::random_range(0..1000_u16))).expect("less than a million")
            }),
            partition: self.partition,
            time,
            user_id: self.user_id.unwrap_or_else(|| UserId::from_number(rand::random())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form(body: &str) -> Result<OrderRequest, Problem> {
        OrderRequest::parse(Form::UrlEncoded, body.as_bytes(), Replicas::THREE)
    }

    fn json(body: &str) -> Result<OrderRequest, Problem> {
        OrderRequest::parse(Form::Json, body.as_bytes(), Replicas::THREE)
    }

    #[test]
    fn a_form_and_json_say_the_same() {
        let order_request = form("partition=1&money=81&user_id=007").expect("a valid form");
        assert_eq!(
            json(r#"{"partition":1,"money":81,"user_id":"007"}"#).expect("valid JSON"),
            order_request
        );
        let submission = order_request.into_submission(5);
        assert_eq!(
            (
                submission.money.get(),
                submission.partition.id(),
                submission.time,
                submission.user_id.to_string().as_str()
            ),
            (81, 1, 5, "007")
        );
    }

    #[test]
    fn what_is_left_open_is_drawn_at_random() {
        let drawn: std::collections::HashSet<u32> = (0..100)
            .map(|_| {
                form("partition=0")
                    .expect("a valid form")
                    .into_submission(0)
                    .money
                    .get()
            })
            .inspect(|money| assert!(*money < 1000))
            .collect();
        assert!(drawn.len() > 10);
    }

    #[test]
    fn hostile_forms_are_told_what_was_expected() {
        for body in [
            "",
            "money=1",
            "partition=",
            "partition=3",
            "partition=-1",
            "partition=+1",
            "partition=1e0",
            "partition=１",
            "partition=%EF%BC%91",
            "partition=0.evil.example/x?",
            "partition=x@10.0.0.5:8080/latest?z=",
            "partition=1&partition=2",
            "partition=1&money=-1",
            "partition=1&money=1000001",
            "partition=1&money=1.5",
            "partition=1&money=",
            "partition=1&user_id=",
            "partition=1&user_id=x",
            "partition=1&user_id=12345678901234567890",
            "partition=%00",
            "partition=1&mony=7",
            "\u{0}",
        ] {
            let problem = form(body).expect_err(body);
            assert_eq!(problem.status(), StatusCode::BAD_REQUEST, "{body}");
            assert!(problem.detail().starts_with("expected ") && problem.detail().ends_with(": nothing was written"));
        }
    }

    #[test]
    fn hostile_json_is_told_what_was_expected() {
        for body in [
            "",
            "null",
            "1",
            "[]",
            "{",
            "{}",
            r#"{"partition":null}"#,
            r#"{"partition":"1"}"#,
            r#"{"partition":1.0}"#,
            r#"{"partition":1e0}"#,
            r#"{"partition":3}"#,
            r#"{"partition":-1}"#,
            r#"{"partition":1}x"#,
            r#"{"partition":1,"partition":1}"#,
            r#"{"partition":1,"user_id":1}"#,
            r#"{"partition":1,"money":"1"}"#,
            r#"{"partition":99999999999999999999}"#,
            r#"[1,81,"42"]"#,
            "{\"partition\":1,\"x\":\"\u{fffd}\"}",
        ] {
            let problem = json(body).expect_err(body);
            assert_eq!(problem.status(), StatusCode::BAD_REQUEST, "{body}");
        }
    }

    #[test]
    fn an_unknown_field_is_named_and_no_refusal_speaks_of_rust() {
        let details = [
            form("partition=1&mony=7").expect_err("unknown"),
            json(r#"{"partition":1,"mony":7}"#).expect_err("unknown"),
        ];
        for problem in details {
            assert!(
                problem.detail().contains("unknown field `mony`"),
                "{}",
                problem.detail()
            );
        }
        let detail = json(r#"[1,81,"42"]"#).expect_err("an array").detail().to_owned();
        assert_eq!(
            detail,
            r#"expected a JSON object like {"partition":1}: it is no object: nothing was written"#
        );
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_refused() {
        let body = b"{\"partition\":1,\"user_id\":\"\xff\"}";
        assert!(OrderRequest::parse(Form::Json, body, Replicas::THREE).is_err());
        assert!(form("partition=1&user_id=%ff").is_err());
    }

    #[test]
    fn two_content_types_are_known() {
        let form = |content_type| Form::from_content_type(content_type).map_err(|problem| problem.status());
        assert_eq!(
            form(Some("application/x-www-form-urlencoded; charset=utf-8")),
            Ok(Form::UrlEncoded)
        );
        assert_eq!(form(Some("Application/JSON")), Ok(Form::Json));
        for unknown in [None, Some(""), Some("text/plain"), Some("application/jsonp")] {
            assert_eq!(form(unknown), Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_only_partitions_come_through(body in prop::collection::vec(any::<u8>(), 0..100)) {
            for form in [Form::UrlEncoded, Form::Json] {
                if let Ok(order_request) = OrderRequest::parse(form, &body, Replicas::THREE) {
                    prop_assert!(order_request.partition.id() < 3);
                }
            }
        }
    }
}
