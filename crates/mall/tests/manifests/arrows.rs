//! Network policies: what the files `arrows` beside them say, and no more.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::rendered::*;

/// Somebody who is no pod of the mall.
const OUTSIDE: &str = "outside";
const DNS: &str = "dns";
const PROMETHEUS: &str = "prometheus";

/// Every connection that the policies let through, as `from -> to:port`.
fn arrows(manifests: &Manifests) -> BTreeSet<String> {
    let dns = serde_json::json!({"k8s-app": "kube-dns"});
    let prometheus = serde_json::json!({"app.kubernetes.io/name": "prometheus"});
    let policies = |workload: &Value, direction: &str| {
        let selected: Vec<_> = manifests
            .of(&["NetworkPolicy"])
            .filter(|policy| selects(&policy["spec"]["podSelector"], labels(workload)))
            .filter(|policy| {
                list(&policy["spec"]["policyTypes"])
                    .iter()
                    .any(|kind| kind == direction)
            })
            .collect();
        assert!(
            !selected.is_empty(),
            "no policy for the {direction} of {}",
            name(workload)
        );
        selected
    };
    // Whom the rules of one end let through, and where: peer and port.
    let allowed = |workload: &Value, direction: &str, rules: &str, peers: &str| {
        let mut allowed = BTreeSet::new();
        for rule in policies(workload, direction)
            .iter()
            .flat_map(|policy| list(&policy["spec"][rules]))
        {
            let mut names = BTreeSet::new();
            if rule.get(peers).is_none() {
                names.extend(manifests.workloads().map(name));
                names.insert(OUTSIDE);
            }
            for peer in list(&rule[peers]) {
                if let Some(namespace) = peer.get("namespaceSelector") {
                    let namespace = text(&namespace["matchLabels"]["kubernetes.io/metadata.name"]);
                    let (labels, name) = match namespace {
                        "kube-system" => (&dns, DNS),
                        "monitoring" => (&prometheus, PROMETHEUS),
                        other => panic!("namespace {other}"),
                    };
                    assert!(selects(&peer["podSelector"], labels));
                    names.insert(name);
                } else if let Some(network) = peer["ipBlock"]["cidr"].as_str() {
                    names.insert(network);
                } else {
                    names.extend(
                        manifests
                            .workloads()
                            .filter(|known| selects(&peer["podSelector"], labels(known)))
                            .map(name),
                    );
                }
            }
            assert!(
                !list(&rule["ports"]).is_empty(),
                "a rule of {} without ports",
                name(workload)
            );
            for port in list(&rule["ports"]) {
                allowed.extend(names.iter().map(|name| ((*name).to_owned(), plain(&port["port"]))));
            }
        }
        allowed
    };
    let ingress = |workload| allowed(workload, "Ingress", "ingress", "from");
    let egress = |workload| allowed(workload, "Egress", "egress", "to");
    let mut arrows = BTreeSet::new();
    for workload in manifests.workloads() {
        let (here, entrances, exits) = (name(workload), ingress(workload), egress(workload));
        for (from, port) in &entrances {
            let anybody = entrances.contains(&(OUTSIDE.to_owned(), port.clone()));
            let foreign = from == OUTSIDE || from == PROMETHEUS;
            let open = foreign || egress(manifests.workload(from)).contains(&(here.to_owned(), port.clone()));
            assert!(
                open || anybody,
                "{here} lets {from} in at {port}, but {from} may not go there"
            );
            if open {
                arrows.insert(format!("{from} -> {here}:{port}"));
            }
        }
        for (to, port) in &exits {
            if to == OUTSIDE || to == DNS || to.contains('/') {
                arrows.insert(format!("{here} -> {to}:{port}"));
            } else if !exits.contains(&(OUTSIDE.to_owned(), port.clone())) {
                let open = ingress(manifests.workload(to)).contains(&(here.to_owned(), port.clone()));
                assert!(open, "{here} may go to {to}:{port}, but {to} does not let it in");
            }
        }
    }
    arrows
}

/// What the files `arrows` in these directories say, in the same words; `*` is every workload.
fn expected_arrows(directories: &[&str], manifests: &Manifests) -> BTreeSet<String> {
    let mut arrows = BTreeSet::new();
    for directory in directories {
        let path = repository().join("k8s").join(directory).join("arrows");
        let table = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            let &[from, to, port] = line.split_whitespace().collect::<Vec<_>>().as_slice() else {
                panic!("{}: expected `from to port`, found {line:?}", path.display());
            };
            let all = manifests.workloads().map(name).filter(|_| from == "*");
            for from in all.chain((from != "*").then_some(from)) {
                assert!(
                    arrows.insert(format!("{from} -> {to}:{port}")),
                    "twice: {from} -> {to}:{port}"
                );
            }
        }
    }
    arrows
}

#[test]
#[ignore = "needs kubectl"]
fn policies_allow_the_arrows_of_the_tables_and_no_more() {
    let ours = "components/network-policies";
    let kafka = "components/network-policies/kafka";
    for (name, tables) in [
        ("k8s", [ours, kafka]),
        ("k8s/overlays/local", [ours, kafka]),
        ("k8s/overlays/production", [ours, "overlays/production"]),
    ] {
        let manifests = overlay(name);
        assert_eq!(arrows(&manifests), expected_arrows(&tables, &manifests), "{name}");
    }
    let monitored = with_components("k8s", &["monitoring"]);
    let tables = [ours, kafka, "components/monitoring"];
    assert_eq!(arrows(&monitored), expected_arrows(&tables, &monitored));
}

#[test]
#[ignore = "needs kubectl"]
fn the_way_out_to_an_existing_kafka_is_the_port_of_its_address() {
    let production = overlay("k8s/overlays/production");
    let address = &production.settings("kafka")["MALL_KAFKA__BOOTSTRAP_SERVERS"];
    let port = address.rsplit_once(':').expect("a port").1;
    let policy = production.get("NetworkPolicy", "kafka-clients");
    let ports = &policy["spec"]["egress"][0]["ports"];
    // A number: a text would be the name of a port.
    assert_eq!(
        *ports,
        serde_json::json!([{"protocol": "TCP", "port": port.parse::<u16>().expect("a number")}])
    );
}
