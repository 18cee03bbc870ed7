//! Whether a mall has kept what it promises: reads topics `order` and `shipment`, asks statistics, and compares all that
//! with what the ledgers say that clients were told.
//!
//! * `invariant`: what must be true.
//! * `reading` reads the topics, a partition after the other; `partition` checks one while it is read, with `seen` for
//!   ids that come again; `promises` knows the ledgers, `figures` what statistics shows.
//! * `findings` gathers what is wrong, `report` tells it.
//!
//! The checks are functions of records; only `reading` and `figures` wait for anybody. Memory does not grow with the log.

mod command;
mod figures;
mod findings;
mod invariant;
mod partition;
mod promises;
mod reading;
mod records;
mod report;
mod seen;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use domain::Replicas;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

pub use self::command::{Arguments, command};
use self::figures::Figures;
use self::findings::Findings;
pub use self::findings::{Finding, Offender, Place, Verdict};
pub use self::invariant::Invariant;
use self::invariant::Invariant::{I1, I2, I3, I5, I6, I8, I10, I11};
pub use self::promises::Orderings;
use self::promises::{Left, Promises};
use self::reading::Topics;
pub use self::report::{PartitionSummary, Report};
use crate::ServiceUrl;

/// How often it is told how much has been read.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// Statistics has this long to count what was in the log when the audit began.
const STATISTICS_PATIENCE: Duration = Duration::from_secs(10);
/// Between questions to statistics.
const PAUSE: Duration = Duration::from_millis(100);

/// What is to be audited.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the topics are.
    pub kafka: kafka::Config,
    /// How many regions there are.
    pub replicas: Replicas,
    /// Where statistics listens; `None`: its figures are not compared.
    pub statistics: Option<ServiceUrl>,
    /// What clients were told. The runs must have ended: what is sent meanwhile would seem to come from nobody.
    pub ledgers: Vec<PathBuf>,
}

/// How far an audit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Records that were read.
    pub read: u64,
    /// Records that there are, as far as is known.
    pub records: u64,
}

/// Audits a mall, which may be at work. Orders that are waiting for their outcome have ten seconds to get it.
///
/// `progress` is told now and then how far it is.
///
/// # Errors
/// When a ledger or the topics cannot be read, or `stop` is cancelled. A promise that was not kept is no error: see
/// [`Report::holds`].
pub async fn run(
    options: &Options,
    stop: &CancellationToken,
    progress: impl Fn(Progress) + Send + 'static,
) -> anyhow::Result<Report> {
    let counters = Arc::new(Counters::default());
    // Also ends the threads when this future is dropped.
    let stop = stop.child_token();
    let _guard = stop.clone().drop_guard();
    let audit = Audit {
        options: options.clone(),
        stop: stop.clone(),
        counters: Arc::clone(&counters),
    };
    let mut audit = spawn_blocking(move || audit.run());
    let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
    loop {
        tokio::select! {
            ended = &mut audit => return ended.context("the audit has failed")?,
            // What waits for the broker ends by itself, some seconds later.
            () = stop.cancelled() => bail!("asked to stop"),
            _ = ticks.tick() => progress(counters.progress()),
        }
    }
}

/// What is counted while an audit runs.
#[derive(Debug, Default)]
struct Counters {
    read: AtomicU64,
    records: AtomicU64,
}

impl Counters {
    fn progress(&self) -> Progress {
        Progress {
            read: self.read.load(Ordering::Relaxed),
            records: self.records.load(Ordering::Relaxed),
        }
    }
}

/// An audit at work. Blocks its thread.
struct Audit {
    options: Options,
    stop: CancellationToken,
    counters: Arc<Counters>,
}

