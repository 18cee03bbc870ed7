use std::time::{Duration, Instant};

use kafka::{TransactionError, TransactionalProducer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::RDKafkaApiKey;
use rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::{broker, record};

/// The broker puts each commit off, for longer than any test waits.
fn put_off_commits(broker: &MockCluster<'_, DefaultProducerContext>) {
    let later = [RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS; 1000];
    broker.request_errors(RDKafkaApiKey::EndTxn, &later);
}

fn open(config: &kafka::Config, stop: &CancellationToken) -> TransactionalProducer {
    TransactionalProducer::open(config, "test", "test", "shipment", stop, |_| {}).expect("a producer")
}

#[tokio::test]
async fn a_batch_is_committed_and_its_end_is_told() {
    let (_broker, config) = broker();
    let write = move || {
        let producer = open(&config, &CancellationToken::new());
        let ends = [1, 3].map(|size| producer.write(vec![record(b"value"); size]).expect("committed"));
        assert_eq!(ends[0], 1);
        assert!(ends[1] >= 4, "{ends:?}");
    };
    spawn_blocking(write).await.expect("no panic");
}

#[tokio::test]
async fn a_commit_that_does_not_come_to_an_end_does_not_hold_up_a_stop() {
    let (broker, config) = broker();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    put_off_commits(&broker);
    let write = move || {
        let producer = open(&config, &stopped);
        let outcome = producer.write([record(b"value")]);
        (outcome, Instant::now())
    };
    let writing = spawn_blocking(write);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!writing.is_finished(), "the commit is not held up");
    let asked = Instant::now();
    stop.cancel();
    let (outcome, ended) = writing.await.expect("no panic");
    assert!(matches!(outcome, Err(TransactionError::Stopped)), "{outcome:?}");
    assert!(ended - asked < Duration::from_secs(2), "{:?}", ended - asked);
}

#[tokio::test]
async fn a_commit_on_a_broker_that_stays_away_fails_within_a_bound() {
    let (broker, config) = broker();
    put_off_commits(&broker);
    let write = move || {
        let producer = open(&config, &CancellationToken::new());
        let begun = Instant::now();
        (producer.write([record(b"value")]), begun.elapsed())
    };
    let (outcome, took) = spawn_blocking(write).await.expect("no panic");
    assert!(matches!(outcome, Err(TransactionError::Failed(_))), "{outcome:?}");
    assert!(took < kafka::RENEWAL + Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn a_commit_that_is_put_off_for_a_while_is_resumed() {
    let (broker, config) = broker();
    put_off_commits(&broker);
    let write = move || open(&config, &CancellationToken::new()).write([record(b"value")]);
    let writing = spawn_blocking(write);
    // More than one attempt of half a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!writing.is_finished(), "the commit is not put off");
    broker.clear_request_errors(RDKafkaApiKey::EndTxn);
    writing.await.expect("no panic").expect("committed");
}

#[tokio::test]
async fn a_commit_that_took_longer_than_one_request_timeout_has_failed() {
    let (broker, config) = broker();
    put_off_commits(&broker);
    let write = move || open(&config, &CancellationToken::new()).write([record(b"value")]);
    let writing = spawn_blocking(write);
    // The commit succeeds after this, within the ten seconds in which a record may be delivered.
    tokio::time::sleep(Duration::from_secs(6)).await;
    broker.clear_request_errors(RDKafkaApiKey::EndTxn);
    let outcome = writing.await.expect("no panic");
    assert!(matches!(outcome, Err(TransactionError::Failed(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_transaction_of_several_requests_is_committed_as_one() {
    let (_broker, config) = broker();
    let value = [b' '; 1000];
    let write = move || {
        let producer = open(&config, &CancellationToken::new());
        producer.write(vec![record(&value); 100]).expect("committed")
    };
    assert!(spawn_blocking(write).await.expect("no panic") >= 100);
}
