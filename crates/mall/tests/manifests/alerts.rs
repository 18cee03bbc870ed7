//! Alerts: one file of rules, for every Prometheus, with a test and a row of the README for each of them.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::labels::labelled;
use crate::rendered::*;

const RULES: &str = "k8s/components/monitoring/alerts.yaml";

fn file(name: &str) -> String {
    fs::read_to_string(repository().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn alerts() -> Vec<Value> {
    let rules = parse(&file(RULES)).remove(0);
    let groups = list(&rules["spec"]["groups"]).iter();
    let alerts: Vec<Value> = groups.flat_map(|group| list(&group["rules"])).cloned().collect();
    assert!(!alerts.is_empty(), "{RULES} has no alert");
    alerts
}

fn alert_names() -> BTreeSet<String> {
    alerts().iter().map(|alert| text(&alert["alert"]).to_owned()).collect()
}

#[test]
fn a_prometheus_without_the_operator_gets_the_same_rules() {
    let output = Command::new("sh")
        .arg(repository().join(".prometheus/rules.sh"))
        .arg(repository().join(RULES))
        .output()
        .expect("sh");
    let taken_out = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(parse(&taken_out), [parse(&file(RULES)).remove(0)["spec"].take()]);
}

#[test]
fn each_alert_says_how_severe_it_is_and_what_is_the_matter() {
    for alert in alerts() {
        let severity = text(&alert["labels"]["severity"]);
        assert!(["critical", "warning"].contains(&severity), "{alert}");
        assert!(!text(&alert["annotations"]["summary"]).is_empty(), "{alert}");
    }
}

#[test]
fn the_readme_says_of_each_alert_what_to_do() {
    let readme = file("k8s/README.md");
    let rows = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `Mall")?.split_once('`'));
    let named = rows.map(|(name, _)| format!("Mall{name}"));
    assert_eq!(named.collect::<BTreeSet<_>>(), alert_names());
}

#[test]
fn each_alert_is_tested_when_it_fires_and_when_it_does_not() {
    let tests = parse(&file(".prometheus/alerts.test.yaml")).remove(0);
    let tests = list(&tests["tests"]).iter();
    let cases: Vec<&Value> = tests.flat_map(|test| list(&test["alert_rule_test"])).collect();
    for (what, fires) in [("fires", true), ("does not fire", false)] {
        let tested = cases
            .iter()
            .filter(|case| list(&case["exp_alerts"]).is_empty() != fires);
        let tested: BTreeSet<_> = tested.map(|case| text(&case["alertname"]).to_owned()).collect();
        assert_eq!(tested, alert_names(), "tests in which it {what}");
    }
}

#[test]
fn alerts_ask_for_metrics_that_are_documented() {
    let readme = file("crates/README.md");
    let documented: Vec<&str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `mall_")?.split_once('`'))
        .map(|(name, _)| name)
        .collect();
    let expressions = alerts();
    let expressions = expressions.iter().map(|alert| text(&alert["expr"]));
    let asked: BTreeSet<&str> = expressions
        .flat_map(|expression| expression.split("mall_").skip(1))
        .map(|rest| {
            let end = rest.find(|next: char| !next.is_alphanumeric() && next != '_');
            &rest[..end.unwrap_or(rest.len())]
        })
        .collect();
    assert!(!asked.is_empty());
    for metric in asked {
        assert!(documented.contains(&metric), "mall_{metric} is not in crates/README.md");
    }
}

#[test]
fn prometheus_in_compose_reads_every_service_of_ours() {
    let prometheus = parse(&file(".prometheus/prometheus.yaml")).remove(0);
    let jobs = list(&prometheus["scrape_configs"]);
    assert_eq!(jobs.len(), 1);
    assert_eq!(
        jobs[0]["job_name"], "mall",
        "the job that alerts and the PodMonitor name"
    );
    let targets = list(&jobs[0]["static_configs"][0]["targets"]).iter().map(text);
    let targets: BTreeSet<_> = targets.map(str::to_owned).collect();
    let compose = parse(&file("compose.yaml")).remove(0);
    let services = compose["services"].as_object().expect("services").iter();
    let ours = services.filter(|(name, service)| {
        let command = list(&service["command"]).first().and_then(Value::as_str);
        *name != "topics" && command.is_some_and(|command| OURS.contains(&command))
    });
    let addresses = ours.map(|(name, service)| {
        let alias = list(&service["networks"]["default"]["aliases"]).first();
        format!("{}:80", alias.map_or(name.as_str(), text))
    });
    assert_eq!(targets, addresses.collect::<BTreeSet<_>>());
}

#[test]
#[ignore = "needs kubectl"]
fn the_pod_monitor_reads_every_pod_of_ours_and_no_other() {
    for name in ["k8s", "k8s/overlays/local", "k8s/overlays/production"] {
        let manifests = with_components(name, &["monitoring"]);
        for object in manifests.of(&["PodMonitor", "PrometheusRule", "NetworkPolicy"]) {
            assert_eq!(object["metadata"]["namespace"], namespace(), "{}", self::name(object));
        }
        labelled(&manifests);
        let monitor = &manifests.get("PodMonitor", "mall")["spec"];
        let selected: Vec<_> = manifests
            .workloads()
            .filter(|workload| selects(&monitor["selector"], labels(workload)))
            .collect();
        let names: BTreeSet<_> = selected.iter().map(|workload| self::name(workload)).collect();
        assert_eq!(names, OURS.into(), "{name}");
        let endpoints = list(&monitor["podMetricsEndpoints"]);
        assert_eq!(endpoints.len(), 1);
        assert_eq!(endpoints[0]["relabelings"][0]["targetLabel"], "job");
        assert_eq!(endpoints[0]["relabelings"][0]["replacement"], "mall");
        for workload in selected {
            let ports = list(&pod(workload)["containers"][0]["ports"]);
            assert!(ports.iter().any(|port| port["name"] == endpoints[0]["port"]), "{name}");
        }
    }
}
