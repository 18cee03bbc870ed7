//! The clients behind [`super::ensure`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigEntry, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication, TopicResult,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataPartition;
use rdkafka::producer::{BaseProducer, Producer as _};

use super::compare::{Partition, Partitions};
use super::{Config, Topic, TopicsError};
use crate::Forbidden;
use crate::authorization::refuses_topic;
use crate::closing::BoundedClose;
use crate::connection::Connection;

const METADATA_TIMEOUT: Duration = Duration::from_secs(3);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(15);
/// Time between two attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// Time to take the errors of connections from the client's queue.
const ERRORS_TIMEOUT: Duration = Duration::from_millis(20);

/// Reads and changes the cluster until the deadline.
pub(super) struct Admin<'a> {
    /// Reads metadata. The admin client cannot be polled: the errors of its connections stay in its queue.
    metadata_client: Arc<BoundedClose<BaseProducer<Connection>>>,
    admin_client: BoundedClose<AdminClient<DefaultClientContext>>,
    connection: Connection,
    deadline: Instant,
    kafka: &'a crate::Config,
    config: &'a Config,
    /// The last reason to wait that was logged.
    logged: Mutex<String>,
}

impl<'a> Admin<'a> {
    /// Connects in the background.
    pub(super) fn connect(kafka: &'a crate::Config, config: &'a Config) -> Result<Self, TopicsError> {
        let connection = Connection::new("topics");
        let metadata_client = kafka.admin().create_with_context(connection.clone());
        let admin_client = kafka.admin().create().map_err(TopicsError::Client)?;
        Ok(Self {
            metadata_client: Arc::new(BoundedClose::new(metadata_client.map_err(TopicsError::Client)?)),
            admin_client: BoundedClose::new(admin_client),
            connection,
            deadline: Instant::now() + config.wait,
            kafka,
            config,
            logged: Mutex::default(),
        })
    }

    /// Returns the partitions of a topic, or `None` if it does not exist. Waits for a broker.
    pub(super) async fn partitions(&self, name: &str) -> Result<Option<Partitions>, TopicsError> {
        loop {
            let (client, topic) = (Arc::clone(&self.metadata_client), name.to_owned());
            let answer = tokio::task::spawn_blocking(move || partitions(&client, &topic)).await;
            let error = match answer {
                Ok(Ok(found)) => return Ok(found),
                Ok(Err(error)) if refuses_topic(&error) => return Err(Forbidden::topic("Describe", name).into()),
                Ok(Err(error)) => error.to_string(),
                Err(panicked) => panicked.to_string(),
            };
            let servers = || self.kafka.bootstrap_servers.clone();
            if let Some(reason) = self.connection.refusal() {
                let servers = servers();
                return Err(TopicsError::ConnectionRefused { servers, reason });
            }
            let reason = self.connection.reason(&error);
            self.wait(&reason).await.map_err(|Late| TopicsError::OutOfReach {
                servers: servers(),
                waited: self.config.wait,
                reason,
            })?;
        }
    }

    /// Waits until this many partitions of a topic have a leader.
    pub(super) async fn wait_for_leaders(&self, name: &str, partitions: usize) -> Result<(), TopicsError> {
        loop {
            let found = self.partitions(name).await?.unwrap_or_default();
            let has_leader = |number: &i32| found.get(number).is_some_and(|partition| partition.has_leader);
            let Some(partition) = (0..).take(partitions).find(|number| !has_leader(number)) else {
                return Ok(());
            };
            let reason = format!("topic {name}: partition {partition} has no leader");
            self.wait(&reason).await.map_err(|Late| TopicsError::NoLeader {
                topic: name.to_owned(),
                partition,
                waited: self.config.wait,
            })?;
        }
    }

    /// Returns the settings of a topic.
    pub(super) async fn settings(&self, name: &str) -> Result<BTreeMap<String, String>, TopicsError> {
        let refused = |source| refused("DescribeConfigs", name, source);
        let topic = ResourceSpecifier::Topic(name);
        let described = self.admin_client.describe_configs([&topic], &options()).await;
        let entries = match described.map_err(refused)?.pop() {
            Some(Ok(described)) => described.entries,
            Some(Err(code)) => return Err(refused(KafkaError::AdminOp(code))),
            None => Vec::new(),
        };
        // Without the right, the answer of some brokers is empty.
        if entries.is_empty() {
            return Err(Forbidden::topic("DescribeConfigs", name).into());
        }
        let setting = |entry: ConfigEntry| Some((entry.name, entry.value?));
        Ok(entries.into_iter().filter_map(setting).collect())
    }

