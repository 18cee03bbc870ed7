//! The metrics of statistics: the figures, read at each scrape.

use std::fmt;
use std::sync::Arc;

use domain::Totals;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use crate::figures::Figures;

/// Registers the figures, and returns the number of clients that follow them.
pub(crate) fn register(registry: &mut Registry, figures: Arc<Figures>) -> Gauge {
    registry.register_collector(Box::new(FiguresCollector(figures)));
    let clients = Gauge::default();
    registry.register(
        "statistics_event_clients",
        "Clients that follow /api/events",
        clients.clone(),
    );
    clients
}

/// Gauges, no counters: they say what is in the log, and a restart counts all of it again.
#[derive(Debug)]
struct FiguresCollector(Arc<Figures>);

/// A figure by partition, and by outcome where it has one.
type Figure = (&'static str, fn(&Totals) -> u64);

impl Collector for FiguresCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (regions, offsets) = {
            let statistics = self.0.lock();
            let regions = statistics.regions().iter();
            let regions: Vec<(i32, Totals)> = regions
                .map(|region| (region.partition().id(), region.totals()))
                .collect();
            (regions, statistics.offsets())
        };
        let figures: [(Figure, &str); 3] = [
            (
                ("statistics_orders", |totals| totals.orders),
                "Orders in topic order, duplicates included",
            ),
            (
                ("statistics_order_money", |totals| totals.money),
                "Money of the orders in topic order",
            ),
            (
                ("statistics_waiting_orders", |totals| totals.waiting),
                "Records of topic order without an outcome in topic shipment",
            ),
        ];
        for ((name, figure), help) in figures {
            let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (partition, totals) in &regions {
                let labels = [("partition", *partition)];
                ConstGauge::new(figure(totals)).encode(gauge.encode_family(&labels)?)?;
            }
        }
        let help = "Offset up to which topic order is counted";
        let mut gauge = encoder.encode_descriptor("statistics_order_offset", help, None, MetricType::Gauge)?;
        for ((partition, _), offset) in regions.iter().zip(offsets.order) {
            let labels = [("partition", *partition)];
            ConstGauge::new(offset).encode(gauge.encode_family(&labels)?)?;
        }
        let outcomes: [Figure; 3] = [
            ("shipped", |totals| totals.shipped),
            ("duplicate", |totals| totals.duplicates),
            ("rejected", |totals| totals.rejected),
        ];
        let help = "Records in topic shipment, by outcome";
        let mut gauge = encoder.encode_descriptor("statistics_shipments", help, None, MetricType::Gauge)?;
        for (partition, totals) in &regions {
            for (outcome, figure) in outcomes {
                let labels = [("partition", partition.to_string()), ("outcome", outcome.to_owned())];
                ConstGauge::new(figure(totals)).encode(gauge.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
