//! The result of a load.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{End, Figures, Plan};
use crate::terminal::{columns, table, thousands};

/// A load that has begun less than this share of what was due in its time says nothing about latency: what it measures
/// is its own queue.
const KEPT: f64 = 0.99;
/// The first bar of the histogram, in microseconds.
const FIRST_BAR: u64 = 128;
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// The result of a load, as `--json` prints it.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Orders a second that were to be sent.
    pub rate: f64,
    /// Orders a second that were sent.
    pub achieved_rate: f64,
    /// `true` if it kept the rate. If not, there are no latencies.
    pub kept_rate: bool,
    /// The duration of the sending, in seconds.
    pub seconds: f64,
    /// Each region.
    pub regions: Vec<Line>,
    /// All of them.
    pub total: Line,
    #[serde(skip)]
    latencies: Histogram<u64>,
}

/// The figures of a region.
#[derive(Debug, Serialize)]
pub struct Line {
    /// Its name; `total` for all of them.
    pub region: String,
    /// Orders that were begun.
    pub sent: u64,
    /// Orders that are in the log.
    pub acknowledged: u64,
    /// Orders that are not.
    pub refused: u64,
    /// Orders that may be.
    pub unknown: u64,
    /// From due to acknowledged; none when the rate was not kept, or nothing was acknowledged.
    pub latency_millis: Option<Latency>,
}

/// Latencies in milliseconds.
#[derive(Debug, Serialize)]
pub struct Latency {
    /// Half are below.
    pub p50: f64,
    /// Nine of ten are below.
    pub p90: f64,
    /// 99 of 100 are below.
    pub p99: f64,
    /// 999 of 1,000 are below.
    #[serde(rename = "p99.9")]
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl Line {
    fn new(region: String, figures: &Figures, kept_rate: bool) -> Self {
        let millis = |micros: u64| micros as f64 / 1000.0;
        let latencies = &figures.latencies;
        let [p50, p90, p99, p999] = QUANTILES.map(|(_, share)| millis(latencies.value_at_quantile(share)));
        let max = millis(latencies.max());
        Self {
            region,
            sent: figures.sent,
            acknowledged: figures.acknowledged,
            refused: figures.refused,
            unknown: figures.unknown,
            latency_millis: (kept_rate && !latencies.is_empty()).then_some(Latency {
                p50,
                p90,
                p99,
                p999,
                max,
            }),
        }
    }

    fn cells(&self) -> Vec<String> {
        let counts = [self.sent, self.acknowledged, self.refused, self.unknown].map(thousands);
        let latency = self.latency_millis.as_ref();
        let millis = latency.map(|latency| [latency.p50, latency.p90, latency.p99, latency.p999, latency.max]);
        let millis = millis.map_or([const { String::new() }; 5], |millis| {
            millis.map(|millis| format!("{millis:.1}"))
        });
        [self.region.clone()].into_iter().chain(counts).chain(millis).collect()
    }
}

impl Summary {
    pub(super) fn new(plan: &Plan, regions: Vec<Figures>, end: &End) -> Self {
        let mut all = Figures::new(plan.partitions[0]);
        regions.iter().for_each(|region| all.add(region));
        let kept_rate = end.in_time as f64 >= end.due as f64 * KEPT;
        let seconds = end.elapsed.as_secs_f64();
        Self {
            rate: plan.rate,
            achieved_rate: all.sent as f64 / seconds,
            kept_rate,
            seconds,
            regions: regions
                .iter()
                .map(|figures| Line::new(figures.region().to_string(), figures, kept_rate))
                .collect(),
            total: Line::new("total".to_owned(), &all, kept_rate),
            latencies: all.latencies,
        }
    }

    /// A table, and a histogram of the latencies.
    pub fn render(&self) -> String {
        let header = [
            "region", "sent", "200", "refused", "unknown", "p50 ms", "p90", "p99", "p99.9", "max",
        ];
        let rows = self.regions.iter().chain([&self.total]).map(Line::cells);
        let mut text = table(&header, rows, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let achieved = format!(
            "{:.0} of {:.0} orders/s over {:.1} s",
            self.achieved_rate, self.rate, self.seconds
        );
        if self.kept_rate {
            let _ = writeln!(
                text,
                "\n {achieved}. From the time that an order was due until its 200:\n"
            );
            text.push_str(&bars(&self.latencies, usize::from(columns())));
        } else {
            let _ = writeln!(
                text,
                "\n {achieved}: could not keep the rate. Latencies would be those of a queue in this program;\n \
                 a lower --rate, or more --connections, has some."
            );
        }
        text
    }
}

/// A histogram whose bars double in width: ` 0.5 –  1.0 ms  ██████ 1,234`.
fn bars(latencies: &Histogram<u64>, columns: usize) -> String {
    let counts: Vec<(u64, u64)> = latencies
        .iter_log(FIRST_BAR, 2.0)
        .map(|bar| (bar.value_iterated_to() + 1, bar.count_since_last_iteration()))
        .skip_while(|(_, count)| *count == 0)
        .collect();
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let width = columns.saturating_sub(36).clamp(10, 60) as u64;
    let mut text = String::new();
    for (end, count) in counts {
        let millis = |micros: u64| micros as f64 / 1000.0;
        let bar = "█".repeat((count * width).div_ceil(most) as usize);
        let start = if end == FIRST_BAR { 0 } else { end / 2 };
        let _ = writeln!(
            text,
            " {:>9.2} – {:>8.2} ms  {bar} {}",
            millis(start),
            millis(end),
            thousands(count)
        );
    }
    text
}
