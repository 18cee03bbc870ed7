//! The figures of statistics before the topics were read, and after.

use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::evidence::Partition;
use crate::ServiceUrl;
use crate::figures::Figures;

/// Timeout of an answer of statistics.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Statistics has this long to count all records of the log as it was when the audit began.
pub(super) const COUNT_TIMEOUT: Duration = Duration::from_secs(10);
const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// The figures of statistics before the topics were read, and after.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    pub(super) before: Option<Figures>,
    /// The last answer within the time that statistics has to count everything.
    pub(super) after: Option<Figures>,
    /// Why there are no figures.
    pub(super) missing: String,
}

impl Shown {
    /// Asks for what is shown after the topics were read; `before` is the answer of before.
    pub(super) fn new(
        url: Option<&ServiceUrl>,
        before: Option<anyhow::Result<Figures>>,
        partitions: &[Partition],
        stop: &CancellationToken,
    ) -> Self {
        let missing = |missing: String| Self {
            missing,
            ..Self::default()
        };
        let (Some(url), Some(before)) = (url, before) else {
            return missing("statistics was not asked".to_owned());
        };
        match before.and_then(|before| Ok((before, follow(url, partitions, stop)?))) {
            Ok((before, after)) => Self {
                before: Some(before),
                after: Some(after),
                missing: String::new(),
            },
            Err(error) => missing(format!(
                "statistics does not answer at {url}: {error:#} (--statistics URL)"
            )),
        }
    }
}

/// Asks statistics once. Blocks its thread.
///
/// # Errors
/// When it does not answer in time, or with something else.
pub(super) fn ask(url: &ServiceUrl) -> anyhow::Result<Figures> {
    Handle::current().block_on(Figures::ask(url, TIMEOUT))
}

/// Asks again and again, until statistics has counted everything that these partitions held when the audit began, or its
/// time is over. Returns the last answer.
fn follow(url: &ServiceUrl, partitions: &[Partition], stop: &CancellationToken) -> anyhow::Result<Figures> {
    let deadline = Instant::now() + COUNT_TIMEOUT;
    loop {
        let figures = ask(url);
        let has_all = |figures: &Figures| partitions.iter().all(|partition| have_reached(figures, partition));
        if figures.as_ref().is_ok_and(has_all) || Instant::now() > deadline || stop.is_cancelled() {
            return figures;
        }
        thread::sleep(ASK_INTERVAL);
    }
}

/// Returns `true` if the figures count all that a partition held when the audit began.
pub(super) fn have_reached(figures: &Figures, partition: &Partition) -> bool {
    let index = usize::from(partition.number);
    let reached = |offsets: &[i64], end: i64| offsets.get(index).is_some_and(|offset| *offset >= end);
    reached(&figures.offsets.order, partition.orders.offsets.end)
        && reached(&figures.offsets.shipment, partition.shipments.offsets.end)
}
