//! Asks the broker which partitions a topic has, where each of them is to be read from, and where it ends.
//!
//! With a client and a thread of its own: a question about a partition whose leader is away takes seconds, in which the
//! records of the others are counted.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use anyhow::Context as _;
use domain::{LastRecord, Partition, Replicas, Snapshot, Topic};
use kafka::{ConsumeError, Consumer, Watermarks};
use tokio::runtime::Handle;
use tokio::sync::{Notify, SetOnce};
use tokio_util::sync::CancellationToken;

use crate::figures::Figures;
use crate::pending::Pending;
use crate::services::KAFKA;
use crate::start::{self, Check, Start};
use crate::viewers::Viewers;

/// How often the cluster is asked for new partitions, which are counted within 15 s, and for the ends of the others.
const INTERVAL: Duration = Duration::from_secs(10);
/// The same while the counter wants to know the ends.
const ENDS_INTERVAL: Duration = Duration::from_secs(2);
/// The same while the topic does not exist, the broker does not answer, or there are partitions that are not read yet.
const FIRST_INTERVAL: Duration = Duration::from_millis(500);
/// The same while there are viewers, who want to know whether the broker answers; and how long it may then take to.
const PROBE_INTERVAL: Duration = Duration::from_millis(900);
/// How long the leader of a partition may take to say where it begins and ends.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same while partitions of other leaders wait.
const SHORT_PATIENCE: Duration = Duration::from_secs(1);

/// What the broker has said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The partitions of the topic.
    Partitions(Vec<Partition>),
    /// Where this partition is to be read from, and what it holds.
    Start(Partition, Start, Watermarks),
    /// This partition has no leader that answers.
    OutOfReach(Partition),
    /// A partition cannot be started, because a right is missing.
    Forbidden(String),
    /// There is no answer, for this reason.
    Outage(String),
    /// The partitions that are read, by number, and the offset that the next record of each gets.
    Ends(Vec<(i32, i64)>),
}

/// What is known of the start of a partition.
enum Answer {
    /// Where it is to be read from, and what it holds.
    Start(Start, Watermarks),
    /// Its leader does not say.
    OutOfReach,
    /// A right is missing.
    Forbidden(String),
}

/// Asks about one topic. Blocks its thread.
pub(crate) struct Discovery {
    pub(crate) topic: Topic,
    /// The name of this service in its log.
    pub(crate) service: String,
    pub(crate) consumer: Consumer,
    pub(crate) news: Sender<News>,
    pub(crate) shutdown: CancellationToken,
    /// What was counted before this process: the positions in it are proved before they are used.
    pub(crate) snapshot: Arc<SetOnce<Snapshot>>,
    pub(crate) pending: Pending,
    /// Notified by the counter when it wants to know the ends.
    pub(crate) ends_wanted: Arc<Notify>,
    /// Where it is recorded whether the broker answers: one discovery does that for all.
    pub(crate) broker_probe: Option<BrokerProbe>,
}

/// Where it is recorded whether the broker answers.
#[derive(Debug)]
pub(crate) struct BrokerProbe {
    pub(crate) figures: Arc<Figures>,
    pub(crate) viewers: Arc<Viewers>,
}

impl Discovery {
    /// Asks until it is told to stop.
    pub(crate) fn run(mut self) -> anyhow::Result<()> {
        // Asked before the snapshot is there, so that the client is connected by then. Why there is no answer is said by
        // the loop.
        if self.leaders()?.is_some() {
            let _ = self.consumer.wait_for_broker();
        }
        let snapshot = Arc::clone(&self.snapshot);
        let found = self.shutdown.run_until_cancelled(snapshot.wait());
        let Some(snapshot) = Handle::current().block_on(found) else {
            return Ok(());
        };
        while !self.shutdown.is_cancelled() {
            let (leaders, mut started) = (self.leaders()?, false);
            if let Some(leaders) = &leaders {
                started = self.next_start(leaders, snapshot)?;
                if !started {
                    self.tell_ends(leaders);
                }
            } else if self.consumer.needs_renewal() {
                self.consumer.renew().context("could not make another consumer")?;
            }
            let pause = match self.pending.queue.front() {
                Some((_, failed)) if started || !failed => Duration::ZERO,
                None if leaders.is_some() && self.pending.known > 0 => INTERVAL,
                _ => FIRST_INTERVAL,
            };
            Handle::current().block_on(self.pause(pause));
        }
        Ok(())
    }

