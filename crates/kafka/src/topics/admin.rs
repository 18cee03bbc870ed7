//! The clients behind [`super::ensure`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _};

use super::expectations::{Found, Partition};
use super::{Config, Topic, TopicsError};
use crate::Forbidden;
use crate::authorization::refuses_topic;
use crate::closing::BoundedClose;
use crate::connection::Connection;

const METADATA_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(200);
/// How often the errors of connections are polled for while a question is on its way.
const ERROR_POLL: Duration = Duration::from_millis(20);
/// A refusal counts when no other broker has answered after this time.
const OTHER_BROKERS: Duration = Duration::from_millis(500);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(15);

/// Asks and changes the cluster, until the time is over.
pub(super) struct Admin<'a> {
    /// Asks for metadata. Not the admin client: that cannot be polled, so that the errors of its connections stay in its
    /// queue.
    metadata_client: Arc<BoundedClose<BaseProducer<Connection>>>,
    admin_client: BoundedClose<AdminClient<DefaultClientContext>>,
    connection: Connection,
    deadline: Instant,
    kafka: &'a crate::Config,
    config: &'a Config,
    /// What is waited for, as was said last.
    said: Mutex<String>,
}

impl<'a> Admin<'a> {
    /// Connects in the background; the time begins to run.
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
            said: Mutex::default(),
        })
    }

    fn options() -> AdminOptions {
        AdminOptions::new()
            .request_timeout(Some(OPERATION_TIMEOUT))
            .operation_timeout(Some(OPERATION_TIMEOUT))
    }

    /// The topic as it is; `None` when there is none. Asks until the cluster answers, or the time is over.
    pub(super) async fn find(&self, name: &str) -> Result<Option<Found>, TopicsError> {
        loop {
            let reason = match self.metadata(name).await? {
                Ok(found) => return Ok(found),
                Err(error) => self.connection.reason(&error),
            };
            if self.is_late() {
                return Err(TopicsError::OutOfReach {
                    servers: self.kafka.bootstrap_servers.clone(),
                    waited: self.config.wait,
                    reason,
                });
            }
            self.wait(&reason).await;
        }
    }

    /// Waits until this many partitions of a topic have a leader.
    pub(super) async fn wait_for_leaders(&self, name: &str, partitions: usize) -> Result<(), TopicsError> {
        loop {
            let found = self.find(name).await?.unwrap_or_default();
            let led = |number: &i32| found.partitions.get(number).is_some_and(|found| found.has_leader);
            let Some(partition) = (0..).take(partitions).find(|number| !led(number)) else {
                return Ok(());
            };
            if self.is_late() {
                return Err(TopicsError::NoLeader {
                    topic: name.to_owned(),
                    partition,
                    waited: self.config.wait,
                });
            }
            self.wait(&format!("topic {name}: partition {partition} has no leader"))
                .await;
        }
    }

    fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Asks once. An error of the inner kind may pass.
    async fn metadata(&self, name: &str) -> Result<Result<Option<Found>, String>, TopicsError> {
        let (client, topic) = (Arc::clone(&self.metadata_client), name.to_owned());
        let mut asked = tokio::task::spawn_blocking(move || metadata(&client, &topic));
        let (mut events, mut refused) = (tokio::time::interval(ERROR_POLL), None);
        let answer = loop {
            tokio::select! {
                answer = &mut asked => break answer,
                _ = events.tick() => {
                    self.metadata_client.poll(Duration::ZERO);
                    let refusal = self.connection.refusal();
                    if refusal.is_some() && refused.get_or_insert_with(Instant::now).elapsed() > OTHER_BROKERS {
                        break Ok(Err(KafkaError::MetadataFetch(RDKafkaErrorCode::Authentication)));
                    }
                }
            }
        };
        match answer {
            Ok(Ok(found)) => Ok(Ok(found)),
            Ok(Err(error)) if refuses_topic(&error) => Err(Forbidden::topic("Describe", name).into()),
            Ok(Err(error)) => match self.connection.refusal() {
                Some(reason) => Err(TopicsError::ConnectionRefused {
                    servers: self.kafka.bootstrap_servers.clone(),
                    reason,
                }),
                None => Ok(Err(error.to_string())),
            },
            Err(panicked) => Ok(Err(panicked.to_string())),
        }
    }

    pub(super) async fn create(&self, name: &str, topic: &Topic) -> Result<(), TopicsError> {
        let refused = |source| refusal("create", "Create", name, source);
        let min_insync_replicas = self.config.min_insync_replicas.to_string();
        let new = NewTopic::new(
            name,
            count(topic.partitions),
            TopicReplication::Fixed(self.config.replication_factor),
        )
        .set("cleanup.policy", topic.cleanup.policy())
        .set("retention.ms", "-1")
        .set("retention.bytes", "-1")
        .set("unclean.leader.election.enable", "false")
        .set("min.insync.replicas", &min_insync_replicas);
        loop {
            let answer = self.admin_client.create_topics([&new], &Self::options()).await;
            let created = answer.and_then(|mut created| match created.pop() {
                Some(Err((_, code))) => Err(KafkaError::AdminOp(code)),
                Some(Ok(_)) | None => Ok(()),
            });
            let Err(error) = created else { return Ok(()) };
            match &error {
                // Another process created it meanwhile, which is just as good; or it is still being deleted.
                KafkaError::AdminOp(RDKafkaErrorCode::TopicAlreadyExists) => {
                    if self.find(name).await?.is_some() || self.is_late() {
                        return Ok(());
                    }
                    self.wait(&format!("topic {name} is still being deleted")).await;
                }
                // Not enough brokers have come up yet for so many copies.
                KafkaError::AdminOp(RDKafkaErrorCode::InvalidReplicationFactor) if !self.is_late() => {
                    let reason = format!("fewer than {} brokers are up", self.config.replication_factor);
                    self.wait(&reason).await;
                }
                _ => self.wait_if_passing(error).await.map_err(refused)?,
            }
        }
    }

    /// Waits a little after an error that may pass.
    ///
    /// # Errors
    /// The error, when it does not pass, or has not passed in time.
    async fn wait_if_passing(&self, error: KafkaError) -> Result<(), KafkaError> {
        let reason = match error {
            KafkaError::AdminOp(RDKafkaErrorCode::NotController) => "the cluster elects a controller",
            // Its disk, or that of ZooKeeper, may be busy. What is done all the same is found to exist the next time.
            KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::RequestTimedOut) => {
                "the broker is slow to answer"
            }
            // What Kafka answers until it has a new session with ZooKeeper, after it was paused or cut off.
            KafkaError::AdminOp(RDKafkaErrorCode::Unknown) => "the broker has an error of its own: its log says which",
            _ => return Err(error),
        };
        if self.is_late() {
            return Err(error);
        }
        self.wait(reason).await;
        Ok(())
    }

    /// Waits a little, and tells what for, when it is something else than before.
    async fn wait(&self, reason: &str) {
        if *self.said.lock() != reason {
            reason.clone_into(&mut self.said.lock());
            tracing::warn!(reason, seconds = self.config.wait.as_secs(), "waiting");
        }
        tokio::time::sleep(PAUSE).await;
    }

    /// The settings of a topic; none when the authorizer does not allow to ask for them.
    pub(super) async fn settings(&self, name: &str) -> Result<BTreeMap<String, String>, TopicsError> {
        let refused = |source| refusal("describe", "DescribeConfigs", name, source);
        let described = self
            .admin_client
            .describe_configs([&ResourceSpecifier::Topic(name)], &Self::options())
            .await
            .map_err(refused)?
            .pop();
        let entries = match described {
            Some(Ok(described)) => described.entries,
            Some(Err(code)) => return Err(refused(KafkaError::AdminOp(code))),
            None => Vec::new(),
        };
        let setting = |entry: rdkafka::admin::ConfigEntry| Some((entry.name, entry.value?));
        Ok(entries.into_iter().filter_map(setting).collect())
    }

    pub(super) async fn grow(&self, name: &str, partitions: usize) -> Result<(), TopicsError> {
        let refused = |source| refusal("grow", "Alter", name, source);
        let grown = NewPartitions::new(name, partitions);
        loop {
            let answer = self.admin_client.create_partitions([&grown], &Self::options()).await;
            let error = match answer.map(|mut grown| grown.pop()) {
                Ok(Some(Err((_, code)))) => KafkaError::AdminOp(code),
                Ok(Some(Ok(_)) | None) => return Ok(()),
                Err(error) => error,
            };
            self.wait_if_passing(error).await.map_err(refused)?;
            // What has failed may have been done all the same, and cannot be done twice.
            let found = self.find(name).await?;
            if found.is_some_and(|found| found.partitions.len() >= partitions) {
                return Ok(());
            }
        }
    }
}

