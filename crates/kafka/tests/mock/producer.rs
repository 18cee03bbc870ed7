use std::time::{Duration, Instant};

use kafka::{Delivery, Producer, SendError};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::{broker, record};

#[tokio::test]
async fn records_of_a_batch_are_delivered_in_their_order() {
    let (_broker, config) = broker();
    let mut producer = Producer::new(&config, "test", "order").expect("a producer");
    let mut next = 0;
    for size in [1, 4, 5, 300] {
        let outcomes = producer.send_batch(&vec![record(b"value"); size]).await;
        for outcome in outcomes {
            assert_eq!(outcome.expect("delivered"), Delivery { offset: next });
            next += 1;
        }
    }
    assert_eq!(next, 310);
    producer.close(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_record_whose_acknowledgement_was_lost_is_unknown_whatever_the_broker_says_later() {
    let (broker, config) = broker();
    let mut producer = Producer::new(&config, "test", "order").expect("a producer");
    producer
        .send_batch(&[record(b"first")])
        .await
        .remove(0)
        .expect("delivered");

    // The broker appends the record, and is gone before its answer arrives.
    broker.broker_round_trip_time(1, Duration::from_secs(1)).expect("slow");
    let disturb = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        broker.broker_down(1).expect("down");
        broker
            .topic_error("order", RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
            .expect("an error");
        broker.request_errors(
            RDKafkaApiKey::Produce,
            &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED],
        );
        broker.broker_round_trip_time(1, Duration::ZERO).expect("fast");
        broker.broker_up(1).expect("up");
    };
    let second = [record(b"second")];
    let (mut outcomes, ()) = tokio::join!(producer.send_batch(&second), disturb);
    let outcome = outcomes.remove(0);
    assert!(matches!(outcome, Err(SendError::Unknown(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_record_that_the_broker_refuses_as_too_large_is_not_written() {
    let (broker, config) = broker();
    let mut producer = Producer::new(&config, "test", "order").expect("a producer");
    broker.request_errors(
        RDKafkaApiKey::Produce,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE],
    );
    let outcome = producer.send_batch(&[record(b"value")]).await.remove(0);
    assert!(matches!(outcome, Err(SendError::NotWritten(_))), "{outcome:?}");
    // The client itself refuses what is larger than any broker takes.
    let huge = vec![0; 2_000_000];
    let outcome = producer.send_batch(&[record(&huge)]).await.remove(0);
    assert!(matches!(outcome, Err(SendError::NotWritten(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_batch_on_a_broker_that_is_down_ends_in_time_and_the_next_one_is_written_when_it_is_back() {
    let (broker, config) = broker();
    let mut producer = Producer::new(&config, "test", "order").expect("a producer");
    producer
        .send_batch(&[record(b"value")])
        .await
        .remove(0)
        .expect("delivered");
    broker.broker_down(1).expect("down");
    let begun = Instant::now();
    for outcome in producer.send_batch(&[record(b"value"); 10]).await {
        assert!(matches!(outcome, Err(SendError::Unknown(_))), "{outcome:?}");
    }
    assert!(begun.elapsed() < Duration::from_millis(5500), "{:?}", begun.elapsed());
    assert!(producer.health().check(0).await.is_err());
    broker.broker_up(1).expect("up");
    producer
        .send_batch(&[record(b"value")])
        .await
        .remove(0)
        .expect("delivered");
}

#[tokio::test]
async fn a_missing_topic_is_an_answer_of_the_broker_and_no_outage() {
    let (_broker, config) = broker();
    let producer = Producer::new(&config, "test", "missing").expect("a producer");
    let reason = producer.health().check(0).await.expect_err("missing");
    assert!(reason.contains("run mall topics"), "{reason}");
    assert!(!producer.health().is_doubtful());
}
