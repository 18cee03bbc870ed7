use domain::RecordHeaders;
use prometheus_client::registry::Registry;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::*;

type Answer = oneshot::Receiver<Result<Written, Failure>>;

fn batches(capacity: usize) -> Batches {
    let partition: Partition = serde_json::from_str("1").expect("a partition");
    let metrics = Metrics::register(&mut Registry::default(), partition);
    Batches::new("order-1", partition, None, Keys::new(capacity), metrics)
}

/// A submission of which the gateway drew the user; the drawn one is another each time.
fn job(key: Option<&str>, money: i64) -> (Job, Answer) {
    let submission = Submission {
        money: money.try_into().expect("money"),
        partition: None,
        time: 5,
        user_id: domain::UserId::from_number(rand::random()),
    };
    let headers = RecordHeaders {
        idempotency_key: key.map(|key| key.to_owned().try_into().expect("a key")),
        idempotency_drawn: key.map(|_| Drawn {
            money: false,
            user_id: true,
        }),
        traceparent: None,
    };
    let (reply, answer) = oneshot::channel();
    let job = Job {
        submission: BatchedSubmission { headers, submission },
        queued: Instant::now(),
        reply,
    };
    (job, answer)
}

/// Gathers one submission. Returns the batch that is made of it, and its answer.
fn gather(batches: &mut Batches, key: &str, money: i64) -> (Vec<Outgoing>, Answer) {
    let (job, answer) = job(Some(key), money);
    (batches.gather([job]), answer)
}

fn answered(mut answer: Answer) -> Result<Written, Failure> {
    answer.try_recv().expect("an answer")
}

fn error() -> KafkaError {
    KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut)
}

#[test]
fn a_key_that_comes_again_is_answered_with_the_same_receipt_and_nothing_is_written() {
    let mut batches = batches(8);
    let (batch, answer) = gather(&mut batches, "k", 7);
    batches.settle(batch, vec![Ok(Delivery { offset: 3 })]);
    let first = answered(answer).expect("written");
    assert!(!first.replayed);
    let (batch, answer) = gather(&mut batches, "k", 7);
    assert!(batch.is_empty());
    let again = answered(answer).expect("written before");
    assert_eq!((again.receipt, again.replayed), (first.receipt, true));
}

#[test]
fn submissions_with_one_key_in_one_batch_are_one_record_and_all_get_its_receipt() {
    let mut batches = batches(8);
    let (jobs, answers): (Vec<_>, Vec<_>) = (0..100).map(|_| job(Some("k"), 7)).unzip();
    let batch = batches.gather(jobs);
    assert_eq!(batch.len(), 1);
    batches.settle(batch, vec![Ok(Delivery { offset: 3 })]);
    let answers: Vec<Written> = answers
        .into_iter()
        .map(|answer| answered(answer).expect("written"))
        .collect();
    assert!(answers.iter().all(|written| written.receipt == answers[0].receipt));
    assert_eq!(answers.iter().filter(|written| written.replayed).count(), 99);
}

#[test]
fn an_order_of_unknown_outcome_is_written_again_with_its_id_and_content() {
    let mut batches = batches(8);
    let (batch, answer) = gather(&mut batches, "k", 7);
    let (record_key, value) = (batch[0].record_key.clone(), batch[0].value.clone());
    batches.settle(batch, vec![Err(SendError::Unknown(error()))]);
    assert!(matches!(answered(answer), Err(Failure::Unknown { .. })));
    let (batch, answer) = gather(&mut batches, "k", 7);
    assert_eq!((&batch[0].record_key, &batch[0].value), (&record_key, &value));
    batches.settle(batch, vec![Ok(Delivery { offset: 4 })]);
    assert!(!answered(answer).expect("written").replayed);
}

#[test]
fn an_attempt_that_was_not_written_does_not_say_so_of_the_one_before_it() {
    let mut batches = batches(8);
    for (outcome, key_is_free) in [
        (vec![Err(SendError::NotWritten(error()))], true),
        (vec![Err(SendError::Unknown(error()))], false),
        (vec![Err(SendError::NotWritten(error()))], false),
    ] {
        let (batch, answer) = gather(&mut batches, "k", 7);
        batches.settle(batch, outcome);
        let failure = answered(answer).expect_err("not written");
        assert_eq!(matches!(failure, Failure::NotWritten(_)), key_is_free, "{failure:?}");
        assert_eq!(batches.keys.len(), usize::from(!key_is_free));
    }
}

#[test]
fn a_key_that_comes_with_another_request_is_refused() {
    let mut batches = batches(8);
    let (batch, _answer) = gather(&mut batches, "k", 7);
    batches.settle(batch, vec![Ok(Delivery { offset: 3 })]);
    let (batch, answer) = gather(&mut batches, "k", 8);
    assert!(batch.is_empty());
    assert_eq!(answered(answer), Err(Failure::KeyReused));
}

#[test]
fn at_the_bound_another_key_is_refused_and_what_has_none_is_written() {
    let mut batches = batches(1);
    let (batch, _answer) = gather(&mut batches, "k", 7);
    batches.settle(batch, vec![Ok(Delivery { offset: 3 })]);
    let (batch, answer) = gather(&mut batches, "other", 7);
    assert!(batch.is_empty());
    let failure = answered(answer).expect_err("refused");
    let Failure::NotWritten(reason) = failure else {
        panic!("{failure:?}");
    };
    assert!(reason.contains("MALL_ORDER__IDEMPOTENCY_KEYS"), "{reason}");
    let (unkeyed, _answer) = job(None, 7);
    assert_eq!(batches.gather([unkeyed]).len(), 1);
}

#[test]
fn a_key_of_a_gateway_that_does_not_say_what_it_drew_is_only_passed_on() {
    let mut batches = batches(8);
    for _ in 0..2 {
        let (mut job, _answer) = job(Some("k"), 7);
        job.submission.headers.idempotency_drawn = None;
        let batch = batches.gather([job]);
        assert_eq!(batch[0].headers, [("idempotency-key", "k".to_owned())]);
        batches.settle(batch, vec![Ok(Delivery { offset: 3 })]);
    }
    assert_eq!(batches.keys.len(), 0);
}

#[test]
fn a_submission_that_waited_for_too_long_is_refused() {
    let mut batches = batches(8);
    let (mut job, answer) = job(None, 7);
    job.queued -= MAX_WAIT + Duration::from_millis(1);
    assert!(batches.gather([job]).is_empty());
    assert!(matches!(answered(answer), Err(Failure::NotWritten(_))));
}
