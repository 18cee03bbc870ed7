use std::time::{Duration, Instant};

use kafka::{ConsumeError, Consumer, Event, Fetch, Producer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::{broker, record};

/// Waits for an event, or an error, that is not idleness.
fn next(consumer: &Consumer) -> Result<String, ConsumeError> {
    let begun = Instant::now();
    loop {
        match consumer.poll(Duration::from_millis(100))? {
            Event::Idle => assert!(begun.elapsed() < Duration::from_secs(10), "nothing came"),
            Event::Record(record) => return Ok(format!("record {}", record.offset())),
            Event::End(partition) => return Ok(format!("end of {partition}")),
            Event::Interrupted(error) => return Ok(error.to_string()),
        }
    }
}

/// What a consumer of a topic with one record says, when the broker answers its fetch with an error.
async fn with_fetch_error(error: RDKafkaRespErr) -> (Result<String, ConsumeError>, Result<String, ConsumeError>) {
    let (broker, config) = broker();
    let mut producer = Producer::new(&config, "test", "order").expect("a producer");
    producer
        .send_batch(&[record(b"value")])
        .await
        .remove(0)
        .expect("delivered");
    broker.request_errors(RDKafkaApiKey::Fetch, &[error]);
    let read = move || {
        let consumer = Consumer::new(&config, "test", "test", "order", Fetch::Live).expect("a consumer");
        consumer.assign(0, 0).expect("assigned");
        let first = next(&consumer);
        let second = if first.is_ok() {
            next(&consumer)
        } else {
            Ok(String::new())
        };
        (first, second)
    };
    let outcome = spawn_blocking(read).await.expect("no panic");
    drop(broker);
    outcome
}

#[tokio::test]
async fn damaged_records_are_an_error_because_going_on_would_skip_them() {
    let (first, _) = with_fetch_error(RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_MSG).await;
    let error = first.expect_err("damaged");
    assert!(matches!(error, ConsumeError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("check the broker's disk"), "{error}");
}

#[tokio::test]
async fn a_position_that_is_gone_is_an_error() {
    let (first, _) = with_fetch_error(RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE).await;
    let error = first.expect_err("lost");
    assert!(matches!(error, ConsumeError::PositionLost { .. }), "{error}");
}

#[tokio::test]
async fn missing_authorization_is_told_with_its_reason_and_reading_goes_on_after_it() {
    let (first, second) = with_fetch_error(RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED).await;
    let reason = first.expect("an interruption");
    assert!(reason.contains("does not allow Read on topic \"order\""), "{reason}");
    assert_eq!(second.expect("a record"), "record 0");
}

#[tokio::test]
async fn a_replay_that_is_asked_to_stop_does_not_read_on() {
    let (_broker, config) = broker();
    let mut producer = Producer::new(&config, "test", "order").expect("a producer");
    producer.send_batch(&[record(b"value"); 3]).await;
    let read = move || {
        let consumer = Consumer::new(&config, "test", "test", "order", Fetch::Bulk).expect("a consumer");
        let (stop, mut visited) = (CancellationToken::new(), 0);
        let outcome = consumer.read_all(0, 0..3, &stop, |_| {
            visited += 1;
            stop.cancel();
        });
        (outcome, visited)
    };
    let (outcome, visited) = spawn_blocking(read).await.expect("no panic");
    assert!(matches!(outcome, Err(ConsumeError::Stopped { .. })), "{outcome:?}");
    assert_eq!(visited, 1);
}

#[tokio::test]
async fn partitions_without_a_leader_and_topics_that_do_not_exist_are_told() {
    let (broker, config) = broker();
    broker.create_topic("three", 3, 1).expect("a topic");
    broker
        .partition_leader("three", 1, None)
        .expect("the leader is taken away");
    let ask = move |topic| {
        let consumer = Consumer::new(&config, "test", "test", topic, Fetch::Live).expect("a consumer");
        let leaders = consumer.leaders().expect("an answer");
        (leaders, consumer.cluster_id())
    };
    let (leaders, missing) = spawn_blocking(move || (ask("three"), ask("missing")))
        .await
        .expect("no panic");
    assert_eq!(leaders.0, [Some(1), None, Some(1)]);
    assert_eq!(missing.0, []);
    assert!(leaders.1.is_some() && leaders.1 == missing.1, "{leaders:?} {missing:?}");
}

/// librdkafka can abort the process here: <https://github.com/confluentinc/librdkafka/issues/5573>.
#[tokio::test]
async fn an_assignment_that_is_replaced_at_once_again_and_again_does_not_end_the_process() {
    let (_broker, config) = broker();
    let mut producer = Producer::new(&config, "test", "order").expect("a producer");
    producer.send_batch(&[record(b"value")]).await;
    let read = move || {
        let consumer = Consumer::new(&config, "test", "test", "order", Fetch::Live).expect("a consumer");
        for _ in 0..200 {
            consumer.assign(0, 0).expect("assigned");
            while !matches!(consumer.poll(Duration::from_millis(100)), Ok(Event::Record(_))) {}
            for _ in 0..20 {
                consumer.assign(0, 0).expect("assigned again");
            }
        }
    };
    spawn_blocking(read).await.expect("no panic");
}
