//! A broker that answers a repository with errors. On the mock, which can be told to.

use std::time::Duration;

use domain::Replicas;
use mall::embedded::Cluster;
use rdkafka::types::RDKafkaApiKey::{self, EndTxn, Fetch};
use rdkafka::types::RDKafkaRespErr::{
    self, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_INVALID_MSG,
    RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
};

use crate::support::{Child, Client, NewRecord, append, eventually, shipments};

/// The region under test.
const NUMBER: u16 = 1;
/// How long a stop may take by default.
const GRACE_PERIOD: Duration = Duration::from_secs(10);
/// More errors than a client meets in a test.
const MANY: usize = 10_000;

/// A repository that has nothing to do yet, and its broker.
async fn repository() -> (Cluster, Child) {
    let cluster = Cluster::start(Replicas::THREE).expect("a broker");
    let repository = Child::service("repository", &cluster.config(), &[("MALL_ORDINAL", "1")]);
    repository.ready("repository-1").await;
    (cluster, repository)
}

fn answer_with(cluster: &Cluster, request: RDKafkaApiKey, error: RDKafkaRespErr) {
    cluster.mock().request_errors(request, &[error; MANY]);
}

async fn order(cluster: &Cluster) {
    let value = br#"{"money":1,"order_id":"7","time":1,"user_id":"1"}"#;
    let record = NewRecord { key: Some("7"), value };
    append(&cluster.config(), NUMBER, &[record]).await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_commit_that_does_not_come_to_an_end() {
    let (cluster, mut repository) = repository().await;
    answer_with(&cluster, EndTxn, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS);
    order(&cluster).await;
    // The mock does not isolate transactions: the outcome is visible before it is committed.
    eventually("the transaction is under way", async || {
        shipments(&cluster.config(), NUMBER).await.len() == 1
    })
    .await;
    repository.signal("TERM");
    assert_eq!(repository.ended(GRACE_PERIOD).await.code(), Some(0));
}

#[tokio::test]
async fn missing_authorization_is_the_reason_why_a_repository_is_not_ready() {
    let (cluster, repository) = repository().await;
    let address = repository.address_of("repository-1").await;
    answer_with(&cluster, Fetch, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    eventually("it says why it is not ready", async || {
        let reply = Client::new().get(address, "/ready").await;
        !reply.status.is_success() && reply.text.contains("does not allow Read on topic")
    })
    .await;
    cluster.mock().clear_request_errors(Fetch);
    order(&cluster).await;
    repository.ready("repository-1").await;
    assert_eq!(shipments(&cluster.config(), NUMBER).await.len(), 1);
}

#[tokio::test]
async fn damaged_records_end_a_repository_with_the_reason() {
    let (cluster, mut repository) = repository().await;
    answer_with(&cluster, Fetch, RD_KAFKA_RESP_ERR_INVALID_MSG);
    assert_eq!(repository.ended(GRACE_PERIOD).await.code(), Some(1));
    eventually("it says why", async || {
        repository
            .printed()
            .contains("records of topic \\\"order\\\" are damaged")
    })
    .await;
}