    pub(super) async fn create(&self, name: &str, topic: &Topic) -> Result<(), TopicsError> {
        let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
        let replication = TopicReplication::Fixed(self.config.replication_factor.into());
        let min_insync_replicas = self.config.min_insync_replicas.to_string();
        let new = NewTopic::new(name, partitions, replication)
            .set("cleanup.policy", topic.cleanup.policy())
            .set("retention.ms", "-1")
            .set("retention.bytes", "-1")
            .set("unclean.leader.election.enable", "false")
            .set("min.insync.replicas", &min_insync_replicas);
        let create = async || self.admin_client.create_topics([&new], &options()).await;
        self.retry("Create", name, topic.partitions, create).await
    }

    pub(super) async fn grow(&self, name: &str, partitions: usize) -> Result<(), TopicsError> {
        let new = NewPartitions::new(name, partitions);
        let grow = async || self.admin_client.create_partitions([&new], &options()).await;
        self.retry("Alter", name, partitions, grow).await
    }

    /// Repeats an operation until it succeeds, or the topic has this many partitions: an operation that failed may have
    /// been done all the same, or by another process, and cannot be done twice.
    async fn retry(
        &self,
        operation: &'static str,
        name: &str,
        partitions: usize,
        attempt: impl AsyncFn() -> Result<Vec<TopicResult>, KafkaError>,
    ) -> Result<(), TopicsError> {
        loop {
            let error = match attempt().await.map(|mut results| results.pop()) {
                Ok(None | Some(Ok(_))) => return Ok(()),
                Ok(Some(Err((_, code)))) => KafkaError::AdminOp(code),
                Err(error) => error,
            };
            let found = self.partitions(name).await?;
            if found.is_some_and(|found| found.len() >= partitions) {
                return Ok(());
            }
            let Some(reason) = transient(&error) else {
                return Err(refused(operation, name, error));
            };
            let waited = self.wait(reason).await;
            waited.map_err(|Late| refused(operation, name, error))?;
        }
    }

    /// Waits before the next attempt. Logs the reason when it changes.
    async fn wait(&self, reason: &str) -> Result<(), Late> {
        if Instant::now() >= self.deadline {
            return Err(Late);
        }
        if *self.logged.lock() != reason {
            reason.clone_into(&mut self.logged.lock());
            tracing::warn!(reason, seconds = self.config.wait.as_secs(), "waiting");
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
        Ok(())
    }
}

/// The deadline has passed.
struct Late;

/// The error of an operation, named by the right that it needs.
fn refused(operation: &'static str, topic: &str, source: KafkaError) -> TopicsError {
    if refuses_topic(&source) {
        return Forbidden::topic(operation, topic).into();
    }
    TopicsError::Refused {
        operation,
        topic: topic.to_owned(),
        source,
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(OPERATION_TIMEOUT))
        .operation_timeout(Some(OPERATION_TIMEOUT))
}

/// Says what an error of a starting or slow cluster means; `None` for all other errors.
fn transient(error: &KafkaError) -> Option<&'static str> {
    let KafkaError::AdminOp(code) = error else { return None };
    match code {
        RDKafkaErrorCode::TopicAlreadyExists => Some("the topic is still being deleted"),
        RDKafkaErrorCode::InvalidReplicationFactor => Some("fewer brokers are up than a partition has replicas"),
        RDKafkaErrorCode::NotController => Some("the cluster elects a controller"),
        // The disk of the broker or of ZooKeeper may be busy.
        RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::RequestTimedOut => Some("the broker is slow to answer"),
        // A broker that was paused or cut off answers this until it has a new session with ZooKeeper.
        RDKafkaErrorCode::Unknown => Some("the broker has an internal error: see its log"),
        _ => None,
    }
}

/// Asks for a topic by its name: the list of all topics lacks those that the client may not describe.
fn partitions(client: &BaseProducer<Connection>, topic: &str) -> Result<Option<Partitions>, KafkaError> {
    let metadata = client.client().fetch_metadata(Some(topic), METADATA_TIMEOUT);
    let metadata = metadata.inspect_err(|_| client.poll(ERRORS_TIMEOUT))?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Ok(None);
    };
    match found.error().map(RDKafkaErrorCode::from) {
        None => {}
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => return Ok(None),
        Some(code) => return Err(KafkaError::MetadataFetch(code)),
    }
    let partition = |partition: &MetadataPartition| Partition {
        has_leader: partition.leader() >= 0,
        replicas: partition.replicas().len(),
    };
    let partitions = found.partitions().iter();
    Ok(Some(partitions.map(|found| (found.id(), partition(found))).collect()))
}
