//! The judge: reads topics `order` and `shipment`, asks statistics, and compares all that with what clients were told.
//!
//! * `topics` reads the records and `decode` their values, `attempts` the ledgers, `shown` what statistics shows: into
//!   the compact evidence. It shares no code with what it judges.
//! * `checks` has a file for each invariant: a function from the evidence to a [`Finding`].
//! * `report` draws the verdict.

mod attempts;
mod checks;
mod command;
mod decode;
mod evidence;
mod finding;
mod report;
mod shown;
mod spans;
#[cfg(test)]
mod tests;
mod topics;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail, ensure};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use self::attempts::Ledger;
pub use self::command::{Arguments, command};
use self::evidence::{BYTES_PER_ORDER, Evidence, Partition};
pub use self::finding::{Finding, Invariant, Offender, Place, Verdict};
pub use self::report::{OrderCounts, PartitionSummary, Report};
use self::shown::Shown;
pub use self::topics::Kafka;
use self::topics::Topics;
use crate::ServiceUrl;
use crate::terminal::thousands;

/// Interval of the progress reports.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// The most orders that are read where memory would allow more: some 600 MB.
const MAX_ORDERS: u64 = 5_000_000;

/// The mall to audit.
#[derive(Clone, Debug)]
pub struct Options {
    /// The broker.
    pub kafka: Kafka,
    /// The number of regions.
    pub regions: u16,
    /// The address of statistics. `None`: its figures are not compared.
    pub statistics: Option<ServiceUrl>,
    /// Ledgers with the answers that clients got. The runs must have ended: later orders would seem not to be ordered.
    pub ledgers: Vec<PathBuf>,
}

/// The progress of an audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Records that were read.
    pub read: u64,
    /// Records that there are, as far as is known.
    pub records: u64,
}

/// Audits a mall, which may be at work. Orders without an outcome have ten seconds to get it.
///
/// `progress` is told now and then how far it is.
///
/// # Errors
/// When a ledger or the topics cannot be read or are too large, or `stop` is cancelled. A broken promise is no error: see
/// [`Report::verdict`].
pub async fn run(
    options: &Options,
    stop: &CancellationToken,
    progress: impl Fn(Progress) + Send + 'static,
) -> anyhow::Result<Report> {
    let counters = Arc::new(Counters::default());
    // Also ends the threads when this future is dropped.
    let stop = stop.child_token();
    let _guard = stop.clone().drop_guard();
    let (counted, options, stopped) = (Arc::clone(&counters), options.clone(), stop.clone());
    let mut audit = spawn_blocking(move || audit(&options, &stopped, &counted));
    let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
    loop {
        tokio::select! {
            ended = &mut audit => return ended.context("the audit has failed")?,
            // Threads that wait for the broker end by themselves, some seconds later.
            () = stop.cancelled() => bail!("asked to stop"),
            _ = ticks.tick() => progress(counters.progress()),
        }
    }
}

/// Counters of an audit that runs.
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

fn audit(options: &Options, stop: &CancellationToken, counters: &Counters) -> anyhow::Result<Report> {
    let limit = limit();
    let before = options.statistics.as_ref().map(shown::ask);
    let began = Instant::now();
    let reading = stop.child_token();
    let (partitions, spare, ledger) = thread::scope(|scope| {
        // A ledger that cannot be read ends the reading of the topics.
        let ledger = scope.spawn(|| read_ledgers(options, limit, &reading).inspect_err(|_| reading.cancel()));
        let topics = read_topics(options, limit, &reading, counters);
        let ledger = ledger.join().map_err(|_| anyhow!("reading the ledgers has panicked"))?;
        let ledger = ledger?;
        let (partitions, spare) = topics?;
        anyhow::Ok((partitions, spare, ledger))
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let figures = Shown::new(options.statistics.as_ref(), before, &partitions, stop);
    let mut evidence = Evidence {
        partitions,
        spare,
        ledger,
        figures,
    };
    evidence.link();
    Ok(Report::new(
        &evidence,
        checks::all(&evidence),
        counters.progress().read,
        seconds,
    ))
}

type ReadTopics = (Vec<Partition>, Vec<(u16, std::ops::Range<i64>)>);

fn read_topics(
    options: &Options,
    limit: u64,
    stop: &CancellationToken,
    counters: &Counters,
) -> anyhow::Result<ReadTopics> {
    let topics = Topics::open(&options.kafka, options.regions, stop, &counters.read)?;
    let (orders, shipments) = topics.records();
    let (found, expected) = (thousands(orders), thousands(limit));
    ensure!(
        orders.max(shipments / 2) <= limit,
        "topic order holds {found} records, expected at most {expected}, since each takes {BYTES_PER_ORDER} bytes of memory"
    );
    counters.records.store(orders + shipments, Ordering::Relaxed);
    Ok((topics.read()?, topics.spare))
}

fn read_ledgers(options: &Options, limit: u64, stop: &CancellationToken) -> anyhow::Result<Option<Ledger>> {
    if options.ledgers.is_empty() {
        return Ok(None);
    }
    Ledger::read(options.ledgers.iter().map(PathBuf::as_path), limit, stop).map(Some)
}

/// The most orders that are read: three quarters of the memory that the container has left, at most [`MAX_ORDERS`].
fn limit() -> u64 {
    let bytes = |name: &str| {
        let text = std::fs::read_to_string(format!("/sys/fs/cgroup/memory.{name}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let free = bytes("max").map(|max| max.saturating_sub(bytes("current").unwrap_or(0)));
    free.map_or(MAX_ORDERS, |free| (free / 4 * 3 / BYTES_PER_ORDER).min(MAX_ORDERS))
}
