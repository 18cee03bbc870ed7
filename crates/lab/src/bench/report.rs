//! What a benchmark has found.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::senders::{Path, Sent};
use crate::terminal::{columns, table, thousands};

/// What a benchmark has found, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) measurements: Vec<Measurement>,
    /// Memory of each service at the end, in MiB.
    pub(super) memory_mib: BTreeMap<String, f64>,
    /// Whether the audit holds. If not, the figures are void.
    pub(super) audit_holds: bool,
}

/// One way for orders, with so many connections.
#[derive(Debug, Serialize)]
pub(super) struct Measurement {
    pub(super) path: Path,
    pub(super) connections: usize,
    pub(super) orders_per_second: f64,
    /// The share of what the bare producer reaches with as many.
    pub(super) ratio: f64,
    pub(super) p50_millis: f64,
    pub(super) p99_millis: f64,
    /// Orders that were not acknowledged.
    pub(super) failed: u64,
    /// Processor time per acknowledged order of each service, in microseconds.
    pub(super) cpu_micros: BTreeMap<String, f64>,
}

impl Measurement {
    pub(super) fn new(
        path: Path,
        connections: usize,
        sent: &Sent,
        bare_rate: f64,
        cpu: &BTreeMap<String, f64>,
    ) -> Self {
        let orders_per_second = rate(sent);
        let acknowledged = sent.acknowledged.max(1) as f64;
        Self {
            path,
            connections,
            orders_per_second,
            ratio: orders_per_second / bare_rate.max(f64::MIN_POSITIVE),
            p50_millis: sent.latencies.value_at_quantile(0.5) as f64 / 1000.0,
            p99_millis: sent.latencies.value_at_quantile(0.99) as f64 / 1000.0,
            failed: sent.failed,
            cpu_micros: cpu
                .iter()
                .map(|(name, micros)| (name.clone(), micros / acknowledged))
                .collect(),
        }
    }
}

/// Orders a second.
pub(super) fn rate(sent: &Sent) -> f64 {
    sent.acknowledged as f64 / sent.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
}

impl Report {
    /// Tables and bars.
    pub(super) fn render(&self) -> String {
        let mut text = self.rates();
        text.push('\n');
        text.push_str(&self.bars());
        text.push('\n');
        text.push_str(&self.processors());
        if !self.memory_mib.is_empty() {
            let memory = self.memory_mib.iter().map(|(name, mib)| format!("{name} {mib:.0}"));
            let _ = writeln!(
                text,
                "\n memory at the end, MiB: {}",
                memory.collect::<Vec<_>>().join(", ")
            );
        }
        text
    }

    fn rates(&self) -> String {
        let header = [
            "connections",
            "way",
            "of bare",
            "orders/s",
            "p50 ms",
            "p99 ms",
            "not taken",
        ];
        let rows = self.measurements.iter().map(|found| {
            vec![
                found.connections.to_string(),
                found.path.name().to_owned(),
                format!("{:.0} %", found.ratio * 100.0),
                thousands(found.orders_per_second.round() as u64),
                format!("{:.2}", found.p50_millis),
                format!("{:.2}", found.p99_millis),
                thousands(found.failed),
            ]
        });
        table(&header, rows, &[0, 2, 3, 4, 5, 6])
    }

    fn bars(&self) -> String {
        let most = self
            .measurements
            .iter()
            .map(|found| found.orders_per_second)
            .fold(1.0, f64::max);
        let width = f64::from(columns().saturating_sub(34).clamp(10, 60));
        let mut text = String::new();
        for found in &self.measurements {
            let bar = "█".repeat((found.orders_per_second / most * width).ceil() as usize);
            let _ = writeln!(
                text,
                " {:>3} {:<14} {bar} {}",
                found.connections,
                found.path.name(),
                thousands(found.orders_per_second.round() as u64)
            );
        }
        text
    }

    /// Processor time per order, a column a service.
    fn processors(&self) -> String {
        let mut services: Vec<&str> = Vec::new();
        for name in self.measurements.iter().flat_map(|found| found.cpu_micros.keys()) {
            if !services.contains(&name.as_str()) {
                services.push(name);
            }
        }
        let header: Vec<&str> = ["µs of CPU/order", "way"].iter().chain(&services).copied().collect();
        let rows = self.measurements.iter().map(|found| {
            let cpu = |name: &&str| {
                found
                    .cpu_micros
                    .get(*name)
                    .map_or_else(String::new, |micros| format!("{micros:.0}"))
            };
            let first = [found.connections.to_string(), found.path.name().to_owned()];
            first.into_iter().chain(services.iter().map(cpu)).collect()
        });
        let numbers: Vec<usize> = (0..header.len()).filter(|index| *index != 1).collect();
        table(&header, rows, &numbers)
    }
}
