//! What an operator may do to the topics of a real broker, on purpose or by mistake.

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
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
