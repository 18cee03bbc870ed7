//! What an operator may do to the topics of a real broker, on purpose or by mistake.

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::{PATIENCE, create_topics, eventually};

fn admin(kafka: &kafka::Config) -> AdminClient<DefaultClientContext> {
    ClientConfig::new()
        .set("bootstrap.servers", &kafka.bootstrap_servers)
        .create()
        .expect("a client")
}

/// Deletes a topic of three partitions and creates it again.
pub(crate) async fn recreate(kafka: &kafka::Config, topic: &str) {
    let (admin, topic) = (admin(kafka), kafka.name(topic));
    let deleted = admin
        .delete_topics(&[&topic], &AdminOptions::new())
        .await
        .expect("an answer");
    deleted.into_iter().for_each(|deleted| drop(deleted.expect("deleted")));
    eventually("the topic is gone", async || {
        let metadata = admin.inner().fetch_metadata(None, PATIENCE).expect("an answer");
        !metadata.topics().iter().any(|found| found.name() == topic)
    })
    .await;
    create_topics(kafka, 3).await;
}

/// Removes the records of a partition before an offset, as retention does; all of them without one.
pub(crate) async fn delete_records(kafka: &kafka::Config, topic: &str, partition: u16, before: Option<i64>) {
    let mut offsets = TopicPartitionList::new();
    let offset = before.map_or(Offset::End, Offset::Offset);
    offsets
        .add_partition_offset(&kafka.name(topic), i32::from(partition), offset)
        .expect("an offset");
    let deleted = admin(kafka).delete_records(&offsets, &AdminOptions::new()).await;
    for element in deleted.expect("an answer").elements() {
        element.error().expect("deleted");
    }
}

/// Sets how long a topic keeps its records, in milliseconds; its other settings become the broker's.
pub(crate) async fn limit_retention(kafka: &kafka::Config, topic: &str, milliseconds: &str) {
    let name = kafka.name(topic);
    let limit = AlterConfig::new(ResourceSpecifier::Topic(&name)).set("retention.ms", milliseconds);
    let altered = admin(kafka).alter_configs([&limit], &AdminOptions::new()).await;
    for altered in altered.expect("an answer") {
        altered.expect("altered");
    }
}

/// Commits an offset of topic `order` for group `repository`, as any client can.
pub(crate) async fn commit(kafka: &kafka::Config, partition: u16, offset: i64) {
    let (consumer, mut list) = repository_group(kafka, partition);
    list.set_all_offsets(Offset::Offset(offset)).expect("an offset");
    let commit = move || consumer.commit(&list, CommitMode::Sync);
    tokio::task::spawn_blocking(commit)
        .await
        .expect("no panic")
        .expect("committed");
}

/// The offset of topic `order` that group `repository` has committed.
pub(crate) async fn committed(kafka: &kafka::Config, partition: u16) -> Option<i64> {
    let (consumer, list) = repository_group(kafka, partition);
    let ask = move || consumer.committed_offsets(list, PATIENCE);
    let list = tokio::task::spawn_blocking(ask)
        .await
        .expect("no panic")
        .expect("an answer");
    match list.elements()[0].offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

fn repository_group(kafka: &kafka::Config, partition: u16) -> (BaseConsumer, TopicPartitionList) {
    let consumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.bootstrap_servers)
        .set("group.id", kafka.name("repository"))
        .create()
        .expect("a client");
    let mut list = TopicPartitionList::new();
    list.add_partition(&kafka.name("order"), i32::from(partition));
    (consumer, list)
}