/// What the broker has refused, and which operation the authorizer would have to allow.
fn refusal(action: &'static str, operation: &'static str, topic: &str, source: KafkaError) -> TopicsError {
    if refuses_topic(&source) {
        return Forbidden::topic(operation, topic).into();
    }
    let topic = topic.to_owned();
    TopicsError::Refused { action, topic, source }
}

fn count(partitions: usize) -> i32 {
    i32::try_from(partitions).unwrap_or(i32::MAX)
}

/// Asks for a topic by its name: among all topics the broker does not show those that may not be described.
fn metadata(client: &BaseProducer<Connection>, topic: &str) -> Result<Option<Found>, KafkaError> {
    let metadata = client.client().fetch_metadata(Some(topic), METADATA_TIMEOUT)?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Ok(None);
    };
    match found.error().map(RDKafkaErrorCode::from) {
        None => {}
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => return Ok(None),
        Some(code) => return Err(KafkaError::MetadataFetch(code)),
    }
    let partition = |partition: &rdkafka::metadata::MetadataPartition| Partition {
        has_leader: partition.leader() >= 0,
        replicas: partition.replicas().to_vec(),
    };
    let partitions = found.partitions().iter().map(|found| (found.id(), partition(found)));
    Ok(Some(Found {
        partitions: partitions.collect(),
        brokers: metadata
            .brokers()
            .iter()
            .map(rdkafka::metadata::MetadataBroker::id)
            .collect(),
    }))
}
