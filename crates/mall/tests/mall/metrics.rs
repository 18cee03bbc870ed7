//! Metrics, by name, and their table in `crates/README.md`.

use std::collections::{BTreeMap, BTreeSet};

use hyper::StatusCode;
use mall::Instance;

use crate::support::{Stage, partition};

/// What is said of one metric.
#[derive(Debug, Default, PartialEq, Eq)]
struct Metric {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
    services: BTreeSet<&'static str>,
}

/// Adds what a service shows to what is known, by the names that queries use.
fn collect(known: &mut BTreeMap<String, Metric>, service: &'static str, text: &str) {
    let mut helps = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            helps.insert(name, help.trim_end_matches('.'));
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            current = name.to_owned();
            let metric = known.entry(current.clone()).or_default();
            let help = helps.get(name).unwrap_or_else(|| panic!("{name} has no help"));
            assert!(
                metric.kind.is_empty() || (metric.kind == kind && metric.help == *help),
                "{name} is two things"
            );
            (metric.kind, metric.help) = (kind.to_owned(), (*help).to_owned());
            metric.services.insert(service);
        } else if !line.starts_with('#') {
            let labels = line.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
            let names = labels.iter().flat_map(|(labels, _)| labels.split("\","));
            let names = names.filter_map(|label| label.split_once('=')).map(|(name, _)| name);
            let metric = known.get_mut(&current).expect("a type before the first sample");
            metric
                .labels
                .extend(names.filter(|name| *name != "le").map(str::to_owned));
        }
    }
}

/// The row of the table.
fn row(name: &str, metric: &Metric) -> String {
    let list = |words: &mut dyn Iterator<Item = &str>| words.collect::<Vec<_>>().join(", ");
    let labels = match metric.labels.len() {
        0 => "–".to_owned(),
        _ => list(&mut metric.labels.iter().map(String::as_str)),
    };
    let services = if metric.services.len() == 4 {
        "all".to_owned()
    } else {
        list(&mut metric.services.iter().copied())
    };
    format!(
        "| `{name}` | {} | {labels} | {services} | {} |",
        metric.kind, metric.help
    )
}

#[tokio::test]
async fn the_table_of_metrics_is_what_the_services_show() {
    let stage = Stage::on_mock(|_| {}).await;
    assert_eq!(stage.client.order(stage.gateway(), 0).await.status, StatusCode::OK);
    stage.settled(1).await;
    let mut metrics = BTreeMap::new();
    for (service, instance) in [
        ("gateway", Instance::Gateway),
        ("order", Instance::Order(partition(0))),
        ("repository", Instance::Repository(partition(0))),
        ("statistics", Instance::Statistics),
    ] {
        let shown = stage.client.get(stage.address(instance), "/metrics").await;
        collect(&mut metrics, service, &shown.text);
    }
    stage.close().await;
    let shown: Vec<String> = metrics.iter().map(|(name, metric)| row(name, metric)).collect();
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = std::fs::read_to_string(readme).expect("crates/README.md");
    let documented: Vec<&str> = readme.lines().filter(|line| line.starts_with("| `mall_")).collect();
    assert!(
        shown == documented,
        "the table in crates/README.md has to be\n{}",
        shown.join("\n")
    );
}

#[tokio::test]
async fn what_alerts_watch_is_there_before_the_first_order() {
    let mut stage = Stage::on_mock(|_| {}).await;
    let (gateway, order) = (stage.gateway(), Instance::Order(partition(1)));
    let has = async |address, line: &str| {
        stage
            .client
            .get(address, "/metrics")
            .await
            .text
            .lines()
            .any(|found| found == line)
    };
    for region in 0..3 {
        for status in [200, 503, 504] {
            let line = format!("mall_gateway_requests_total{{partition=\"{region}\",status=\"{status}\"}} 0");
            assert!(has(gateway, &line).await, "{line}");
        }
        let line = format!("mall_gateway_orders_in_flight{{partition=\"{region}\"}} 0");
        assert!(has(gateway, &line).await, "{line}");
        let line = format!("mall_statistics_order_offset{{partition=\"{region}\"}} 0");
        assert!(has(stage.address(Instance::Statistics), &line).await, "{line}");
    }
    assert!(has(stage.address(order), "mall_ready{service=\"order-1\"} 1").await);
    let started = |text: String| {
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix("mall_start_time_seconds "));
        value.expect("a start time").parse::<f64>().expect("a number")
    };
    let before = started(stage.client.get(stage.address(order), "/metrics").await.text);
    stage.restart(order).await;
    let after = started(stage.client.get(stage.address(order), "/metrics").await.text);
    assert!(after > before, "started at {before}, then at {after}");
    stage.close().await;
}
