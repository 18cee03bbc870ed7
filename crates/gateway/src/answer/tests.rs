use domain::Replicas;

use super::*;

const RECEIPT: &str = concat!(
    r#"{"money":81,"offset":7,"order_id":"1468136426238382080","partition":1,"region":"关中","#,
    r#""time":1638865975,"user_id":"1468136425655373824"}"#
);
const ID: u64 = 1_468_136_426_238_382_080;

fn answered(orders: usize, status: u16, body: &str) -> Vec<Result<Accepted, Failure>> {
    let partition = Replicas::THREE.parse_partition("1").expect("one of three");
    let status = StatusCode::from_u16(status).expect("a status");
    let body = Bytes::from(body.to_owned());
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    of_batch(partition, orders, Ok(answer))
}

fn failure_of(status: u16, body: &str) -> Failure {
    let [Err(failure), Err(other)] = &answered(2, status, body)[..] else {
        panic!("two failures")
    };
    assert_eq!(failure, other);
    failure.clone()
}

fn problem(status: u16, detail: &str) -> String {
    format!(r#"{{"type":"about:blank","title":"T","status":{status},"detail":"{detail}","order_id":"9"}}"#)
}

fn is_unknown(failure: &Failure) -> bool {
    matches!(failure, Failure::Unknown { order_id: None, .. })
}

#[test]
fn a_receipt_is_passed_on_byte_for_byte_and_each_order_has_its_own() {
    let spaced = RECEIPT.replace(":81", ": 82 ");
    let body = format!(r#"[{{"receipt":{RECEIPT}}},{{"receipt":{spaced}}}]"#);
    let outcomes = answered(2, 200, &body);
    let [Ok(first), Ok(second)] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert_eq!((first.offset, first.order_id.get()), (7, ID));
    assert_eq!(
        (&*first.receipt, &*second.receipt),
        (RECEIPT.as_bytes(), spaced.as_bytes())
    );
}

#[test]
fn what_became_of_one_order_says_nothing_of_the_others() {
    let error = |status: u16| format!(r#"{{"error":{{"status":{status},"detail":"why","order_id":"9"}}}}"#);
    let body = format!(
        r#"[{},{{"receipt":{RECEIPT}}},{},{},{}]"#,
        error(503),
        error(421),
        error(504),
        error(7)
    );
    let outcomes = answered(5, 200, &body);
    assert_eq!(outcomes[0], Err(Failure::NotWritten("why".to_owned())));
    assert!(outcomes[1].is_ok());
    let refused = "order-1 answered 421 Misdirected Request: why".to_owned();
    assert_eq!(outcomes[2], Err(Failure::Misdirected(refused)));
    let Err(Failure::Unknown { order_id, reason }) = &outcomes[3] else {
        panic!("{outcomes:?}")
    };
    assert_eq!((order_id.map(OrderId::get), reason.as_str()), (Some(9), "why"));
    assert!(outcomes[4].as_ref().is_err_and(is_unknown), "{outcomes:?}");
}

#[test]
fn a_receipt_of_another_region_is_unknown_and_names_both() {
    for other in [
        RECEIPT.replace(r#""partition":1"#, r#""partition":2"#),
        RECEIPT.replace("关中", "陕南"),
    ] {
        let outcomes = answered(1, 200, &format!(r#"[{{"receipt":{other}}}]"#));
        let [Err(Failure::Unknown { order_id, reason })] = &outcomes[..] else {
            panic!("{outcomes:?}")
        };
        assert_eq!(order_id.map(OrderId::get), Some(ID));
        assert!(reason.contains("instead of 1 (关中)"), "{reason}");
    }
}

#[test]
fn what_is_no_array_of_two_replies_is_unknown_for_both() {
    let one = format!(r#"{{"receipt":{RECEIPT}}}"#);
    for rubbish in [
        "",
        "[]",
        "null",
        "rubbish",
        RECEIPT,
        &format!("[{one}]"),
        &format!("[{one},{one},{one}]"),
        &format!("[{one},{one}"),
        &format!("[{one},{RECEIPT}]"),
        r#"[{"receipt":{}},{"receipt":null}]"#,
    ] {
        let outcomes = answered(2, 200, rubbish);
        assert_eq!(outcomes.len(), 2);
        assert!(
            outcomes.iter().all(|outcome| outcome.as_ref().is_err_and(is_unknown)),
            "{rubbish}: {outcomes:?}"
        );
    }
}

#[test]
fn every_4xx_means_that_nothing_was_written() {
    for status in [400, 404, 405, 408, 413, 415, 421, 422, 431] {
        let failure = failure_of(status, "");
        let Failure::Misdirected(reason) = &failure else {
            panic!("{status}: {failure:?}")
        };
        assert!(reason.starts_with(&format!("order-1 answered {status}")), "{reason}");
        assert!(reason.ends_with("nothing was written"), "{reason}");
    }
}

#[test]
fn a_503_of_order_n_says_that_nothing_was_written_and_that_of_something_else_says_nothing() {
    assert_eq!(
        failure_of(503, &problem(503, "why")),
        Failure::NotWritten("why".to_owned())
    );
    assert!(is_unknown(&failure_of(503, "upstream reset")));
}

#[test]
fn every_other_answer_is_unknown() {
    for status in [201, 204, 301, 500, 501, 502, 504, 505] {
        assert!(is_unknown(&failure_of(status, "")), "{status}");
    }
}

#[test]
fn without_an_answer_only_what_was_never_sent_is_not_written() {
    let partition = Replicas::THREE.parse_partition("1").expect("one of three");
    let outcomes = of_batch(partition, 2, Err(NoAnswer::NotSent("closed".to_owned())));
    let expected = Failure::NotWritten("order-1: out of reach (closed): nothing was written".to_owned());
    assert_eq!(outcomes, [Err(expected.clone()), Err(expected)]);
    let outcomes = of_batch(partition, 2, Err(NoAnswer::Lost("reset".to_owned())));
    assert_eq!(outcomes.len(), 2);
    assert!(
        outcomes.iter().all(|outcome| outcome.as_ref().is_err_and(is_unknown)),
        "{outcomes:?}"
    );
}