    /// Waits for the next question: until a stop, or until viewers or the counter want to know.
    async fn pause(&self, pause: Duration) {
        let viewed = async {
            match &self.broker_probe {
                Some(probe) => {
                    if probe.viewers.any() {
                        tokio::time::sleep(PROBE_INTERVAL).await;
                    }
                    probe.viewers.wait().await;
                }
                None => std::future::pending().await,
            }
        };
        let ends_wanted = async {
            tokio::time::sleep(ENDS_INTERVAL).await;
            self.ends_wanted.notified().await;
        };
        tokio::select! {
            () = viewed => {}
            () = ends_wanted => {}
            () = self.shutdown.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// Asks for the partitions. Returns their leaders, if there was an answer.
    fn leaders(&mut self) -> anyhow::Result<Option<Vec<Option<i32>>>> {
        let viewed = self.broker_probe.as_ref().is_some_and(|probe| probe.viewers.any());
        let answer = if viewed {
            self.consumer.leaders_within(PROBE_INTERVAL)
        } else {
            self.consumer.leaders()
        };
        if let Some(probe) = &self.broker_probe {
            let reached = answer.as_ref().map(|_| ()).map_err(|error| self.consumer.outage(error));
            probe.figures.record_readiness(KAFKA, reached);
        }
        match answer {
            Ok(leaders) => {
                let partitions: Vec<Partition> = match leaders.len() {
                    0 => Vec::new(),
                    count => Replicas::try_from(i64::try_from(count)?)
                        .context("too many partitions")?
                        .partitions()
                        .collect(),
                };
                self.pending.found(&partitions);
                self.tell(News::Partitions(partitions));
                Ok(Some(leaders))
            }
            Err(error) => {
                self.tell(News::Outage(self.consumer.outage(&error)));
                Ok(None)
            }
        }
    }

    /// Finds out where one partition is to be read from; those whose leader does not answer are asked again after the
    /// others. Returns whether it was found out.
    fn next_start(&mut self, leaders: &[Option<i32>], snapshot: &Snapshot) -> anyhow::Result<bool> {
        let Some((partition, failed)) = self.pending.queue.pop_front() else {
            return Ok(false);
        };
        let leader = |partition: Partition| leaders.get(partition.index()).copied().flatten();
        let waits = |(other, failed): &(Partition, bool)| {
            let other = leader(*other);
            !*failed && other.is_some() && other != leader(partition)
        };
        let patience = if !failed && self.pending.queue.iter().any(waits) {
            SHORT_PATIENCE
        } else {
            PATIENCE
        };
        let answer = match leader(partition) {
            Some(_) => self.start(partition, patience, snapshot)?,
            None => Answer::OutOfReach,
        };
        match answer {
            Answer::Start(start, bounds) => {
                self.tell(News::Start(partition, start, bounds));
                return Ok(true);
            }
            Answer::Forbidden(reason) => {
                self.pending.queue.push_back((partition, true));
                self.tell(News::Forbidden(reason));
                return Ok(false);
            }
            Answer::OutOfReach => {}
        }
        let same = |other: Partition| leader(other) == leader(partition);
        for partition in self.pending.failed(partition, same) {
            self.tell(News::OutOfReach(partition));
        }
        Ok(false)
    }

    /// Tells the counter where the partitions end that are read and have a leader.
    fn tell_ends(&self, leaders: &[Option<i32>]) {
        let partitions = (0..)
            .zip(leaders)
            .filter(|(id, leader)| leader.is_some() && self.pending.is_started(*id));
        let partitions: Vec<i32> = partitions.map(|(id, _)| id).collect();
        if partitions.is_empty() {
            return;
        }
        // Why there is no answer is said by the question for the partitions.
        if let Ok(ends) = self.consumer.ends(partitions) {
            self.tell(News::Ends(ends));
        }
    }

    /// Where a partition is to be read from.
    ///
    /// # Errors
    /// When its records are damaged.
    fn start(&self, partition: Partition, patience: Duration, snapshot: &Snapshot) -> anyhow::Result<Answer> {
        let bounds = match self.consumer.watermarks_within(partition.id(), patience) {
            Ok(bounds) => bounds,
            Err(error @ ConsumeError::Forbidden(_)) => return Ok(Answer::Forbidden(error.to_string())),
            Err(_) => return Ok(Answer::OutOfReach),
        };
        let start = match start::check(snapshot.position(self.topic, partition), bounds) {
            Ok(Check::Decided(start)) => Ok(start),
            Ok(Check::Compare(expected)) => match self.record_at(partition, expected.offset) {
                Ok(found) => start::compare(expected, found),
                Err(error @ ConsumeError::Damaged { .. }) => return Err(error.into()),
                Err(error @ ConsumeError::Forbidden(_)) => return Ok(Answer::Forbidden(error.to_string())),
                Err(_) => return Ok(Answer::OutOfReach),
            },
            Err(discard) => Err(discard),
        };
        let start = start.unwrap_or_else(|reason| {
            tracing::warn!(
                service = self.service,
                topic = self.topic.name(),
                partition = partition.id(),
                %reason,
                "the snapshot is discarded: counting from the start of the log"
            );
            Start::AtBeginning
        });
        Ok(Answer::Start(start, bounds))
    }

    /// The record at an offset, or the one after it where there is none.
    fn record_at(&self, partition: Partition, offset: i64) -> Result<Option<LastRecord>, ConsumeError> {
        let mut found = None;
        self.consumer
            .read_all(partition.id(), offset..offset + 1, &self.shutdown, |record| {
                found = Some(LastRecord::new(
                    self.topic,
                    record.offset(),
                    record.timestamp(),
                    record.value(),
                ));
            })?;
        Ok(found)
    }

    /// An error means that the counter has ended: then this ends too.
    fn tell(&self, news: News) {
        let _ = self.news.send(news);
    }
}
