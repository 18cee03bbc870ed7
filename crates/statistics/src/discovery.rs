//! Asks the broker which partitions a topic has and where they end.
//!
//! With a client and a thread of its own: a question about a partition without a leader takes five seconds, in which
//! the records of the others are counted.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::time::Duration;

use anyhow::Context as _;
use kafka::Consumer;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// How often the cluster is asked for new partitions: they are counted within 15 s.
const INTERVAL: Duration = Duration::from_secs(10);
/// The same while the topic does not exist, the broker does not answer, or it is not known where a partition ends.
const FIRST_INTERVAL: Duration = Duration::from_millis(500);

/// What the broker has said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The topic has this many partitions.
    Partitions(usize),
    /// This partition ends at this offset.
    End(usize, i64),
    /// This partition has no leader that answers.
    OutOfReach(usize),
    /// There is no answer, for this reason.
    Outage(String),
    /// There has been none for so long that clients are replaced.
    Renewal,
}

/// Asks about one topic. Blocks its thread.
pub(crate) struct Discovery {
    consumer: Consumer,
    news: Sender<News>,
    shutdown: CancellationToken,
    known: usize,
    /// Partitions of which it is not known where they end, and whether that was asked before.
    ends: VecDeque<(usize, bool)>,
}

impl Discovery {
    pub(crate) fn new(consumer: Consumer, news: Sender<News>, shutdown: CancellationToken) -> Self {
        Self {
            consumer,
            news,
            shutdown,
            known: 0,
            ends: VecDeque::new(),
        }
    }

    /// Asks until it is told to stop.
    pub(crate) fn run(mut self) -> anyhow::Result<()> {
        while !self.shutdown.is_cancelled() {
            let answered = self.partitions();
            if answered {
                self.next_end();
            } else if self.consumer.needs_renewal() {
                self.consumer.renew().context("could not make another consumer")?;
                self.tell(News::Renewal);
            }
            let pause = match self.ends.front() {
                Some((_, false)) => Duration::ZERO,
                None if answered && self.known > 0 => INTERVAL,
                _ => FIRST_INTERVAL,
            };
            let stop = tokio::time::timeout(pause, self.shutdown.cancelled());
            // An error means that there was no stop.
            let _ = Handle::current().block_on(stop);
        }
        Ok(())
    }

    /// Asks for the partitions. Returns whether there was an answer.
    fn partitions(&mut self) -> bool {
        match self.consumer.partitions() {
            Ok(count) => {
                self.ends.extend((self.known..count).map(|index| (index, false)));
                self.known = self.known.max(count);
                self.tell(News::Partitions(count));
                true
            }
            Err(error) => {
                self.tell(News::Outage(self.consumer.outage(&error)));
                false
            }
        }
    }

    /// Asks one partition where it ends. One that does not answer is asked again after the others.
    fn next_end(&mut self) {
        let Some((index, _)) = self.ends.pop_front() else {
            return;
        };
        let end = i32::try_from(index)
            .ok()
            .and_then(|id| self.consumer.watermarks(id).ok());
        match end {
            Some(watermarks) => self.tell(News::End(index, watermarks.high)),
            None => {
                self.tell(News::OutOfReach(index));
                self.ends.push_back((index, true));
            }
        }
    }

    /// An error means that the counter has ended: then this ends too.
    fn tell(&self, news: News) {
        let _ = self.news.send(news);
    }
}