impl Audit {
    fn run(self) -> anyhow::Result<Report> {
        let mut findings = Findings::default();
        let mut promises = self.read_ledgers()?;
        let figures = self.ask_statistics(&mut findings);
        let Counters { read, records } = &*self.counters;
        let topics = Topics::open(
            &self.options.kafka,
            self.options.replicas,
            &self.stop,
            read,
            &mut findings,
        )?;
        records.store(topics.records(), Ordering::Relaxed);

        let begun = Instant::now();
        let (mut partitions, mut left) = (Vec::new(), Vec::new());
        for bounds in topics.bounds.clone() {
            let summary = topics.check(bounds, figures.as_ref(), promises.as_mut(), &mut findings)?;
            partitions.push(PartitionSummary::new(bounds, &summary));
            left.push(Left {
                low: bounds.order.low,
                first_id: summary.first_id,
            });
        }
        let seconds = begun.elapsed().as_secs_f64();
        if let Some(figures) = &figures {
            self.follow_statistics(figures, &partitions, &mut findings)?;
        }
        let orderings = promises.map(|promises| promises.conclude(&left, &mut findings));
        if orderings.is_none() {
            without_ledger(&mut findings);
        }
        let read = read.load(Ordering::Relaxed);
        Ok(Report::new(partitions, read, seconds, orderings, findings.into_list()))
    }

    fn read_ledgers(&self) -> anyhow::Result<Option<Promises>> {
        if self.options.ledgers.is_empty() {
            return Ok(None);
        }
        let mut promises = Promises::default();
        for path in &self.options.ledgers {
            promises.read(path, &self.stop)?;
        }
        Ok(Some(promises))
    }

    fn ask_statistics(&self, findings: &mut Findings) -> Option<Figures> {
        let Some(url) = &self.options.statistics else {
            findings.not_checked(I8, "statistics was not asked");
            return None;
        };
        match Figures::ask(url) {
            Ok(figures) => Some(figures),
            Err(error) => {
                findings.not_checked(
                    I8,
                    format!("statistics does not answer at {url}: {error:#} (--statistics URL)"),
                );
                None
            }
        }
    }

    /// Statistics counts on: what was in the log when the audit began must be in its figures soon.
    fn follow_statistics(
        &self,
        earlier: &Figures,
        partitions: &[PartitionSummary],
        findings: &mut Findings,
    ) -> anyhow::Result<()> {
        let Some(url) = &self.options.statistics else {
            return Ok(());
        };
        let deadline = Instant::now() + STATISTICS_PATIENCE;
        loop {
            if self.stop.is_cancelled() {
                bail!("asked to stop");
            }
            let later = Figures::ask(url);
            let is_late = Instant::now() > deadline;
            let behind = |later: &Figures| {
                let mut partitions = partitions.iter();
                let behind = partitions.find(|of| !later.have_reached(of.partition, of.order.end, of.shipment.end));
                behind.map(|of| (of.partition, of.order.end, of.shipment.end))
            };
            match later.map(|later| (behind(&later), later)) {
                Ok((None, later)) => {
                    later.check_totals(earlier, findings);
                    return Ok(());
                }
                Ok((Some((partition, order, shipment)), _)) if is_late => {
                    findings.offence(I8, Place::partition("order", partition), || {
                        format!(
                            "statistics has not counted up to offset {order} of topic order and {shipment} of topic \
                             shipment within 10 s: is it the statistics of this mall (--statistics URL)?"
                        )
                    });
                    return Ok(());
                }
                Err(error) if is_late => {
                    findings.not_checked(I8, format!("statistics no longer answers at {url}: {error:#}"));
                    return Ok(());
                }
                Ok(_) | Err(_) => thread::sleep(PAUSE),
            }
        }
    }
}

/// Logs do not show what clients were told.
fn without_ledger(findings: &mut Findings) {
    for invariant in [I1, I2, I3, I11] {
        findings.not_checked(invariant, "needs to know what clients were told: --ledger FILE");
    }
    for (invariant, checked) in [(I5, "outcomes"), (I6, "records"), (I10, "outcomes")] {
        findings.remark(
            invariant,
            format!("{checked} only: without a ledger nobody knows what clients were told"),
        );
    }
}
